"""Threads whose number changes nothing."""

from __future__ import annotations

import pytest
import torch

from workbench.workers import Workers


def test_results_come_in_order_and_torch_stays_single_threaded():
    before = torch.get_num_threads()
    with Workers(3) as workers:
        found = list(workers.map(lambda item: (item, torch.get_num_threads()), range(20)))
        assert found == [(item, 1) for item in range(20)]
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_at_most_a_few_ahead():
    started = []
    with Workers(2) as workers:
        results = workers.map(started.append, range(100))
        next(results)
        assert len(started) <= 4
        results.close()


def test_an_error_comes_through():
    def fail(item: int) -> None:
        raise ValueError(item)

    with Workers(2) as workers, pytest.raises(ValueError, match="0"):
        workers.run(fail, range(5))

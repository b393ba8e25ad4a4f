"""What servers take, against what their own code says of well-known packages."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.checkpoint import open_checkpoint
from workbench.formats._gptq_kernels import KERNELS, kernel_limits
from workbench.formats.gptq import FORMAT, GptqOptions

SQLCODER_15B = [(6400, 6144), (6144, 6144), (24576, 6144), (6144, 24576)]
USUAL = {"bits": 4, "group_size": 128, "sym": True, "desc_act": False, "checkpoint_format": "gptq"}


def loading(shapes: list[tuple[int, int]] = SQLCODER_15B, **changes: Any) -> set[str]:
    return {row["kernel"] for row in kernel_limits(USUAL | changes, shapes) if row["loads"]}


EVERY = {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, set()),
        ({"bits": 8}, {"exllama_v1", "exllama_v2", "torch_aten"}),
        ({"bits": 3}, EVERY - {"torch"}),
        ({"bits": 2}, EVERY - {"torch", "triton"}),
        ({"sym": False}, EVERY - {"exllama_v1"}),
        ({"sym": False, "checkpoint_format": "gptq_v2"}, EVERY - {"exllama_v2", "triton", "torch_aten", "torch"}),
        ({"checkpoint_format": "gptq_v2"}, {"exllama_v1"}),
        ({"group_size": 32}, {"machete"}),
        ({"group_size": -1}, {"exllama", "torch_aten"}),
        ({"desc_act": True}, set()),
    ],
    ids=str,
)
def test_who_takes_sqlcoder(changes, missing):
    assert loading(**changes) == EVERY - missing


def test_sizes():
    assert loading([(256, 192)], group_size=64) == EVERY - {"marlin"}
    assert loading([(192, 256)]) == EVERY - {"machete"}
    assert loading([(256, 256), (40, 256)]) == {"torch"}
    assert loading([(256, 192)]) == {"triton", "torch"}  # a last group of 64


def test_reasons_name_what_is_wrong():
    rows = {row["kernel"]: row for row in kernel_limits(USUAL | {"bits": 3, "desc_act": True}, [(192, 96)])}
    assert "4, 8 bits, not 3" in rows["marlin"]["reason"]
    assert "a layer has 96 and 192" in rows["marlin"]["reason"]
    assert "any device" in rows["torch"]["reason"]
    whole_row = {row["kernel"]: row for row in kernel_limits(USUAL | {"desc_act": True, "group_size": -1}, [])}
    assert "order" not in whole_row["exllama_v1"]["reason"]
    assert all(set(row) == {"kernel", "loads", "reason", "source"} for row in rows.values())


def test_of_a_checkpoint_before_it_is_converted(tiny_checkpoint):
    rows = FORMAT.server_kernels(open_checkpoint(str(tiny_checkpoint("llama"))), GptqOptions(bits=8))
    assert {row["kernel"] for row in rows if row["loads"]} == EVERY - {"exllama_v1", "exllama_v2", "torch_aten"}

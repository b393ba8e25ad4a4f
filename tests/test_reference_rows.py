"""The reference's rows on disk, and what is told of an engine beside them; the mock runtime's knows nothing."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import log_softmax

from workbench import reference_rows
from workbench.errors import StorageError, WorkbenchError
from workbench.forced_texts import ForcedText
from workbench.reference_rows import Comparison, compare, comparison_of, most_rows, write_rows
from workbench.runtimes.mock import MockSession

TEXTS = [
    ForcedText([5, 6, 7, 8], 1, 0, "answers", "heldout"),
    ForcedText([5, 6], 1, 0, "prompts", "heldout"),
    ForcedText([5, 9, 9], 1, 1, "answers", "unseen"),
]


def logits(seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(0, 3, (len(text.compared), 256)).astype(np.float32) for text in TEXTS]


def test_an_engine_is_compared_with_what_was_written(tmp_path):
    path, rows = tmp_path / "steps" / "rows.npy", logits(1)
    written = list(write_rows(path, TEXTS, iter(rows)))
    stored = np.load(path)
    np.testing.assert_allclose(stored, log_softmax(np.concatenate(rows).astype(np.float64), axis=-1), atol=1e-6)
    assert max(one.kl_nats.max() for one in written) < 1e-12
    heard = []
    figures = compare(MockSession({}), Comparison(TEXTS, str(path)), lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert list(figures) == ["answers", "answers/heldout", "answers/unseen", "prompts"]
    # KL(P || uniform) = ln 256 - H(P)
    p = log_softmax(np.concatenate([rows[0], rows[2]]).astype(np.float64), axis=-1)
    expected = np.log(256) + (np.exp(p) * p).sum(-1)
    assert figures["answers"]["kl_nats"]["value"] == pytest.approx(expected.mean(), rel=1e-6)
    assert figures["answers/heldout"]["kl_nats"]["value"] == pytest.approx(expected[:3].mean(), rel=1e-6)
    assert (figures["answers"]["questions"], figures["answers"]["tokens"]) == (2, 5)
    assert figures["answers"]["perplexity"] == pytest.approx(256)
    assert figures["prompts"]["perplexity"] is None
    assert json.loads(json.dumps(figures)) == figures


def test_the_reference_writes_the_file_itself(tmp_path):
    path = tmp_path / "rows.npy"
    figures = compare(MockSession({}), Comparison(TEXTS, str(path), write=True))
    assert figures["answers"]["kl_nats"]["value"] < 1e-12
    assert np.load(path).shape == (6, 256)
    assert compare(MockSession({}), Comparison(TEXTS, str(path)))["prompts"]["same_top"]["value"] == 1


def test_large_files_are_stored_in_16_bits_which_changes_little(tmp_path, monkeypatch):
    draw = np.random.default_rng(4)
    rows = logits(2)
    near = [(one + draw.normal(0, 0.1, one.shape)).astype(np.float32) for one in rows]
    figures = {}
    for name, most in (("wide", 1 << 20), ("narrow", 6 * 256 * 2)):
        monkeypatch.setattr(reference_rows, "MOST_BYTES", most)
        list(write_rows(tmp_path / name, TEXTS, iter(rows)))
        figures[name] = list(reference_rows._read(Comparison(TEXTS, str(tmp_path / name)), near))
    assert np.load(tmp_path / "narrow").dtype == np.float16
    for wide, narrow in zip(figures["wide"], figures["narrow"], strict=True):
        np.testing.assert_allclose(narrow.kl_nats, wide.kl_nats, rtol=0.02)
        np.testing.assert_allclose(narrow.reference_surprise, wide.reference_surprise, atol=0.01)
    assert most_rows(256) == 6


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def broken():
        yield logits(1)[0]
        raise WorkbenchError("the engine stopped")

    with pytest.raises(WorkbenchError, match="stopped"):
        list(write_rows(tmp_path / "rows.npy", TEXTS, broken()))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        list(write_rows(tmp_path / "file" / "rows.npy", TEXTS, iter(logits(1))))


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "noise.npy").write_bytes(b"noise")
    for name in ("noise.npy", "missing.npy"):
        with pytest.raises(WorkbenchError, match="--again"):
            compare(MockSession({}), Comparison(TEXTS, str(tmp_path / name)))


def test_a_comparison_travels_as_json():
    comparison = Comparison(TEXTS, "rows.npy", write=True)
    assert comparison_of(json.loads(json.dumps(asdict(comparison)))) == comparison

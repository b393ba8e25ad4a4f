"""The script for a GPU, run on the CPU at a small size: what it records, and that it ends when its time is up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.checkpoints import SHAPES
from benchmarks.gptq_on_gpu import described, follow, summary
from benchmarks.gptq_on_gpu_cost import predict
from benchmarks.gptq_on_gpu_model import random_checkpoint

ROOT = Path(__file__).parent.parent
GIB = 2**30


def run_script(*arguments: str, out: Path) -> tuple[dict, str]:
    command = [sys.executable, "-m", "benchmarks.gptq_on_gpu", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return json.loads(out.read_text()), done.stdout


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_tiny_model_whole(device, tmp_path):
    found, printed = run_script(
        "--device", device, "--shape", "tiny", "--samples", "4", "--tokens", "32", out=tmp_path / "figures.json"
    )
    assert (found["blocks"], found["blocks_measured"], found["total_is"]) == (2, 2, "measured")
    kinds = [record["kind"] for record in found["records"]]
    assert kinds == ["machine", *["small layer"] * 8, "predicted", "embed", "block", "block", "end"]
    assert printed.count("\nblock ") == 2
    assert printed.count("small layer") == 8
    for record in found["records"]:
        if record["kind"] == "small layer":
            assert record["relative_error"] == pytest.approx(record["reference_error"], rel=1e-2)
            assert record["equal_codes"] > 0.98
        if record["kind"] == "block":
            assert [layer["layer"] for layer in record["layers"]] == [
                "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj",
            ]  # fmt: skip
            assert all(0 < layer["relative_error"] < 0.2 for layer in record["layers"])
            assert set(record["seconds"]) >= {"weights", "forward", "hessian", "factor", "columns", "pack"}
    blocks = [record for record in found["records"] if record["kind"] in ("embed", "block")]
    assert found["total_s"] == pytest.approx(sum(sum(record["seconds"].values()) for record in blocks))
    assert max(found["peak_seen_from_outside_bytes"].values()) > 0


def test_no_block_is_begun_when_time_is_up(tmp_path):
    """Blocks that were not reached are extrapolated, and the result says so."""
    records = [
        {"kind": "predicted", "blocks": 40, "seconds": {}, "peak_bytes": 0},
        {"kind": "embed", "seconds": {"embed": 3.0}},
        *({"kind": "block", "seconds": {"forward": seconds, "hessian": 1.0}} for seconds in (5.0, 1.0, 2.0)),
    ]
    found = summary(records, {})
    assert (found["blocks_measured"], found["total_is"]) == (3, "extrapolated")
    assert found["total_s"] == pytest.approx(3 + 6 + 2 + 3 + 37 * 3)
    assert summary(records[:1], {})["total_s"] is None


def test_a_process_that_hangs_is_killed_and_what_it_told_is_kept(tmp_path, capsys):
    lines = tmp_path / "lines.jsonl"
    code = (
        "import json, sys, time\n"
        f"with open({str(lines)!r}, 'w') as file:\n"
        "    file.write(json.dumps({'kind': 'end', 'at_s': 1.0}) + chr(10) + '{half a li')\n"
        "    file.flush()\n"
        "    time.sleep(600)\n"
    )
    begun = time.monotonic()
    found, outside = follow([sys.executable, "-c", code], lines, "cpu", most_s=3)
    assert found == [{"kind": "end", "at_s": 1.0}]
    assert outside["rss"] > 0
    assert time.monotonic() - begun < 60
    assert "killed" in capsys.readouterr().out


def test_predictions_for_the_true_shape(tmp_path):
    """The docstring's sum of bytes, below the limit, and seconds below the goal."""
    cost = predict(random_checkpoint("15b", tmp_path, "cpu"), 128 * 2048)
    assert cost.peak_bytes == pytest.approx(12.0e9, rel=0.02)
    assert cost.peak_bytes < 20 * GIB
    assert 40 * sum(cost.seconds.values()) < 300
    assert set(cost.seconds) == {"forward", "hessian", "factor", "columns"}
    line = described({"kind": "predicted", "blocks": 40, "seconds": cost.seconds, "peak_bytes": cost.peak_bytes})
    assert line.startswith("predicted for an H100")


def test_random_weights_are_the_same_each_time(tmp_path):
    checkpoint = random_checkpoint("tiny", tmp_path, "cpu")
    again = random_checkpoint("tiny", tmp_path, "cpu")
    for name, info in checkpoint.tensors.items():
        values = checkpoint.read(name)
        assert values.shape == info.shape
        torch.testing.assert_close(values, again.read(name), rtol=0, atol=0)
    matrix = checkpoint.read("transformer.h.0.mlp.c_fc.weight").float()
    assert float(matrix.std()) == pytest.approx(0.02, rel=0.05)
    assert float(checkpoint.read("transformer.h.0.ln_1.weight").float().mean()) == pytest.approx(1, rel=0.01)
    assert SHAPES["15b"][1]["n_embd"] == 6144

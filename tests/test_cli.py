"""The command line as a user types it: real processes, exit codes, one clear sentence for each mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from workbench.nano import MODEL_DIR


def run(*arguments, timeout=120, **changes):
    environment = {**os.environ, "COLUMNS": "120", **changes.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "workbench", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False, env=environment, **changes,
    )  # fmt: skip


def heed_interrupts():
    """A shell's background job starts its children with SIGINT ignored; a user's terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def refused(done, *parts, code=2):
    """Bad input: this exit code, no traceback, a sentence with these parts."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr
    return done


@pytest.fixture
def model_copy(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODEL_DIR, folder)
    return folder


def test_help_and_version():
    assert "build" in run("--help").stdout
    assert "0." in run("--version").stdout


@pytest.mark.parametrize(
    "command", ["build", "plan", "compare", "ui", "profiles", "recipes", "validate", "doctor", "push"]
)
def test_every_command_has_help(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["biuld"], ["Did you mean 'build'"]),
        (["build", "--profle", "cpu"], ["--profile"]),
        (["build"], ["--profile"]),
        (["build", "--profile", "rtx409"], ["did you mean 'rtx4090'"]),
        (["build", "--profile", "cpu", "--recipe", "fp61"], ["unknown recipe", "did you mean 'fp16'"]),
        (["build", "--profile", "cpu", "--model", "/no/such/folder"], ["no model folder"]),
        (["build", "--profile", "cpu", "--context", "99999"], ["out of range"]),
        (["build", "--profile", "cpu", "--recipe", "mps"], ["none of the recipes"]),
        (["build", "--profile", "cpu", "--questions", "nowhere.csv"], ["no question file"]),
        (["plan", "--profile", "m2-max:33"], ["32, 64, 96"]),
        (["compare", "nowhere"], ["no report"]),
        (["validate", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_mistakes_get_one_sentence(arguments, parts, tmp_path):
    out = ["--out", tmp_path / "out"] if arguments[0] == "build" else []
    refused(run(*arguments, *out), *parts)
    assert not (tmp_path / "out").exists()


def test_a_faulty_recipe_tells_all_faults(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nformat: fp17\nspeed: 9\n")
    done = refused(run("build", "--profile", "cpu", "--recipe", tmp_path / "mine.yaml"))
    for part in ("description: is missing", "runtime: is missing", "speed: unknown key", "no format 'fp17'"):
        assert part in done.stderr
    refused(run("validate", tmp_path / "mine.yaml"), "speed: unknown key")


def test_an_unknown_engine_is_told_with_the_other_faults(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nformat: fp16\nruntime: vllm9\nbackends: [cpu]\nspeed: 9\n")
    refused(run("validate", tmp_path / "mine.yaml"), "speed: unknown key", "no runtime 'vllm9'")


def test_a_model_without_config(model_copy):
    (model_copy / "config.json").unlink()
    refused(run("build", "--profile", "cpu", "--model", model_copy), "no config.json")


def test_a_model_without_tokenizer(model_copy, tmp_path):
    (model_copy / "tokenizer.json").unlink()
    refused(run("build", "--profile", "cpu", "--model", model_copy, "--out", tmp_path / "o"), "no tokenizer.json")


def test_a_truncated_shard(model_copy, tmp_path):
    weights = model_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(run("build", "--profile", "cpu", "--model", model_copy, "--out", tmp_path / "o"), "fetch it again")


def test_an_output_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    refused(run("build", "--profile", "cpu", "--out", tmp_path / "file" / "o"), "choose another folder")


def test_a_read_only_output_folder(tmp_path):
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        done = run("build", "--profile", "cpu", "--out", "/proc/workbench")  # root may write anywhere else
    else:
        done = run("build", "--profile", "cpu", "--out", tmp_path / "o")
    tmp_path.chmod(0o755)
    refused(done, "--out")


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        done = run("build", "--profile", "cpu", "--recipe", "fp16", "--limit", 2, "--out", disk / "o")
        refused(done, "is full")
        assert not list(disk.rglob("*.safetensors"))
        assert not (disk / "o" / "sqlcoder-nano" / "fp16").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_database_server_that_is_not_there(tmp_path):
    url = "postgresql://user:hunter2@127.0.0.1:1/postgres"
    done = run("build", "--profile", "cpu", "--recipe", "fp16", "--limit", 2, "--out", tmp_path, "--database-url", url)
    refused(done, "--database-url")
    assert "hunter2" not in done.stdout + done.stderr


def test_ctrl_c_ends_with_130_and_nothing_half_made(tmp_path):
    arguments = ["build", "--profile", "cpu", "--recipe", "gptq-4bit", "--recipe", "fp16", "--out", str(tmp_path)]
    build = subprocess.Popen(
        [sys.executable, "-m", "workbench", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    time.sleep(6)
    build.send_signal(signal.SIGINT)
    _, errors = build.communicate(timeout=60)
    assert build.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    model = tmp_path / "sqlcoder-nano"
    assert not (model / "gptq-4bit").exists()
    # What is finished is kept, with the journal of it, for the next run.
    assert (model / ".gptq-4bit.partial").exists() == (model / ".gptq-4bit.journal").exists()


def test_plan_prints_json():
    record = json.loads(run("plan", "--profile", "rtx4090", "--json").stdout)
    assert {row["recipe"] for row in record["recipes"]} >= {"fp16", "gptq-4bit", "mps"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One small real build: two engines, PostgreSQL, MLflow."""
    store = tmp_path_factory.mktemp("store")
    arguments = ["--profile", "cpu", "--recipe", "fp16", "--recipe", "gguf-q4_k_m", "--limit", 8, "--out", store]
    done = run("build", *arguments, timeout=300, env={"MLFLOW_TRACKING_URI": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    return store, done


def test_a_build_prints_plan_table_and_recommendation(built):
    _, done = built
    for part in ("gguf-q4_k_m", "Recommended for cpu:", "fits: needs", "right (heldout)", "95% interval"):
        assert part in done.stdout


def test_a_build_leaves_artifacts_report_predictions_and_runs(built):
    store, _ = built
    folder = store / "sqlcoder-nano"
    assert (folder / "fp16" / "manifest.json").is_file()
    assert (folder / "gguf-q4_k_m" / "manifest.json").is_file()
    record = json.loads((folder / "reports" / "cpu" / "report.json").read_text())
    for artifact in record["artifacts"]:
        names = {m["name"]: m for m in artifact["measurements"] if m["value"] is not None}
        wanted = {
            "ttft_s",
            "prefill_tokens_per_s",
            "decode_tokens_per_s",
            "load_s",
            "peak_memory_bytes",
            "weight_bytes",
        }
        assert wanted <= set(names)
        assert {m["kind"] for m in names.values()} == {"measured"}
    predictions = folder / "reports" / "cpu" / "predictions" / "fp16.heldout.jsonl"
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert len(lines) == 8
    assert all(line["tokens"] and line["prompt_sha256"] and line["verdict"] for line in lines)
    assert (store / "mlflow.db").is_file()


def test_the_same_build_again_keeps_the_artifacts_and_compare_shows_both(built):
    store, _ = built
    arguments = ["--profile", "rtx4090", "--recipe", "fp16", "--limit", 8, "--out", store]
    done = run("build", *arguments, timeout=300, env={"MLFLOW_TRACKING_URI": ""})
    assert done.returncode == 0, done.stderr
    assert "unchanged, kept" in done.stdout
    record = json.loads((store / "sqlcoder-nano" / "reports" / "rtx4090" / "report.json").read_text())
    kinds = {m["name"]: m["kind"] for m in record["artifacts"][0]["measurements"]}
    assert kinds["decode_tokens_per_s"] == "predicted"
    assert kinds["weight_bytes"] == "measured"
    table = run("compare", "--out", store).stdout
    assert "rtx4090" in table
    assert "cpu" in table

"""The Hub: the real client against a local server that speaks its protocol, counts bytes, asks for tokens and fails."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import COMMIT, Hub

from workbench.checkpoint import open_checkpoint

SECRET = "hf_planted_secret"
OPEN = """
import json, sys
from workbench import hub_requests
from workbench.checkpoint import open_checkpoint
from workbench.errors import WorkbenchError

hub_requests.WAITS_S = (0.0, 0.1)
try:
    found = open_checkpoint(*sys.argv[1:])
except WorkbenchError as error:
    sys.exit(f"Error: {error}")
print(json.dumps({"revision": found.revision, "path": str(found.path), "known": found.known_digest()}))
"""


@pytest.fixture
def hub(tiny_checkpoint: Any, tmp_path: Path) -> Iterator[Hub]:
    """A repository with the weights of a tiny model and what else lies in repositories."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny_checkpoint("gpt_bigcode"), folder)
    for name in ("README.md", "modeling_x.py", "optimizer.pt", "tf_model.h5", "flax_model.msgpack", "model.onnx"):
        (folder / name).write_text("not asked for")
    yield from serve(folder)


def serve(folder: Path) -> Iterator[Hub]:
    server = Hub(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def pickled(folder: Path, shards: int = 2) -> None:
    """The repository as it was before safetensors."""
    model = open_checkpoint(str(folder))
    names = list(model.tensors)
    places = {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        part = {name: model.read(name) for name in names[shard::shards]}
        if "transformer.wte.weight" in part:
            part["lm_head.weight"] = part["transformer.wte.weight"]
        torch.save(part, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "model.safetensors").unlink()


def run(hub: Hub, tmp_path: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    settings |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    kept = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=kept | settings, timeout=120, check=False
    )


def plan(hub: Hub, tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "workbench", "plan", "--profile", "rtx4090", "--recipe", "fp16", "--json", *arguments]
    return run(hub, tmp_path, command, **environment)


def opened(hub: Hub, tmp_path: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    done = run(hub, tmp_path, ["-c", OPEN, *(arguments or ["org/model"])], **environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def same_weights(hub: Hub, found: dict[str, Any]) -> bool:
    """Whether the cache holds the repository's weights, byte for byte."""
    names = [path.name for path in hub.folder.iterdir() if path.suffix in (".safetensors", ".bin")]
    return all((hub.folder / name).read_bytes() == (Path(found["path"]) / name).read_bytes() for name in names)


def weight_bytes(done: subprocess.CompletedProcess[str]) -> float:
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["recipes"][0]["predicted"]["weight_bytes"])


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a refusal."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr + done.stdout
    return " ".join(done.stderr.split())


def test_a_plan_fetches_headers_only(hub: Hub, tmp_path: Path) -> None:
    size = (hub.folder / "model.safetensors").stat().st_size
    assert weight_bytes(plan(hub, tmp_path, "--model", "org/model")) == pytest.approx(size, rel=0.01)
    assert hub.sent < size / 2
    asked = {(request.name, request.first is None) for request in hub.requests if request.method == "GET"}
    assert {name for name, _ in asked if "/" not in name} == {"config.json", "model.safetensors"}
    assert ("model.safetensors", True) not in asked  # ranges only


@pytest.mark.parametrize("beside", ["nothing", "a GGUF file"])
def test_a_repository_without_weights_is_planned_from_its_config(hub: Hub, tmp_path: Path, beside: str) -> None:
    expected = weight_bytes(plan(hub, tmp_path, "--model", "org/model"))
    (hub.folder / "model.safetensors").unlink()
    if beside == "a GGUF file":
        (hub.folder / "model.Q4_K_M.gguf").write_text("GGUF")
    hub.requests.clear()
    assert weight_bytes(plan(hub, tmp_path / "anew", "--model", "org/model")) == expected
    assert hub.asked("GET") == {"config.json"}
    done = run(hub, tmp_path / "anew", ["-c", OPEN, "org/model"])
    assert "org/model holds no *.safetensors file" in sentence(done)


def test_a_repository_with_a_foreign_config_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "model.safetensors").unlink()
    (hub.folder / "config.json").write_text('{"model_type": "starcoder"}')
    done = plan(hub, tmp_path, "--model", "org/model")
    assert done.returncode == 2
    assert "starcoder, is not known here" in sentence(done)


def test_a_plan_of_pickled_weights_reads_their_tables_only(hub: Hub, tmp_path: Path) -> None:
    before = weight_bytes(plan(hub, tmp_path, "--model", str(hub.folder)))
    pickled(hub.folder)
    assert weight_bytes(plan(hub, tmp_path, "--model", "org/model")) == before
    # Shards of 1 MB are read at both ends, in blocks of 128 KiB.
    assert hub.sent < sum(file.stat().st_size for file in hub.folder.glob("pytorch_model-*-of-00002.bin")) / 2


def test_only_what_is_needed_is_fetched(hub: Hub, tmp_path: Path) -> None:
    shutil.copy(hub.folder / "model.safetensors", hub.folder / "pytorch_model.bin")
    found = opened(hub, tmp_path)
    assert found["revision"] == COMMIT
    assert hub.asked("GET") == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json",
    }  # fmt: skip


def test_pickled_shards_are_fetched_and_read(hub: Hub, tmp_path: Path) -> None:
    digest = open_checkpoint(str(hub.folder)).digest
    pickled(hub.folder)
    found = opened(hub, tmp_path)
    assert same_weights(hub, found)
    assert open_checkpoint(found["path"]).digest == digest
    assert {"pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"} < hub.asked("GET")


def test_a_remembered_digest_is_found_through_the_caches_links(hub: Hub, tmp_path: Path) -> None:
    first = opened(hub, tmp_path)
    assert first["known"] is None
    assert (Path(first["path"]) / "model.safetensors").is_symlink()
    digest = open_checkpoint(first["path"]).digest
    assert opened(hub, tmp_path)["known"] == digest == open_checkpoint(str(hub.folder)).digest


def test_an_unknown_repository(hub: Hub, tmp_path: Path) -> None:
    done = plan(hub, tmp_path, "--model", "org/other", HF_TOKEN=SECRET)
    assert done.returncode == 2
    assert "org/other cannot be fetched" in sentence(done)


def test_an_unknown_revision(hub: Hub, tmp_path: Path) -> None:
    done = plan(hub, tmp_path, "--model", "org/model", "--revision", "v9")
    assert "org/model has no revision 'v9'" in sentence(done)


def test_a_tag_is_the_commit_it_names(hub: Hub, tmp_path: Path) -> None:
    assert opened(hub, tmp_path, "org/model", "v1")["revision"] == COMMIT
    assert opened(hub, tmp_path, "org/model@v1")["revision"] == COMMIT


def test_a_gated_repository_wants_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.token = SECRET
    text = sentence(plan(hub, tmp_path, "--model", "org/model"))
    assert "org/model is gated; accept its terms" in text
    assert "hf auth login" in text
    text = sentence(plan(hub, tmp_path, "--model", "org/model", HF_TOKEN="hf_another"))
    assert "hf_another" not in text


@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_token_is_taken_from_its_usual_place(hub: Hub, tmp_path: Path, place: str) -> None:
    hub.token = SECRET
    pickled(hub.folder, shards=1)
    (tmp_path / "hf").mkdir()
    if place == "file":
        (tmp_path / "hf" / "token").write_text(SECRET)
    environment = {"HF_TOKEN": SECRET} if place == "environment" else {}
    done = plan(hub, tmp_path, "--model", "org/model", **environment)
    assert weight_bytes(done) > 0
    assert SECRET not in done.stderr + done.stdout
    assert opened(hub, tmp_path, **environment)["revision"] == COMMIT


@pytest.mark.parametrize("reason", ["told", "no network"])
def test_a_whole_cache_needs_no_connection(hub: Hub, tmp_path: Path, reason: str) -> None:
    online = opened(hub, tmp_path)
    size = weight_bytes(plan(hub, tmp_path, "--model", "org/model"))
    asked = len(hub.requests)
    if reason == "told":
        environment = {"HF_HUB_OFFLINE": "1"}
    else:
        hub.shutdown()
        hub.server_close()
        environment = {}
    assert opened(hub, tmp_path, **environment) == online
    assert weight_bytes(plan(hub, tmp_path, "--model", "org/model", **environment)) == size
    assert len(hub.requests) == asked


@pytest.mark.parametrize("cached", ["nothing", "a plan"])
def test_a_cache_that_lacks_something_is_one_sentence(hub: Hub, tmp_path: Path, cached: str) -> None:
    if cached == "a plan":
        weight_bytes(plan(hub, tmp_path, "--model", "org/model"))
    done = plan(hub, tmp_path, "--model", "org/model", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "org/model is not in the local cache, or only in part, and the Hub cannot be reached" in sentence(done)
    done = run(hub, tmp_path, ["-c", OPEN, "org/model"], HF_HUB_OFFLINE="1")
    assert "or only in part" in sentence(done)


def test_a_broken_connection_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [100_000]
    assert same_weights(hub, opened(hub, tmp_path))
    weights = [request for request in hub.requests if (request.method, request.name) == ("GET", "model.safetensors")]
    assert [request.first for request in weights] == [None, 100_000]


def test_a_lost_network_is_one_sentence_and_the_next_run_goes_on(hub: Hub, tmp_path: Path) -> None:
    size = (hub.folder / "model.safetensors").stat().st_size
    hub.cuts, hub.lost = [300_000], True
    done = run(hub, tmp_path, ["-c", OPEN, "org/model"], HF_TOKEN=SECRET)
    assert "the connection to the Hub broke off while org/model was fetched" in sentence(done)
    hub.lost = False
    assert same_weights(hub, opened(hub, tmp_path))
    assert hub.sent == size
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


def test_parts_that_do_not_make_up_the_file(hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.lost = [300_000], True
    run(hub, tmp_path, ["-c", OPEN, "org/model"])
    hub.lost = False
    part = next((tmp_path / "hf").rglob("*.incomplete"))
    part.write_bytes(b"\0" * 300_000)
    done = run(hub, tmp_path, ["-c", OPEN, "org/model"])
    assert "came in parts that do not make up the file; run again" in sentence(done)
    assert same_weights(hub, opened(hub, tmp_path))

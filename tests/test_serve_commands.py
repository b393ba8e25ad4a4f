"""The commands of ``SERVE.md``, taken out of the page and run wherever their engine is installed.

Each must bring the SQL that the float16 model answers. ``llama-server`` is the program where it is on the path, else
the same server from the library xllamacpp, under the options of the command.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from made_artifacts import made

from workbench import catalog, formats
from workbench.artifact import Artifact
from workbench.checkpoint import open_checkpoint
from workbench.evals.extraction import extract_sql
from workbench.making import make_artifact
from workbench.nano import MODEL_NAME
from workbench.package import PackageRequest, package
from workbench.plugins import member_names
from workbench.recipe import Recipe
from workbench.request import question_sets
from workbench.serve_commands import PORT, serve_commands
from workbench.serve_example import EXAMPLE_QUESTION, example_schema
from workbench.serve_page import FENCE, serve_page

BIN = Path(sys.executable).parent
LOADED_S = 120  # at most, until a server answers


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Packages of the bundled model, made when they are asked for."""
    return Packages(tmp_path_factory)


class Packages(dict[str, Artifact]):
    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory

    def __missing__(self, recipe: str) -> Artifact:
        folder = self._factory.mktemp("store") / recipe
        self[recipe] = package(PackageRequest(made(recipe, open_checkpoint(MODEL_NAME), folder).path))
        return self[recipe]


def expected_sql() -> str:
    heldout = question_sets()[0]
    return next(one.query for one in heldout.questions if one.question == EXAMPLE_QUESTION)


def documented(artifact: Artifact, engine: str) -> list[str]:
    """The commands under an engine's heading: install, start and, where there is a server, ask."""
    page = (artifact.path / "SERVE.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {engine}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^{FENCE}bash\n(.*?)\n{FENCE}$", section, re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    with (folder.parent / "server.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def environment() -> dict[str, str]:
    """A user's: programs beside this Python, offline, without the workbench."""
    own = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, **own}


def ask(request: str, folder: Path, is_running: object) -> str:
    """What the documented request brings, once the server has loaded the model."""
    give_up = time.monotonic() + LOADED_S
    while time.monotonic() < give_up:
        done = subprocess.run(
            ["bash", "-c", request], cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        reply = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        if "choices" in reply:
            return str(reply["choices"][0]["message"]["content"])
        assert is_running(), (folder.parent / "server.log").read_text()[-3000:]
        time.sleep(0.2)
    raise AssertionError(f"no answer: {done.stdout}")


def served_answer(artifact: Artifact, engine: str) -> str:
    _, command, request = documented(artifact, engine)
    port = str(free_port())
    assert command.count(str(PORT)) == request.count(f":{PORT}/") == 1
    command, request = command.replace(str(PORT), port), request.replace(f":{PORT}/", f":{port}/")
    with running(command, artifact.path) as process:
        return ask(request, artifact.path, lambda: process.poll() is None)


def answer_in_python(artifact: Artifact, engine: str) -> str:
    _, command = documented(artifact, engine)
    done = subprocess.run(
        ["bash", "-c", command], cwd=artifact.path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed; apt-get install curl")


@pytest.mark.parametrize("recipe", ["fp16", pytest.param("int8", marks=pytest.mark.slow)])
def test_transformers_in_python(packages: dict[str, Artifact], recipe: str) -> None:
    assert extract_sql(answer_in_python(packages[recipe], "transformers in Python")) == expected_sql()


@pytest.mark.parametrize("recipe", ["fp16", pytest.param("int8", marks=pytest.mark.slow)])
def test_transformers_serve(packages: dict[str, Artifact], recipe: str) -> None:
    needs("openai", "fastapi", "uvicorn", "accelerate")
    assert extract_sql(served_answer(packages[recipe], "transformers")) == expected_sql()


@pytest.mark.parametrize("bits", [16, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (4, 8))])
def test_mlx_lm_server(tmp_path: Path, bits: int) -> None:
    """Quantized weights take MLX half a minute without Metal."""
    needs("mlx_lm", "mlx.core")
    recipe = replace_options(catalog.get_recipe("mlx-4bit"), bits=bits)
    artifact = make_artifact(open_checkpoint(MODEL_NAME), recipe, tmp_path / recipe.name).artifact
    assert extract_sql(served_answer(package(PackageRequest(artifact.path)), "mlx_lm.server")) == expected_sql()


def replace_options(recipe: Recipe, **options: object) -> Recipe:
    return recipe.model_copy(update={"options": {**recipe.options, **options}})


@pytest.mark.parametrize("recipe", ["onnx-int8", pytest.param("onnx-fp16", marks=pytest.mark.slow)])
def test_onnxruntime(packages: dict[str, Artifact], recipe: str) -> None:
    needs("onnxruntime", "onnx")
    assert extract_sql(answer_in_python(packages[recipe], "onnxruntime")) == expected_sql()


@pytest.mark.slow
def test_gptqmodel(packages: dict[str, Artifact]) -> None:
    needs("gptqmodel")
    assert extract_sql(answer_in_python(packages["gptq-4bit"], "GPTQModel")) == expected_sql()


def test_llama_server(packages: dict[str, Artifact]) -> None:
    needs("xllamacpp")
    artifact = packages["gguf-q4_k_m"]
    if shutil.which("llama-server"):
        assert extract_sql(served_answer(artifact, "llama-server")) == expected_sql()
        return
    _, command, request = documented(artifact, "llama-server")
    with library_server(command, artifact.path) as address:
        request = request.replace(f"http://127.0.0.1:{PORT}", address)
        assert extract_sql(ask(request, artifact.path, lambda: True)) == expected_sql()


@contextmanager
def library_server(command: str, folder: Path) -> Iterator[str]:
    """llama-server's own code under the options of a command; one it does not know is an error."""
    import xllamacpp

    program, *words = shlex.split(command)
    assert program == "llama-server"
    params = xllamacpp.CommonParams()
    params.port, params.hostnames, params.ui, params.verbosity = 0, ["127.0.0.1"], False, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    while words:
        option = words.pop(0)
        if option == "--jinja":
            params.use_jinja = True
        elif option == "-m":
            params.model.path = str(folder / words.pop(0))
        elif option == "--chat-template-file":
            params.chat_template = (folder / words.pop(0)).read_text(encoding="utf-8")
        else:
            assert (option, words.pop(0)) == ("--port", str(PORT))
    server = xllamacpp.Server(params)
    server.handle_completions({"prompt": "", "max_tokens": 0})  # freed before its loop has begun, it waits for ever
    yield server.listening_address
    del server


def test_every_format_names_engines_that_are_known(packages: dict[str, Artifact]) -> None:
    manifest = packages["gguf-q4_k_m"].manifest
    for name in member_names(formats):
        assert catalog.get_format(name).engines
        found = serve_commands(replace(manifest, format=name))
        assert found
        assert all(one.install and one.command for one in found)


def test_vllm_is_named_where_one_of_its_kernels_takes_the_package(packages: dict[str, Artifact]) -> None:
    manifest = packages["fp16"].manifest

    def engines(**conformance: object) -> dict[str, str]:
        one = replace(manifest, format="gptq", conformance=conformance)
        return {found.engine: found.needs for found in serve_commands(one)}

    row = {"kernel": "marlin", "loads": True, "reason": "GPUs of 7.5", "source": "vLLM: auto_gptq.py"}
    assert "marlin: GPUs of 7.5" in engines(kernels=[row])["vLLM"]
    assert "vLLM" not in engines(kernels=[{**row, "loads": False}])
    assert "vLLM" not in engines(kernels=[{**row, "loads": False}, {**row, "source": "GPTQModel: torch.py"}])
    assert "vLLM" in engines()


def test_a_hostile_name_stays_a_word_of_the_command(packages: dict[str, Artifact]) -> None:
    manifest = replace(packages["fp16"].manifest, model="x; rm -rf $HOME `id` '")
    command = next(one.command for one in serve_commands(manifest) if one.engine == "vLLM")
    assert manifest.model in shlex.split(command)


def test_a_named_repository_gives_commands_from_the_hub(packages: dict[str, Artifact]) -> None:
    def hub(recipe: str, repository: object) -> dict[str, str]:
        manifest = replace(packages[recipe].manifest, package={"repository": repository})
        return {one.engine: one.hub for one in serve_commands(manifest)}

    assert hub("fp16", "me/nano")["vLLM"] == "vllm serve me/nano --served-model-name sqlcoder-nano --port 8000"
    gguf = hub("gguf-q4_k_m", "me/nano-gguf")
    assert (
        "-hf me/nano-gguf:Q4_K_M --jinja --chat-template-file gguf-q4_k_m/chat_template.jinja" in gguf["llama-server"]
    )
    assert gguf["Ollama"].startswith("ollama pull hf.co/me/nano-gguf:Q4_K_M")
    for wrong in (None, "me", "me/nano; rm -rf /", "--x/y", 3):
        assert not any(hub("fp16", wrong).values())


def test_the_page_tells_how_the_model_is_asked(packages: dict[str, Artifact]) -> None:
    page = serve_page(packages["fp16"].manifest)
    assert page.count(FENCE) % 2 == 0
    assert json.dumps(example_schema()) in page
    advised = serve_page(replace(packages["fp16"].manifest, prompt="v3", model="sqlcoder-7b-2", results={}))
    assert "4 beams" in advised
    assert "{instructions}" in advised
    metal = replace(packages["fp16"].manifest, recipe={"backends": ["metal"]})
    assert serve_commands(metal)[0].command.endswith("--device mps")

"""How a package is served, engine by engine: what to install, what to start, what to ask.

Each format names the engines that read it (``Format.engines``, the most usual one first); each engine here makes its
three texts of the manifest alone. They are to be run in the package's folder, and bring SQL: tests take them out of
``SERVE.md`` and run them wherever the engine is installed. The question asked is one of the bundled set, with its
whole schema, so that the bundled model can answer it, too.

Requests name what the engines do not all take from the package: greedy (a server that reads no generation config
would draw at random), 300 tokens, and the stop texts.

Options, as their makers document them: docs.vllm.ai (``vllm serve``), github.com/ggml-org/llama.cpp
tools/server/README.md, mlx-lm 0.32 ``server.py``, transformers 5.23 ``transformers serve``, docs.ollama.com.

Example::

    for one in serve_commands(manifest):
        print(one.engine, one.install, one.command, one.request, sep="\\n")
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from workbench import catalog
from workbench.artifact import Manifest
from workbench.hub_layout import HUB_ID, place
from workbench.ollama_files import NEW_TOKENS
from workbench.package_files import CHAT_TEMPLATE, MODELFILE
from workbench.prompt import PROMPTS
from workbench.serve_example import GPTQMODEL, ONNXRUNTIME, TRANSFORMERS, messages, script

PORT = 8000
OLLAMA_PORT = 11434


@dataclass(frozen=True)
class ServeCommand:
    """One engine that reads a package.

    Attributes:
        engine: as its makers call it.
        install: a command that installs it.
        command: starts it, in the package's folder; where an engine has no server, asks the question itself.
        request: a command that asks the question of what was started; empty where ``command`` does.
        needs: what must be known beforehand; may be empty.
        hub: the same as ``command`` for the package on the Hub; empty where its repository is not named or the engine
            does not fetch.
    """

    engine: str
    install: str
    command: str
    request: str
    needs: str = ""
    hub: str = ""


def serve_commands(manifest: Manifest) -> tuple[ServeCommand, ...]:
    """Every engine that reads the package, the most usual one first.

    Raises:
        PluginError: a format that this workbench does not know.
    """
    engines = catalog.get_format(manifest.format).engines
    made = (_ENGINES[engine](manifest) for engine in engines)
    return tuple(one for one in made if one)


def _request(manifest: Manifest, model: str | None = None, port: int = PORT) -> str:
    """A request that asks the example's question; servers of one model need not be told which."""
    body = {
        **({"model": model} if model else {}),
        "messages": messages(),
        "temperature": 0,
        "max_tokens": NEW_TOKENS,
        "stop": list(PROMPTS[manifest.prompt].stop),
    }
    text = shlex.quote(json.dumps(body, indent=1))
    return f"curl -s http://127.0.0.1:{port}/v1/chat/completions -H 'Content-Type: application/json' -d {text}"


def _repository(manifest: Manifest) -> str | None:
    """The package's repository on the Hub, if one is named and may be one."""
    named = (manifest.package or {}).get("repository")  # a card's manifest may have none
    return named if isinstance(named, str) and HUB_ID.fullmatch(named) else None


def _from_hub(command: str, manifest: Manifest) -> str:
    """A command whose ``.`` stands for the folder, for the repository; empty where none is named."""
    repository = _repository(manifest)
    return command.replace(" . ", f" {repository} ", 1) if repository else ""


def _transformers(manifest: Manifest) -> ServeCommand:
    backends = manifest.recipe.get("backends", ())
    device = " --device mps" if backends and set(backends) == {"metal"} else ""
    also = " torchao" if manifest.format == "int8" else ""
    command = f"transformers serve . --port {PORT}{device}"
    return ServeCommand(
        "transformers",
        f'pip install "transformers[serving]"{also}',
        command,
        _request(manifest),
        "PyTorch for your machine; the answer ends with the stop text, which the other engines leave out",
        _from_hub(command, manifest),
    )


def _transformers_in_python(manifest: Manifest) -> ServeCommand:
    also = " torchao" if manifest.format == "int8" else ""
    needs = "no server, and no more than one question"
    return ServeCommand(
        "transformers in Python", f"pip install transformers torch{also}", script(TRANSFORMERS), "", needs
    )


def _vllm(manifest: Manifest) -> ServeCommand | None:
    kernels = [row for row in manifest.conformance.get("kernels", ()) if str(row["source"]).startswith("vLLM")]
    loading = [row for row in kernels if row["loads"]]
    if manifest.format == "gptq" and kernels and not loading:
        return None
    needs = "Linux with an NVIDIA GPU"
    if loading:
        told = "; ".join(f"{row['kernel']}: {row['reason']}" for row in loading)
        needs = f"Linux with a GPU that one of vLLM's kernels for this package takes ({told})"
    if manifest.architecture == "gpt_bigcode":  # github.com/vllm-project/vllm/pull/30966
        needs += "; vLLM computes StarCoder's architecture by its transformers backend since December 2025"
    needs += "; not run here"
    command = f"vllm serve . --served-model-name {shlex.quote(manifest.model)} --port {PORT}"
    request = _request(manifest, manifest.model)
    install = "pip install vllm torchao" if manifest.format == "int8" else "pip install vllm"
    return ServeCommand("vLLM", install, command, request, needs, _from_hub(command, manifest))


def _llama_server(manifest: Manifest) -> ServeCommand:
    weights, rest = weights_name(manifest), "--jinja --chat-template-file"
    repository, template = _repository(manifest), place(manifest.format, manifest.name, CHAT_TEMPLATE)
    return ServeCommand(
        "llama-server",
        "brew install llama.cpp",
        f"llama-server -m {shlex.quote(weights)} {rest} {CHAT_TEMPLATE} --port {PORT}",
        _request(manifest),
        "llama.cpp; without Homebrew a build from github.com/ggml-org/llama.cpp/releases; -c 4096 takes less memory",
        f"hf download {repository} {shlex.quote(template)} --local-dir .\n"
        f"llama-server -hf {repository}:{_quantization(weights)} {rest} {shlex.quote(template)} --port {PORT}"
        if repository
        else "",
    )


def _ollama(manifest: Manifest) -> ServeCommand:
    name, repository = manifest.model.lower(), _repository(manifest)
    tag = f"hf.co/{repository}:{_quantization(weights_name(manifest))}"
    return ServeCommand(
        "Ollama",
        "curl -fsSL https://ollama.com/install.sh | sh",
        f"ollama create {shlex.quote(name)} -f {MODELFILE}",
        _request(manifest, name, OLLAMA_PORT),
        "Ollama runs as a service of its own; not run here, its files are checked by the rules of its parser",
        f"ollama pull {tag}  # the model's name in a request" if repository else "",
    )


def _mlx_lm(manifest: Manifest) -> ServeCommand:
    command = f"mlx_lm.server --model . --port {PORT}"
    needs = "a Mac with Apple silicon (on Linux: pip install mlx-lm 'mlx[cpu]')"
    return ServeCommand(
        "mlx_lm.server", "pip install mlx-lm", command, _request(manifest), needs, _from_hub(command, manifest)
    )


def _gptqmodel(manifest: Manifest) -> ServeCommand:
    return ServeCommand(
        "GPTQModel",
        "pip install gptqmodel",
        script(GPTQMODEL),
        "",
        "any device; on a CPU slowly",
    )


def _onnxruntime(manifest: Manifest) -> ServeCommand:
    return ServeCommand(
        "onnxruntime",
        "pip install onnxruntime transformers",
        script(ONNXRUNTIME),
        "",
        "a CPU; for CUDA onnxruntime-gpu, model_fp16.onnx and CUDAExecutionProvider",
    )


def _quantization(weights: str) -> str:
    """What a GGUF file's name ends in, by which engines choose one of several: ``Q4_K_M``."""
    return shlex.quote(weights.removesuffix(".gguf").rsplit(".", 1)[-1])


def weights_name(manifest: Manifest) -> str:
    """Name of the GGUF file among the manifest's files."""
    return next(entry.path for entry in manifest.files if entry.path.endswith(".gguf"))


_ENGINES: dict[str, Callable[[Manifest], ServeCommand | None]] = {
    "transformers": _transformers,
    "transformers_in_python": _transformers_in_python,
    "vllm": _vllm,
    "llama_server": _llama_server,
    "ollama": _ollama,
    "mlx_lm": _mlx_lm,
    "gptqmodel": _gptqmodel,
    "onnxruntime": _onnxruntime,
}

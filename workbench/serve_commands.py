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
from functools import cache

from workbench import catalog
from workbench.artifact import Manifest
from workbench.nano import DATA_DIR
from workbench.ollama_files import NEW_TOKENS
from workbench.package_files import CHAT_TEMPLATE, MODELFILE
from workbench.prompt import PROMPTS
from workbench.questions import load_question_set

PORT = 8000
EXAMPLE_DATABASE = "hotel"
EXAMPLE_QUESTION = "How many payments made in 2023 and with an amount above 1800 are there?"


@dataclass(frozen=True)
class ServeCommand:
    """One engine that reads a package.

    Attributes:
        engine: as its makers call it.
        install: a command that installs it.
        command: starts it, in the package's folder; where an engine has no server, asks the question itself.
        request: a command that asks the question of what was started; empty where ``command`` does.
        needs: what must be known beforehand; may be empty.
    """

    engine: str
    install: str
    command: str
    request: str
    needs: str = ""


def serve_commands(manifest: Manifest) -> tuple[ServeCommand, ...]:
    """Every engine that reads the package, the most usual one first.

    Raises:
        PluginError: a format that this workbench does not know.
    """
    engines = catalog.get_format(manifest.format).engines
    made = (_ENGINES[engine](manifest) for engine in engines)
    return tuple(one for one in made if one)


@cache
def example_schema() -> str:
    """The schema of the question that is asked."""
    return load_question_set(DATA_DIR / "heldout.csv").schema(EXAMPLE_DATABASE)


def messages() -> list[dict[str, str]]:
    """The schema as system message, the question as the user's."""
    return [{"role": "system", "content": example_schema()}, {"role": "user", "content": EXAMPLE_QUESTION}]


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


def _transformers(manifest: Manifest) -> ServeCommand:
    backends = manifest.recipe.get("backends", ())
    device = " --device mps" if backends and set(backends) == {"metal"} else ""
    also = " torchao" if manifest.format == "int8" else ""
    return ServeCommand(
        "transformers",
        f'pip install "transformers[serving]"{also}',
        f"transformers serve . --port {PORT}{device}",
        _request(manifest),
        "PyTorch for your machine; the answer ends with the stop text, which the other engines leave out",
    )


def _transformers_in_python(manifest: Manifest) -> ServeCommand:
    also = " torchao" if manifest.format == "int8" else ""
    needs = "no server, and no more than one question"
    return ServeCommand(
        "transformers in Python", f"pip install transformers torch{also}", _script(_TRANSFORMERS), "", needs
    )


def _vllm(manifest: Manifest) -> ServeCommand | None:
    kernels = [row for row in manifest.conformance.get("kernels", ()) if str(row["source"]).startswith("vLLM")]
    loading = [row for row in kernels if row["loads"]]
    if manifest.format == "gptq" and kernels and not loading:
        return None
    needs = "Linux with an NVIDIA GPU; not run here"
    if loading:
        told = "; ".join(f"{row['kernel']}: {row['reason']}" for row in loading)
        needs = f"Linux with a GPU that one of vLLM's kernels for this package takes ({told}); not run here"
    name = shlex.quote(manifest.model)
    return ServeCommand(
        "vLLM",
        "pip install vllm",
        f"vllm serve . --served-model-name {name} --port {PORT}",
        _request(manifest, manifest.model),
        needs,
    )


def _llama_server(manifest: Manifest) -> ServeCommand:
    weights = shlex.quote(weights_name(manifest))
    return ServeCommand(
        "llama-server",
        "brew install llama.cpp",
        f"llama-server -m {weights} --jinja --chat-template-file {CHAT_TEMPLATE} --port {PORT}",
        _request(manifest, manifest.model),
        "llama.cpp; without Homebrew a build from github.com/ggml-org/llama.cpp/releases; -c 4096 takes less memory",
    )


def _ollama(manifest: Manifest) -> ServeCommand:
    name = manifest.model.lower()
    return ServeCommand(
        "Ollama",
        "curl -fsSL https://ollama.com/install.sh | sh",
        f"ollama create {shlex.quote(name)} -f {MODELFILE}",
        _request(manifest, name, 11434),
        "Ollama runs as a service of its own; not run here, its files are checked by the rules of its parser",
    )


def _mlx_lm(manifest: Manifest) -> ServeCommand:
    return ServeCommand(
        "mlx_lm.server",
        "pip install mlx-lm",
        f"mlx_lm.server --model . --port {PORT}",
        _request(manifest),
        "a Mac with Apple silicon (on Linux: pip install mlx-lm 'mlx[cpu]')",
    )


def _gptqmodel(manifest: Manifest) -> ServeCommand:
    return ServeCommand(
        "GPTQModel",
        "pip install gptqmodel",
        _script(_GPTQMODEL),
        "",
        "any device; on a CPU slowly",
    )


def _onnxruntime(manifest: Manifest) -> ServeCommand:
    return ServeCommand(
        "onnxruntime",
        "pip install onnxruntime transformers",
        _script(_ONNXRUNTIME),
        "",
        "a CPU; for CUDA onnxruntime-gpu, model_fp16.onnx and CUDAExecutionProvider",
    )


def weights_name(manifest: Manifest) -> str:
    """Name of the GGUF file among the manifest's files."""
    return next(entry.path for entry in manifest.files if entry.path.endswith(".gguf"))


def _script(body: str) -> str:
    """A command that runs Python lines; ``MESSAGES`` in them stands for the chat."""
    return "python - <<'END'\n" + body.strip().replace("MESSAGES", json.dumps(messages(), indent=1)) + "\nEND"


_TRANSFORMERS = """
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")
chat = MESSAGES
tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**tokens)[0, tokens["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""

_GPTQMODEL = """
from gptqmodel import GPTQModel

model = GPTQModel.load(".")
tokenizer = model.tokenizer
chat = MESSAGES
tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**tokens.to(model.device), do_sample=False)[0, tokens["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""

_ONNXRUNTIME = """
import json

import numpy as np
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
settings = json.load(open("generation_config.json"))
chat = MESSAGES
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
past = {one.name: np.zeros((1, one.shape[1], 0, one.shape[3]), np.float32)
        for one in session.get_inputs() if one.name.startswith("past")}
names = [one.name for one in session.get_outputs()]
step, read, answer = ids, 0, []
while len(answer) < settings["max_new_tokens"]:
    positions = np.arange(read, read + len(step))[None]
    read += len(step)
    mask = np.ones((1, read), np.int64)
    inputs = {"input_ids": np.array([step]), "attention_mask": mask, "position_ids": positions, **past}
    out = dict(zip(names, session.run(None, inputs)))
    past = {name: out[name.replace("past_key_values", "present")] for name in past}
    step = [int(out["logits"][0, -1].argmax())]
    if step[0] in settings["eos_token_id"]:
        break
    answer += step
print(tokenizer.decode(answer))
"""

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

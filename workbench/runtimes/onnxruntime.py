"""onnxruntime, for ONNX artifacts with a key-value cache.

On a CPU the float32 graph runs: float16 weights become float32 when loaded, 8- and 4-bit weights stay packed.
On CUDA the float16 graph runs. Both read the same weights.

Answers are made one after another, so they do not depend on which questions were asked together; what prompts
have in common at their start is read once (``_onnx_engine.py``). Timing reads the prompt in one piece, as users do.

A model of a few megabytes runs on one thread: computing a token takes less time than threads need to meet.

Example::

    with RUNTIME.load(open_artifact(folder), LoadOptions()) as session:
        session.generate([prompt], Decoding(stop=("```",), max_new_tokens=64))
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench.artifact import Artifact
from workbench.errors import ArtifactError, PrerequisiteError, UnsupportedWorkloadError, WorkbenchError
from workbench.memory_facts import Held, MemoryFacts
from workbench.quiet import quiet_libraries
from workbench.runtimes._beams import BeamSearch, most_probable
from workbench.runtimes._onnx_engine import Cache, Engine, Followed, Reader, onnxruntime, open_session
from workbench.runtimes._prompt_tokens import PromptTokens
from workbench.runtimes._stops import Stops
from workbench.runtimes.base import (
    Decoding,
    Generation,
    LoadOptions,
    Reading,
    Runtime,
    Session,
    Timing,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

GRAPHS = {"cpu": "model.onnx", "cuda": "model_fp16.onnx"}
INSTALL = "pip install onnxruntime"
INSTALL_CUDA = 'pip uninstall onnxruntime && pip install "onnxruntime-gpu[cuda,cudnn]"'
SMALL_MODEL_BYTES = 64 << 20
_WIDENED_NOTE = "float16 is computed in float32 on this device: twice the memory of the weights on disk"
_ROUNDED_NOTE = "activations are rounded to 8 bits for each product on this device; on CUDA they are not"
# Its exceptions, which have no common base.
_REFUSALS = (
    "EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented",
    "RuntimeException",
)  # fmt: skip
_ONE_THREAD_NOTE = "onnxruntime on one thread: the model is too small for more"


class OnnxRuntime(Runtime):
    """onnxruntime's CPU and CUDA execution providers."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    requires = (("onnxruntime", "onnxruntime"), ("transformers", "transformers"))
    devices = ("cpu", "cuda")
    # The graph computes logits of all tokens and writes attention scores out.
    memory = MappingProxyType(
        {
            "cuda": MemoryFacts(
                1_000_000_000,
                "context of 0.5 GB, cuBLAS, cuDNN and the arena's growth by powers of two",
                cache_growth=-1,
                scores=2.3,
                logits="all",
            ),
            "cpu": MemoryFacts(
                290 << 20,
                "resident sets of models of 0.16 to 1.1 billion weights on Linux",
                held=MappingProxyType(
                    {
                        "": Held(file=1.0, linear=0.0625, head=0.0625, embedding=3.0),
                        "onnx/fp16": Held(linear=4.0, head=4.0, embedding=2.0, other=2.0, loading=0.1),
                    }
                ),
                cache_bytes=4,
                cache_growth=-1,  # what a step reads and what it leaves are different tensors
                element_bytes=4,
                scores=2.3,
                logits="all",
                logit_copies=3,
            ),
        }
    )

    def load(self, artifact: Artifact, options: LoadOptions) -> OnnxSession:
        """Load the device's graph; see ``Runtime.load``."""
        path = artifact.path / GRAPHS[options.device]
        if not path.is_file():
            raise WorkbenchError(
                f"{artifact.path} holds no {path.name}; onnxruntime runs artifacts of the onnx recipes"
            )
        _check_engine(options.device)
        small = artifact.manifest.weight_bytes < SMALL_MODEL_BYTES
        weights = artifact.manifest.details.get("weights", "fp16")
        notes = [_WIDENED_NOTE if weights == "fp16" else _ROUNDED_NOTE] if options.device == "cpu" else []
        notes += [_ONE_THREAD_NOTE] if small and options.device == "cpu" else []
        engine = _open_engine(path, options.device, 1 if small else options.threads)
        return OnnxSession(engine, artifact.path, options.context, tuple(notes))


class OnnxSession(Session):
    """A graph, its weights and a tokenizer."""

    def __init__(self, engine: Engine, folder: Path, context: int, notes: tuple[str, ...]) -> None:
        self.notes = notes
        self._engine = engine
        self._config = _read_json(folder / "config.json")
        with quiet_libraries():
            from transformers import AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            except (OSError, ValueError) as error:
                raise ArtifactError(
                    f"the tokenizer in {folder} cannot be loaded ({error}); delete the folder and build it again"
                ) from error
        limits = (self._config.get(key) for key in ("n_positions", "max_position_embeddings"))
        self._tokens = PromptTokens(tokenizer, min(context, *(limit for limit in limits if limit)))
        self._ends = _ends(folder, self._config, tokenizer)

    def generate(
        self, prompts: Sequence[str], decoding: Decoding, progress: Callable[[int, int], None] | None = None
    ) -> list[Generation]:
        """Answers; each distinct prompt is computed once, after the prompts it shares most with."""
        encoded = [tuple(self._tokens.encode(prompt, 1)) for prompt in prompts]
        stops = Stops(self._tokens.tokenizer, decoding.stop, self._ends, self._config["vocab_size"])
        write = self._write if decoding.beams == 1 else partial(self._search, beams=decoding.beams)
        distinct = sorted(set(encoded))
        reader = Reader(self._engine, distinct)
        answers: dict[tuple[int, ...], Generation] = {}
        done = 0
        for place, ids in enumerate(distinct):
            limit = min(decoding.max_new_tokens, self._tokens.context - len(ids))
            written = write(*reader.read(place), stops, limit)
            answers[ids] = stops.generation(len(ids), written)
            done += encoded.count(ids)
            if progress:
                progress(done, len(prompts))
        return [answers[ids] for ids in encoded]

    @property
    def context(self) -> int:
        """As asked for, or what the model was built for."""
        return self._tokens.context

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt; see ``Session.prompt_tokens``."""
        return self._tokens.count(prompt)

    def time_batch(self, prompts: Sequence[str], new_tokens: int, beams: int = 1) -> Timing:
        """Time greedy answers, the prompts read in one piece; see ``Session.time_batch``."""
        if beams > 1:
            raise UnsupportedWorkloadError("onnxruntime computes a graph and has no beam search of its own")
        rows = self._tokens.equal(prompts, new_tokens)
        started = time.perf_counter()
        logits, cache = self._engine.read_rows(rows, self._engine.nothing(len(rows)))
        tokens = logits.argmax(-1)
        ttft_s = time.perf_counter() - started
        for _ in range(new_tokens - 1):
            logits, cache = self._engine.read_rows(tokens[:, None], cache)
            tokens = logits.argmax(-1)
        return Timing(len(rows[0]), new_tokens, ttft_s, time.perf_counter() - started, len(rows))

    def logits(self, prompts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Logits after each prompt, read in one piece; see ``Session.logits``."""
        encoded = [self._tokens.encode(prompt, 1) for prompt in prompts]
        return [self._engine.step(ids, self._engine.empty)[0] for ids in encoded]

    def logits_at(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.float32]]:
        """Logits of given tokens: those before the first are read as a prompt; see ``Session.logits_at``."""
        import numpy as np

        reader = Reader(self._engine, [one.tokens[: one.first] for one in readings])
        for place, (ids, at) in enumerate((one.tokens, one.first) for one in readings):
            logits, cache = reader.read(place)
            rest = [self._engine.read(ids[at:-1], cache)[0]] if at < len(ids) - 1 else []
            yield np.concatenate([logits[None], *rest])

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text; see ``Session.tokenize``."""
        return self._tokens.ids(text)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Text of ids; see ``Session.detokenize``."""
        return self._tokens.text(ids)

    def close(self) -> None:
        """Free the engine and its weights."""
        del self._engine

    def _write(self, logits: NDArray[np.float32], cache: Cache, stops: Stops, limit: int) -> list[int]:
        """Tokens of an answer, the one that ends it included."""
        tokens: list[int] = []
        while True:
            tokens.append(int(logits.argmax()))
            if len(tokens) >= limit or stops.ended(tokens):
                return tokens
            logits, cache = self._engine.step(tokens[-1:], cache)

    def _search(self, logits: NDArray[np.float32], cache: Cache, stops: Stops, limit: int, *, beams: int) -> list[int]:
        """Tokens of the best answer that a beam search finds."""
        search = BeamSearch(beams, stops.ended, limit, len(stops.ends))
        followed = Followed(self._engine, cache, search.keep)
        return search.run(most_probable(logits[None], search.keep), followed.follow)


def _check_engine(device: str) -> None:
    """onnxruntime is there, and was built for the device."""
    try:
        library = onnxruntime()
    except ImportError as error:
        raise PrerequisiteError(f"running ONNX needs onnxruntime; install it with: {INSTALL}") from error
    if device == "cpu":
        return
    if "CUDAExecutionProvider" not in library.get_available_providers():
        raise PrerequisiteError(
            f"the installed onnxruntime was built without CUDA; install the one with it: {INSTALL_CUDA}, or build for "
            "--profile cpu"
        )
    library.preload_dlls()  # finds the CUDA libraries that came with pip


def _open_engine(path: Path, device: str, threads: int) -> Engine:
    """The graph, loaded onto its device."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    try:
        session = open_session(path, device, threads)
    except tuple(getattr(state, name) for name in _REFUSALS) as error:
        raise ArtifactError(
            f"onnxruntime cannot load {path} ({str(error).strip()}); build the artifact again, or free some memory"
        ) from error
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise PrerequisiteError(
            f"onnxruntime could not load its CUDA libraries; install them with: {INSTALL_CUDA}, check the driver with "
            "nvidia-smi, or build for --profile cpu"
        )
    return Engine(session, device)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); build the artifact again") from error
    return document


def _ends(folder: Path, config: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """End-of-text ids of the generation config, the config and the tokenizer."""
    generation = folder / "generation_config.json"
    sources = (config, _read_json(generation) if generation.is_file() else {})
    found: list[Any] = [source.get("eos_token_id") for source in sources] + [tokenizer.eos_token_id]
    listed: Iterable[Any] = (value if isinstance(value, list) else [value] for value in found)
    return frozenset(value for values in listed for value in values if value is not None)


RUNTIME = OnnxRuntime()

"""mlx-lm: runs MLX packages on Apple GPUs through Metal, and on any CPU to check them.

mlx-lm loads the package; answers are made one after another by our own greedy loop (``_mlx_decode.py``), which keeps
what a prompt shares with the one before. Timing reads a prompt in the large blocks that mlx-lm's users get, from an
empty cache.

StarCoder is computed with the tanh GELU it was trained with (``workbench/kernels/mlx_gpt_bigcode.py``), not with
mlx-lm's exact one. No code of a package is ever run: if a config names a model file it must be that very file, and
ours is used.

On a CPU everything is computed in float32, as transformers does: answers are those of the artifact, speed and
memory say nothing about a Mac (MLX's wheel for Linux, ``mlx[cpu]``, comes with the reference BLAS).

Example::

    with RUNTIME.load(open_artifact(folder), LoadOptions(device="mps")) as session:
        session.generate([prompt], Decoding(stop=("```",), max_new_tokens=64))
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench.artifact import Artifact
from workbench.errors import ArtifactError, PrerequisiteError, UnsupportedWorkloadError, WorkbenchError
from workbench.memory_facts import MemoryFacts
from workbench.quiet import quiet_libraries
from workbench.runtimes._prompt_tokens import PromptTokens
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

    from workbench.runtimes._stops import Stops

TIMED_BLOCK = 2048  # mlx-lm's default
OWN_MODEL = "workbench.kernels.mlx_gpt_bigcode"
MODELS = {
    "gpt_bigcode": "mlx_lm.models.gpt_bigcode",
    "llama": "mlx_lm.models.llama",
    "mistral": "mlx_lm.models.llama",
}
EXACT_GELU = frozenset({"gelu", "gelu_python"})
_CPU_NOTE = (
    "computed in float32 by MLX's CPU backend, which exists for checks: answers are the artifact's own, "
    "speed and memory are not those of a Mac"
)


class MlxLm(Runtime):
    """mlx-lm's models, our loop."""

    name = "mlx_lm"
    title = "mlx-lm"
    requires = (("mlx_lm", "mlx-lm"), ("mlx", "mlx" if sys.platform == "darwin" else "mlx[cpu]"))
    devices = ("cpu", "mps")
    memory = MappingProxyType(
        {
            "metal": MemoryFacts(
                400_000_000,
                "an assumption: Python, MLX and Metal's own; a cache in steps of 256 (mlx_lm.models.cache.KVCache)",
                cache_step=256,
                block=TIMED_BLOCK,
            )
        }
    )

    def load(self, artifact: Artifact, options: LoadOptions) -> MlxLmSession:
        """Load; see ``Runtime.load``."""
        if artifact.manifest.format != "mlx":
            raise WorkbenchError(f"mlx-lm cannot run format {artifact.manifest.format}; it runs mlx")
        mx = use_device(options.device)
        with quiet_libraries():
            from transformers import AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(artifact.path, local_files_only=True, trust_remote_code=False)
                model, config = _load_model(artifact.path)
            except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
                raise ArtifactError(
                    f"mlx-lm cannot load {artifact.path} ({error}); delete the folder and build it again"
                ) from error
        if options.device == "cpu":
            model.set_dtype(mx.float32)
        else:
            # As mlx-lm does before it generates: the system may not page the weights out between two tokens.
            mx.set_wired_limit(mx.device_info()["max_recommended_working_set_size"])
        return MlxLmSession(model, config, tokenizer, options)


class MlxLmSession(Session):
    """A model and its tokenizer."""

    def __init__(
        self, model: Any, config: dict[str, Any], tokenizer: PreTrainedTokenizerBase, options: LoadOptions
    ) -> None:
        from workbench.runtimes._mlx_decode import PromptReader

        self.notes = (_CPU_NOTE,) if options.device == "cpu" else ()
        self.representative = options.device != "cpu"
        self._model = model
        self._config = config
        self._tokens = PromptTokens(tokenizer, min(options.context, *_limits(config)))
        self._device = options.device
        self._reader = PromptReader(model)

    def generate(
        self, prompts: Sequence[str], decoding: Decoding, progress: Callable[[int, int], None] | None = None
    ) -> list[Generation]:
        """Answers; each distinct prompt is computed once, after the prompts it shares most with."""
        from workbench.runtimes._stops import Stops

        use_device(self._device)
        stops = Stops(self._tokens.tokenizer, decoding.stop, self._ends(), self._config["vocab_size"])
        encoded = {prompt: self._tokens.encode(prompt, 1) for prompt in prompts}
        answers: dict[str, Generation] = {}
        done = 0
        for prompt in sorted(encoded):
            answers[prompt] = self._answer(encoded[prompt], stops, decoding)
            done += prompts.count(prompt)
            if progress:
                progress(done, len(prompts))
        return [answers[prompt] for prompt in prompts]

    def logits(self, prompts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Logits after each prompt; see ``Session.logits``."""
        import numpy

        mx = use_device(self._device)
        read = (self._reader.read(self._tokens.encode(prompt, 1))[0] for prompt in prompts)
        return [numpy.array(logits[0].astype(mx.float32)) for logits in read]

    def logits_at(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.float32]]:
        """Logits of given tokens: those before the first are read as a prompt; see ``Session.logits_at``."""
        import numpy

        mx = use_device(self._device)
        for ids, at in ((one.tokens, one.first) for one in readings):
            logits, cache = self._reader.read(ids[:at])
            if at < len(ids) - 1:
                logits = mx.concatenate([logits, self._model(mx.array([ids[at:-1]]), cache=cache)[0]])
            yield numpy.array(logits.astype(mx.float32))

    @property
    def context(self) -> int:
        """As asked for, or what the model was built for."""
        return self._tokens.context

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt; see ``Session.prompt_tokens``."""
        return self._tokens.count(prompt)

    def time_batch(self, prompts: Sequence[str], new_tokens: int, beams: int = 1) -> Timing:
        """Time greedy answers in mlx-lm's own block size; see ``Session.time_batch``."""
        from mlx_lm.models.cache import make_prompt_cache

        from workbench.runtimes._mlx_decode import greedy_rows, prefill_rows

        if beams > 1:
            raise UnsupportedWorkloadError("mlx-lm has no beam search of its own")
        mx = use_device(self._device)
        rows = self._tokens.equal(prompts, new_tokens)
        cache = make_prompt_cache(self._model)
        started = time.perf_counter()
        tokens = greedy_rows(self._model, cache, prefill_rows(self._model, cache, rows, 0, TIMED_BLOCK))
        next(tokens)
        ttft_s = time.perf_counter() - started
        for _ in range(new_tokens - 1):
            next(tokens)
        total_s = time.perf_counter() - started
        mx.synchronize()  # the step begun ahead
        return Timing(len(rows[0]), new_tokens, ttft_s, total_s, len(rows))

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text; see ``Session.tokenize``."""
        return self._tokens.ids(text)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Text of ids; see ``Session.detokenize``."""
        return self._tokens.text(ids)

    def device_peak_bytes(self) -> int | None:
        """Peak of MLX's allocator, in the memory an Apple GPU shares with the CPU; ``None`` on CPU."""
        return int(use_device(self._device).get_peak_memory()) if self._device == "mps" else None

    def close(self) -> None:
        """Drop the model and give cached buffers back."""
        del self._model, self._reader
        use_device(self._device).clear_cache()

    def _answer(self, ids: list[int], stops: Stops, decoding: Decoding) -> Generation:
        """One answer: up to the end of text, a stop, the limit, or the end of the context."""
        from workbench.runtimes._beams import BeamSearch
        from workbench.runtimes._mlx_decode import Followed, greedy

        logits, cache = self._reader.read(ids)
        limit = min(decoding.max_new_tokens, self._tokens.context - len(ids))
        if decoding.beams > 1:
            search = BeamSearch(decoding.beams, stops.ended, limit, len(stops.ends))
            followed = Followed(self._model, cache, search.keep)
            return stops.generation(len(ids), search.run(followed.told(logits), followed.follow))
        written: list[int] = []
        for token in greedy(self._model, cache, logits):
            written.append(token)
            if len(written) >= limit or stops.ended(written):
                break
        return stops.generation(len(ids), written)

    def _ends(self) -> frozenset[int]:
        """End-of-text ids of the generation config or the config (mlx-lm merges them), and of the tokenizer."""
        value = self._config.get("eos_token_id")
        ends = {value} if isinstance(value, int) else set(value or ())
        return frozenset(ends | {self._tokens.tokenizer.eos_token_id} - {None})


def use_device(device: str) -> Any:
    """``mlx.core``, computing on a device from here on.

    Raises:
        PrerequisiteError: MLX is not installed, or has no Metal here.
    """
    try:
        mx = import_module("mlx.core")
        import_module("mlx_lm")
    except ImportError as error:
        lines = " ".join(f'"{line}"' for _, line in MlxLm.requires)
        raise PrerequisiteError(f"running MLX packages needs mlx-lm; install it with: pip install {lines}") from error
    if device == "mps" and not mx.metal.is_available():
        raise PrerequisiteError("MLX sees no Metal device; run MLX packages on a Mac with Apple silicon")
    mx.set_default_device(mx.gpu if device == "mps" else mx.cpu)
    return mx


def _limits(config: dict[str, Any]) -> list[int]:
    """Most tokens by the config: positions it was built for, and a sliding window, beyond which attention differs."""
    keys = ("n_positions", "max_position_embeddings", "sliding_window")
    return [int(config[key]) for key in keys if config.get(key)]


def _load_model(path: Path) -> tuple[Any, dict[str, Any]]:
    """The model, and the config as mlx-lm completed it."""
    from mlx_lm.utils import load_model

    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    own = import_module(OWN_MODEL)
    named = config.get("model_file")
    if named is not None and (path / named).read_bytes() != Path(str(own.__file__)).read_bytes():
        raise ArtifactError(
            f"{path}/config.json names the model file {named}, which is not the workbench's own, and code of a package "
            "is not run; convert the model with the workbench"
        )
    if config["model_type"] not in MODELS:
        raise ArtifactError(f"{path} holds a {config['model_type']} model; MLX runs {', '.join(sorted(MODELS))} here")
    tanh = config["model_type"] == "gpt_bigcode" and config.get("activation_function") not in EXACT_GELU
    module = own if tanh else import_module(MODELS[config["model_type"]])
    model, completed = load_model(
        path, model_config={"model_file": None}, get_model_classes=lambda config: (module.Model, module.ModelArgs)
    )
    return model, completed


RUNTIME = MlxLm()

"""Hugging Face transformers: runs float16, int8 and GPTQ artifacts; the yardstick of the other engines.

In which precision a model is computed, and by whose kernels, ``_transformers_model`` says, and the session's notes.

Time and memory are taken with the plain forward pass and cache that users of transformers get. Batches of
answers go through our own loop (``_decode``), which gives the same tokens much sooner.

Example::

    with RUNTIME.load(open_artifact(folder), LoadOptions()) as session:
        session.generate([prompt], Decoding(stop=("```",), max_new_tokens=64))
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench.artifact import Artifact
from workbench.errors import ArtifactError, WorkbenchError
from workbench.memory_facts import Held, MemoryFacts
from workbench.quiet import quiet_libraries
from workbench.runtimes._groups import common_prefix
from workbench.runtimes._prompt_tokens import PromptTokens
from workbench.runtimes._transformers_model import check_device, load_model
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
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FORMATS = frozenset({"fp16", "int8", "gptq"})
CPU_BUDGET_BYTES = 1 << 30
DEVICE_BUDGET_SHARE = 0.25  # of the accelerator's free memory, for one batch


class Transformers(Runtime):
    """Loads with ``AutoModelForCausalLM``; never runs code from a checkpoint, never opens pickles."""

    name = "transformers"
    title = "Hugging Face transformers"
    requires = (("transformers", "transformers"), ("torch", "torch"))
    devices = ("cpu", "cuda", "mps")
    # Prompts are read in one piece; beams share their prompt (``_decode.py``).
    memory = MappingProxyType(
        {
            "cuda": MemoryFacts(
                900_000_000,
                "context of 0.5 GB, cuBLAS workspaces (pytorch.org, CUDA semantics), rest of the allocator's blocks",
                held=MappingProxyType({"": Held(file=1.0), "int8": Held(file=1.0, layers=2.0)}),
                beam_cache="answer",
                mask=True,
            ),
            "metal": MemoryFacts(700_000_000, "an assumption: the CPU's and Metal's own", beam_cache="answer"),
            "cpu": MemoryFacts(
                410 << 20,
                "resident sets of models of 0.16 to 1.1 billion weights on Linux",
                held=MappingProxyType(
                    {
                        "": Held(linear=4.0, head=4.0, embedding=4.0, other=4.0, loading=1.0),
                        "int8": Held(file=1.0, head=4.0, embedding=4.0, other=4.0, layers=6.0),
                    }
                ),
                cache_bytes=4,
                cache_growth=32 << 20,  # glibc's largest block that is not mapped on its own
                beam_cache="answer",
                element_bytes=4,
                inner_rows=(4.0, 4.0),
                mask=True,
            ),
        }
    )

    def load(self, artifact: Artifact, options: LoadOptions) -> Session:
        """Load; see ``Runtime.load``."""
        if artifact.manifest.format not in FORMATS:
            known = ", ".join(sorted(FORMATS))
            raise WorkbenchError(f"transformers cannot run format {artifact.manifest.format}; it runs {known}")
        check_device(options.device)
        import torch

        torch.set_num_threads(options.threads)
        with quiet_libraries():
            from transformers import AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(artifact.path, local_files_only=True)
                model, notes, representative = load_model(artifact, options.device)
            except torch.OutOfMemoryError as error:
                raise WorkbenchError(
                    f"{artifact.name} does not fit the memory of this {options.device} device; choose a smaller format"
                ) from error
            except (OSError, ValueError, json.JSONDecodeError) as error:
                raise ArtifactError(
                    f"transformers cannot load {artifact.path} ({error}); delete the folder and build it again"
                ) from error
        return TransformersSession(model.eval(), tokenizer, options, notes, representative)


class TransformersSession(Session):
    """A model and its tokenizer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: LoadOptions,
        notes: tuple[str, ...],
        representative: bool,
    ) -> None:
        from workbench.kernels.shared_prefix import register

        register()
        self.model = model
        self.notes = notes
        self.representative = representative
        self._tokens = PromptTokens(tokenizer, min(options.context, *_limits(model.config)))
        self._device = options.device

    def generate(
        self, prompts: Sequence[str], decoding: Decoding, progress: Callable[[int, int], None] | None = None
    ) -> list[Generation]:
        """Batched answers; see ``Session.generate``."""
        import torch

        from workbench.kernels.shared_prefix import NAME
        from workbench.runtimes._decode import Decoder
        from workbench.runtimes._stops import Stops

        encoded = [self._tokens.encode(prompt, 1) for prompt in prompts]
        stops = Stops(self._tokens.tokenizer, decoding.stop, self._ends(), self.model.config.vocab_size)
        decoder = Decoder(self.model, stops, self._tokens.context, self._budget_bytes())
        with torch.inference_mode(), quiet_libraries():
            self.model.set_attn_implementation(NAME)
            try:
                return decoder.run(encoded, decoding, progress)
            finally:
                self.model.set_attn_implementation("sdpa")

    @property
    def context(self) -> int:
        """As asked for, or what the model was built for."""
        return self._tokens.context

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt; see ``Session.prompt_tokens``."""
        return self._tokens.count(prompt)

    def time_batch(self, prompts: Sequence[str], new_tokens: int, beams: int = 1) -> Timing:
        """Time answers with transformers' own cache, beams with its own ``generate``; see ``Session.time_batch``."""
        import torch

        ids = torch.tensor(self._tokens.equal(prompts, new_tokens), device=self._device)
        with torch.inference_mode(), quiet_libraries():
            self._synchronize()
            ttft_s, total_s = self._greedy(ids, new_tokens) if beams == 1 else self._search(ids, new_tokens, beams)
        return Timing(ids.shape[1], new_tokens, ttft_s, total_s, len(prompts), beams)

    def logits(self, prompts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Logits after each prompt, by the plain forward pass; see ``Session.logits``."""
        import torch

        found = []
        with torch.inference_mode():
            for prompt in prompts:
                ids = torch.tensor([self._tokens.encode(prompt, 1)], device=self._device)
                output = self.model(input_ids=ids, use_cache=False, logits_to_keep=1)
                found.append(output.logits[0, -1].float().cpu().numpy())
        return found

    def logits_at(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.float32]]:
        """Logits of given tokens; the cache of what a sequence shares with the one before is kept; see ``Session``."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache()
        before: tuple[int, ...] = ()
        for ids, at in ((tuple(one.tokens), one.first) for one in readings):
            shared = min(common_prefix(before, ids), at - 1)
            if len(before) > shared:
                cache.crop(shared - len(before))  # a negative number of tokens is removed from the end
            with torch.inference_mode():
                fresh = torch.tensor([ids[shared:-1]], device=self._device)
                logits = self.model(fresh, past_key_values=cache, logits_to_keep=len(ids) - at).logits
            before = ids[:-1]
            yield logits[0].float().cpu().numpy()

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text; see ``Session.tokenize``."""
        return self._tokens.ids(text)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Text of ids; see ``Session.detokenize``."""
        return self._tokens.text(ids)

    def device_peak_bytes(self) -> int | None:
        """Peak of torch's CUDA allocator since loading; ``None`` elsewhere."""
        import torch

        return torch.cuda.max_memory_allocated() if self._device == "cuda" else None

    def close(self) -> None:
        """Drop the model and give cached device memory back."""
        import torch

        del self.model
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _greedy(self, ids: torch.Tensor, new_tokens: int) -> tuple[float, float]:
        """Seconds until the first and the last token of greedy answers to ``[rows, tokens]``."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        started = time.perf_counter()
        token = self._next_token(ids, cache)
        self._synchronize()
        ttft_s = time.perf_counter() - started
        for _ in range(new_tokens - 1):
            token = self._next_token(token, cache)
        self._synchronize()
        return ttft_s, time.perf_counter() - started

    def _search(self, ids: torch.Tensor, new_tokens: int, beams: int) -> tuple[float, float]:
        """Likewise for a beam search; ``generate`` asks its stopping criteria after each token: also the first."""
        import torch

        told: list[float] = []

        def listen(sequences: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
            if not told:
                self._synchronize()
                told.append(time.perf_counter())
            return torch.zeros(len(sequences), dtype=torch.bool, device=sequences.device)

        how = {"do_sample": False, "min_new_tokens": new_tokens, "max_new_tokens": new_tokens, "num_beams": beams}
        pad = min(self._ends(), default=0)
        started = time.perf_counter()
        self.model.generate(
            ids, attention_mask=torch.ones_like(ids), stopping_criteria=[listen], pad_token_id=pad, **how
        )
        self._synchronize()
        return told[0] - started, time.perf_counter() - started

    def _next_token(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        output = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token: torch.Tensor = output.logits[:, -1].argmax(-1, keepdim=True)
        return token

    def _ends(self) -> frozenset[int]:
        """End-of-text ids of the generation config, the config and the tokenizer."""
        ends: set[int] = set()
        for source in (self.model.generation_config, self.model.config, self._tokens.tokenizer):
            value = getattr(source, "eos_token_id", None)
            ends.update([value] if isinstance(value, int) else value or [])
        return frozenset(ends)

    def _budget_bytes(self) -> int:
        import torch

        if self._device != "cuda":
            return CPU_BUDGET_BYTES
        return int(torch.cuda.mem_get_info()[0] * DEVICE_BUDGET_SHARE)

    def _synchronize(self) -> None:
        import torch

        if self._device == "cuda":
            torch.cuda.synchronize()
        elif self._device == "mps":
            torch.mps.synchronize()


def _limits(config: Any) -> list[int]:
    """Most tokens by the config: positions it was built for, and a sliding window, beyond which attention differs."""
    limits = [config.max_position_embeddings]
    if getattr(config, "sliding_window", None):
        limits.append(config.sliding_window)
    return limits


RUNTIME = Transformers()

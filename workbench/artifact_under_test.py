"""An artifact under test: all questions at once to its own engine, in a process of its own (``workbench.trial``)."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.artifact import Artifact
from workbench.catalog import get_runtime
from workbench.engine_process import require_memory
from workbench.errors import ArtifactError
from workbench.machine import describe
from workbench.model_under_test import Failure, ModelUnderTest, Tell
from workbench.progress import Listener
from workbench.prompt import PROMPTS, Prompt
from workbench.runtimes.base import Decoding, Generation
from workbench.trial import TrialTask, run_trial

SPARE_TOKENS = 16  # put around a prompt, or by which a tokenizer exceeds one token a byte


class ArtifactUnderTest(ModelUnderTest):
    """A finished artifact.

    Args:
        artifact: is asked with the prompt its manifest names.
        prompt: instead of that; ``None`` keeps it.
        context: tokens of prompt and answer; ``None`` makes room for the longest question.
        threads: 0 means one per processor.
    """

    def __init__(
        self, artifact: Artifact, prompt: Prompt | None = None, context: int | None = None, threads: int = 0
    ) -> None:
        manifest = artifact.manifest
        if manifest.prompt not in PROMPTS and prompt is None:
            raise ArtifactError(
                f"{artifact.path} was made for the prompt {manifest.prompt!r}; name another with --prompt"
            )
        self._runtime = get_runtime(str(manifest.recipe.get("runtime")))
        self._artifact = artifact
        self._context = context
        self._machine = describe(quick=True)
        self._threads = threads or self._machine.cores
        self.name = f"{manifest.model} {manifest.name}"
        self.engine = self._runtime.label
        self.prompt = prompt or PROMPTS[manifest.prompt]

    def facts(self) -> dict[str, str]:
        """The artifact, and the machine it answers on."""
        return {"artifact": str(self._artifact.path), "device": self._device(), "machine": self._machine.label}

    def weights(self) -> dict[str, str]:
        """The key of what it was made from and how."""
        return {"build_key": self._artifact.manifest.build_key}

    def answer(self, prompts: Sequence[str], decoding: Decoding, tell: Tell, listener: Listener) -> None:
        """Run its engine once for all prompts; see ``ModelUnderTest.answer``."""
        require_memory(self._runtime, self._artifact.manifest, self._device())
        longest = max(len(prompt.encode()) for prompt in prompts)  # no tokenizer makes more tokens than bytes
        task = TrialTask(
            artifact=str(self._artifact.path),
            runtime=self._runtime.name,
            device=self._device(),
            context=self._context or longest + decoding.max_new_tokens + SPARE_TOKENS,
            threads=self._threads,
            prompts=list(prompts),
            stop=list(decoding.stop),
            max_new_tokens=decoding.max_new_tokens,
            beams=decoding.beams,
        )
        result = run_trial(task, lambda done, total: listener.advance("questions", done, total))
        for note in result.notes:
            listener.note(note)
        for place, text in enumerate(result.answers):
            if result.unasked and result.unasked[place]:
                tell(place, Failure(result.unasked[place], refused=True))
                continue
            tokens = tuple(result.tokens[place]) if result.tokens else ()
            written = result.new_tokens[place]
            tell(place, Generation(text, 0, written, written < decoding.max_new_tokens, tokens))

    def _device(self) -> str:
        best = self._machine.best_device
        return best if best in self._runtime.devices else "cpu"

"""One model as each recipe would serve it: file sizes and memory, computed once however many profiles are asked about.

A size depends on the format and its options, memory on the engine and the backend; neither depends on the profile. So a
plan for all profiles computes 24 sizes and some 40 memory models, and then only compares numbers.

Example::

    served = Served(peek_checkpoint("defog/sqlcoder"), new_tokens=100)
    served.memory(recipe, "cuda").peak(context=8192, batch=1, beams=4)
"""

from __future__ import annotations

from workbench.catalog import get_format, get_runtime
from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.formats.base import Format, Options
from workbench.hardware import HardwareProfile
from workbench.memory import MemoryModel, memory_model, weigh
from workbench.memory_facts import FALLBACK_MEMORY, MemoryFacts
from workbench.recipe import Recipe
from workbench.shape import model_shape


class Served:
    """A model's sizes and memory by recipe.

    Args:
        checkpoint: opened, its weights unread.
        new_tokens: of an answer, which the beams of a search do not share.
    """

    def __init__(self, checkpoint: Checkpoint, new_tokens: int) -> None:
        self.checkpoint = checkpoint
        self.shape = model_shape(checkpoint.config)
        self._weights = weigh(checkpoint)
        self._new_tokens = new_tokens
        self._sizes: dict[str, int | WorkbenchError] = {}
        self._models: dict[tuple[str, str], MemoryModel] = {}

    def obstacle(self, recipe: Recipe, profile: HardwareProfile) -> str | None:
        """Why a recipe does not suit a profile or this model at all, or ``None``."""
        if profile.backend not in recipe.backends:
            return f"made for {' and '.join(recipe.backends)}; {profile.name} is {profile.backend}"
        weights = get_format(recipe.format)
        if self.checkpoint.architecture not in weights.architectures:
            return f"{weights.name} does not know the architecture {self.checkpoint.architecture}"
        size = self._size(recipe)
        return str(size) if isinstance(size, WorkbenchError) else None

    def file_bytes(self, recipe: Recipe) -> int:
        """Bytes of the artifact's weight files.

        Raises:
            WorkbenchError: the format cannot hold this model; the message says why.
        """
        size = self._size(recipe)
        if isinstance(size, WorkbenchError):
            raise size
        return size

    def memory(self, recipe: Recipe, backend: str) -> MemoryModel:
        """Memory of the artifact in its engine on a backend; raises as ``file_bytes`` does."""
        key = (recipe.name, backend)
        if key not in self._models:
            facts = memory_facts(recipe.runtime, backend)
            size = self.file_bytes(recipe)
            self._models[key] = memory_model(self._weights, recipe, size, facts, self._new_tokens)
        return self._models[key]

    def _size(self, recipe: Recipe) -> int | WorkbenchError:
        if recipe.name not in self._sizes:
            weights, options = format_of(recipe)
            try:
                self._sizes[recipe.name] = weights.predicted_bytes(self.checkpoint, options)
            except WorkbenchError as error:
                self._sizes[recipe.name] = error
        return self._sizes[recipe.name]


def format_of(recipe: Recipe) -> tuple[Format[Options], Options]:
    """A recipe's format and its typed options."""
    weights = get_format(recipe.format)
    return weights, weights.options_model.model_validate(recipe.options)


def memory_facts(runtime: str, backend: str) -> MemoryFacts:
    """What an engine holds in memory on a backend; a middling engine's where it states nothing."""
    return get_runtime(runtime).memory.get(backend, FALLBACK_MEMORY)

"""The reference's next-token distributions on disk, and an engine's held against them, text after text.

The distributions are large (64 questions of StarCoder's 49,152 words are half a gigabyte), so they never travel between
processes: the reference's are written once, as log-probabilities in a plain ``.npy`` file with one row per compared
token, and each artifact's are compared in its own engine's process as they come.

Rows are float32 while they fit into ``MOST_BYTES``, else float16, whose rounding a row survives well: read back
it is made to sum to 1 again, and what is left of the error acts on the divergence only in proportion to the divergence
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.forced_texts import ForcedText
from workbench.runtimes.base import Reading, Session
from workbench.storage import storage_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.evals.divergence import TokenFigures

MOST_BYTES = 512 << 20


def most_rows(vocabulary: int) -> int:
    """Rows of this many words that the file may hold."""
    return MOST_BYTES // (2 * vocabulary)


@dataclass(frozen=True)
class Comparison:
    """What an engine's process is to compare.

    Attributes:
        texts: what is read.
        rows: file of the reference's rows, in the order of the texts.
        write: whether this artifact is the reference, and writes the file.
    """

    texts: list[ForcedText]
    rows: str
    write: bool = False


def comparison_of(record: dict[str, Any]) -> Comparison:
    """A comparison from JSON values, as ``asdict`` makes them."""
    return Comparison([ForcedText(**text) for text in record["texts"]], record["rows"], record["write"])


def compare(
    session: Session, comparison: Comparison, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Figures of a loaded artifact, as JSON values of ``evals.divergence.Figures``.

    By part of the questions: ``answers``, ``prompts``, and ``answers/NAME`` of each question set. Nobody asks a model
    to foresee a question, so prompts have no perplexity, and engines need not tell how improbable one was.

    Raises:
        WorkbenchError: the engine refuses a text, computes no numbers, or the file cannot be read or written.
    """
    from workbench.evals.divergence import summarize

    texts = comparison.texts
    found = session.logits_at([Reading(text.tokens, text.first, text.part == "answers") for text in texts])
    pairs = write_rows(Path(comparison.rows), texts, found) if comparison.write else _read(comparison, found)
    figures: dict[str, list[TokenFigures]] = {}
    sets: dict[str, list[str]] = {}
    for place, one in enumerate(pairs):  # to its end, where the file gets its name
        for name in _parts(texts[place]):
            figures.setdefault(name, []).append(one)
            sets.setdefault(name, []).append(texts[place].question_set)
        if progress:
            progress(place + 1, len(texts))
    return {name: asdict(summarize(figures[name], sets[name], name != "prompts")) for name in sorted(figures)}


def _parts(text: ForcedText) -> list[str]:
    """Under which names a text counts: its part, and an answer under its question set too."""
    return [text.part, *([f"answers/{text.question_set}"] if text.part == "answers" else [])]


def write_rows(
    path: Path, texts: Sequence[ForcedText], logits: Iterable[NDArray[np.float32]]
) -> Iterator[TokenFigures]:
    """Write the reference's rows; the file appears whole, when all is used up.

    Args:
        path: of the file.
        texts: what the rows tell of.
        logits: ``[tokens, vocabulary]`` of each text.

    Yields:
        Each text's figures beside what was stored of it: 0 but for the storage's rounding.

    Raises:
        StorageError: the disk refuses.
    """
    import numpy as np

    from workbench.evals.divergence import compare_rows, log_softmax

    partial = path.with_name(f".{path.name}.new")
    count = sum(len(text.compared) for text in texts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for text, rows in zip(texts, logits, strict=True):
                if not file.tell():
                    kind = np.dtype("<f4" if 4 * count * rows.shape[1] <= MOST_BYTES else "<f2")
                    header = {"descr": kind.str, "fortran_order": False, "shape": (count, rows.shape[1])}
                    np.lib.format.write_array_header_1_0(file, header)
                stored = log_softmax(rows.astype(np.float64)).astype(kind)
                file.write(stored.tobytes())
                yield compare_rows(stored, rows, text.compared)
        partial.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _read(comparison: Comparison, found: Iterable[NDArray[np.float32]]) -> Iterator[TokenFigures]:
    """Figures of each text, with the reference's rows read as they are needed."""
    import numpy as np

    from workbench.evals.divergence import compare_rows

    try:
        reference = np.load(comparison.rows, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"{comparison.rows} cannot be read ({error}); build with --again") from error
    start = 0
    for text, rows in zip(comparison.texts, found, strict=True):
        end = start + len(text.compared)
        yield compare_rows(reference[start:end], rows, text.compared)
        start = end

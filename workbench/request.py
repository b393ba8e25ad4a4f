"""What a user asks of a build or a conversion, and the questions it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.nano import DATA_DIR, MODEL_NAME
from workbench.questions import QuestionSet, load_question_set

BUNDLED = ("heldout", "unseen")


@dataclass(frozen=True)
class BuildRequest:
    """What the user asked for.

    Attributes:
        profile: name, ``name:GIB`` or path.
        recipes: names or paths; empty means all shipped.
        model: folder, Hub id, or the bundled model.
        revision: of a Hub id.
        prompt: name of the prompt the model was trained on; ``None`` lets the model's name tell.
        out: store: artifacts, reports and the local tracking database.
        context: tokens to plan for; default the model's limit.
        questions: CSV files, folders or names of bundled sets; empty means the bundled sets.
        databases: folder to look for their databases in first; ``None`` looks beside them only.
        reference: predictions files of the 16-bit reference from elsewhere; empty compares with the one built here.
        limit: at most so many questions of each set, evenly spread; ``None`` all.
        beams: of the search for each answer; 1 is greedy, 4 as SQLCoder's authors evaluated it.
        database_url: PostgreSQL server to score on; ``None`` starts an embedded one.
        tracking_uri: MLflow; ``None`` means the environment's, then a local store.
        log_weights: upload weights to the tracker, not only their digests.
        threads: CPU threads; 0 means all cores.
        again: run and score everything anew, though nothing has changed.
        divergence: questions over which next-token distributions are compared with the reference's; 0 compares none.
        calibration: where the texts to fit weights to are from, as ``--calibration`` takes it; ``None`` means bundled.
        calibration_memory: GiB of memory for the states of these texts, above which they are files; ``None`` means 2.
    """

    profile: str
    recipes: tuple[str, ...] = ()
    model: str = MODEL_NAME
    revision: str | None = None
    prompt: str | None = None
    out: Path = Path("artifacts")
    context: int | None = None
    questions: tuple[Path, ...] = ()
    databases: Path | None = None
    reference: tuple[Path, ...] = ()
    limit: int | None = None
    beams: int = 1
    database_url: str | None = None
    tracking_uri: str | None = None
    log_weights: bool = False
    threads: int = 0
    again: bool = False
    divergence: int = 64
    calibration: str | None = None
    calibration_memory: float | None = None


@dataclass(frozen=True)
class ConvertRequest:
    """What the user asked to be converted.

    Attributes:
        recipe: name or YAML file.
        out: folder the artifact will be.
        model: folder, Hub id, or the bundled model.
        revision: of a Hub id.
        prompt: name of the prompt the model was trained on; ``None`` lets the model's name tell.
        threads: 0 means one per processor.
        check: run the artifact in its engine and compare it with its source.
        calibration: where the texts to fit weights to are from, as ``--calibration`` takes it; ``None`` means bundled.
        calibration_memory: GiB of memory for the states of these texts, above which they are files; ``None`` means 2.
    """

    recipe: str
    out: Path
    model: str = MODEL_NAME
    revision: str | None = None
    prompt: str | None = None
    threads: int = 0
    check: bool = False
    calibration: str | None = None
    calibration_memory: float | None = None


def question_sets(
    files: Sequence[Path] = (), limit: int | None = None, databases: Path | None = None
) -> list[QuestionSet]:
    """The question sets to score on: the user's, or the bundled two.

    Args:
        files: CSV files in sql-eval's format, folders of one's own, or names out of ``BUNDLED``.
        limit: at most so many questions of each set, evenly spread; ``None`` all.
        databases: folder to look for databases in before those beside each file.

    Raises:
        EvaluationError: a file or ``databases`` is not there.
        ConfigError: a file has faults.
    """
    return [load_question_set(_locate(file), databases).thinned(limit) for file in files or map(Path, BUNDLED)]


def _locate(file: Path) -> Path:
    """A bundled set by its name, unless there is a file or folder so called."""
    return DATA_DIR / f"{file}.csv" if str(file) in BUNDLED and not file.exists() else file

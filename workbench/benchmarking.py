"""``workbench benchmark``: time artifacts, keep the result, hold it against an earlier one.

outcome = benchmark(BenchmarkRequest((Path("artifacts/sqlcoder-nano/fp16"),)), listener)
print(outcome.file, summary(outcome.between))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from workbench.artifact import open_artifact
from workbench.benchmark import BenchmarkOptions, measure
from workbench.benchmark_compare import Compared, caveats, compare_artifacts, compare_with
from workbench.benchmark_file import kept_path, read_benchmark, write_benchmark
from workbench.benchmark_result import BenchmarkResult
from workbench.errors import WorkbenchError
from workbench.measure import Score
from workbench.progress import SILENT, Listener
from workbench.report import MAIN_SCORE
from workbench.right_answers import RightShare, known_share
from workbench.storage import check_writable


@dataclass(frozen=True)
class BenchmarkRequest:
    """What the user asked for.

    Attributes:
        artifacts: folders.
        options: what is timed and how often.
        against: file of an earlier run.
        json_file: to write the result to, besides the store.
        store: where results are kept.
        questions: to ask the artifacts for their accuracy; none means what reports beside them say.
        database_url: PostgreSQL to score on; ``None`` starts an embedded one.
    """

    artifacts: tuple[Path, ...]
    options: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    against: Path | None = None
    json_file: Path | None = None
    store: Path = Path("artifacts")
    questions: tuple[Path, ...] = ()
    database_url: str | None = None


@dataclass(frozen=True)
class BenchmarkOutcome:
    """A finished benchmark.

    Attributes:
        result: every figure.
        between: the artifacts beside the first.
        with_earlier: each beside itself in the earlier run.
        caveats: of that comparison.
        file: that keeps the result.
    """

    result: BenchmarkResult
    between: tuple[Compared, ...]
    with_earlier: tuple[Compared, ...]
    caveats: tuple[str, ...]
    file: Path


def benchmark(request: BenchmarkRequest, listener: Listener = SILENT) -> BenchmarkOutcome:
    """Time artifacts, keep the result and compare it.

    Raises:
        WorkbenchError: what ``measure`` raises; or a file that cannot be read or written, before anything is timed.
    """
    earlier = read_benchmark(request.against) if request.against else None
    for folder in {request.store, *([request.json_file.parent] if request.json_file else [])}:
        check_writable(folder)
    if request.json_file and request.json_file.is_dir():
        raise WorkbenchError(f"{request.json_file} is a folder; give --json the name of a file in it")
    listener.step(f"Time {', '.join(str(path) for path in request.artifacts)}")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    result = replace(measure(request.artifacts, request.options, listener), started=started)
    result = _with_shares(result, _shares(request, listener))
    file = kept_path(result, request.store)
    for path in filter(None, (file, request.json_file)):
        write_benchmark(result, path)
    return BenchmarkOutcome(
        result,
        tuple(compare_artifacts(result)),
        tuple(compare_with(result, earlier)) if earlier else (),
        tuple(caveats(result, earlier)) if earlier else (),
        request.json_file or file,
    )


def _shares(request: BenchmarkRequest, listener: Listener) -> list[RightShare | None]:
    """How often each artifact is right: asked now, or as reports beside it say."""
    if not request.questions:
        return [known_share(open_artifact(path)) for path in request.artifacts]
    return [_asked(path, request, listener) for path in request.artifacts]


def _asked(path: Path, request: BenchmarkRequest, listener: Listener) -> RightShare:
    from workbench.evaluate import EvaluateRequest, evaluate

    listener.step(f"Ask {path} for its accuracy")
    wanted = EvaluateRequest(path, questions=request.questions, database_url=request.database_url)
    scored = evaluate(wanted, listener).evaluation.sets[0]
    overall = next(score for score in scored["scores"] if score["name"] == MAIN_SCORE)
    return RightShare(Score(MAIN_SCORE, overall["correct"], overall["total"]), scored["question_set"], "asked now")


def _with_shares(result: BenchmarkResult, shares: Sequence[RightShare | None]) -> BenchmarkResult:
    known = tuple(replace(one, right=share) for one, share in zip(result.artifacts, shares, strict=True))
    return replace(result, artifacts=known)

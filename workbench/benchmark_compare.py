"""Which differences a benchmark shows: between its artifacts, and from an earlier run.

Every figure that a user would choose by is compared, and all of them together are corrected for being many
(``workbench/noise.py``): of 100 tables that compare equal things at most one calls any difference. In one run the
artifacts take turns, so their processes are compared in pairs, each with the first artifact's. An earlier run is
compared artifact by artifact, by name; what its machine was faster or slower by, the yardsticks tell, is allowed for.

    compared = compare_with(result, read_benchmark(Path("before.json")))
    [one.text for one in compared if one.difference.called]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.benchmark_result import ArtifactTimes, BenchmarkResult, Figure
from workbench.noise import FAMILY_ERROR, Difference, compare_paired, compare_runs, holm
from workbench.yardstick import allowance

# Of a workload, then of the whole process. The prefill rate is the time to first token told otherwise.
OF_WORKLOAD = ("ttft_s", "decode_tokens_per_s", "question_s", "energy_j")
OF_PROCESS = ("load_s", "peak_memory_bytes")


@dataclass(frozen=True)
class Compared:
    """One figure beside another.

    Attributes:
        artifact: whose.
        other: the other artifact, or the same one in the earlier run.
        workload: title; empty for the whole process.
        name: of the figure.
        difference: of the first from the second.
    """

    artifact: str
    other: str
    workload: str
    name: str
    difference: Difference

    @property
    def text(self) -> str:
        """``1.12 x [1.05, 1.20]`` where there is a difference, else how small it would have to be to be missed."""
        one = self.difference
        if not one.called:
            return f"no difference told (noise {noise_text(one.floor)})"
        low, high = one.interval
        return f"{one.ratio:.3g} x [{low:.3g}, {high:.3g}]"


def compare_artifacts(result: BenchmarkResult) -> list[Compared]:
    """Each artifact of a run beside its first."""
    first, *others = result.artifacts
    pairs = [(one, first, place + 2) for place, one in enumerate(others)]
    named = [(replace(one, name=_distinct(one, first, place)), other) for one, other, place in pairs]
    return _compare(named, 0.0, in_turn=True)


def compare_with(result: BenchmarkResult, earlier: BenchmarkResult) -> list[Compared]:
    """Each artifact beside the one of the same name in an earlier run; none where none is of that name."""
    before = {key: one for key, one in _by_name(earlier.artifacts)}
    pairs = [
        (one, replace(before[key], name=f"{one.name} before"))
        for key, one in _by_name(result.artifacts)
        if key in before
    ]
    return _compare(pairs, allowance(result.yardsticks, earlier.yardsticks), in_turn=False)


def caveats(result: BenchmarkResult, earlier: BenchmarkResult) -> list[str]:
    """What a reader of a comparison with an earlier run must know."""
    told = []
    if result.machine != earlier.machine:
        told.append(f"the earlier run was on another machine: {earlier.machine}")
    if result.threads != earlier.threads:
        told.append(f"the earlier run used {earlier.threads} threads, this one {result.threads}")
    moved = allowance(result.yardsticks, earlier.yardsticks)
    told.append(f"the machine's own speed moved by {moved:.1%} between the runs, which is allowed for")
    before = {key: one for key, one in _by_name(earlier.artifacts)}
    for key, one in _by_name(result.artifacts):
        if key not in before:
            told.append(f"{one.name} was not in the earlier run")
        elif before[key].build_key != one.build_key:
            told.append(f"{one.name} is not made of the same source, recipe and tools as in the earlier run")
        elif before[key].runtime != one.runtime:
            told.append(f"{one.name} ran in {before[key].runtime} then and in {one.runtime} now")
    return told


def noise_text(share: float) -> str:
    """``2.4%``; above the whole, which no decimals make clearer, ``over 100%``."""
    return f"{share:.1%}" if share <= 1 else "over 100%"


def summary(compared: Sequence[Compared]) -> str:
    """One sentence: how many differences, and how sure that is."""
    called = sum(one.difference.called for one in compared)
    what = "no difference" if not called else f"{called} {'difference' if called == 1 else 'differences'}"
    return (
        f"{what} beyond the noise in {len(compared)} comparisons; of 100 such tables of equal things at most "
        f"{FAMILY_ERROR * 100:.0f} would call any" + (", in brackets 99% intervals" if called else "")
    )


def _distinct(one: ArtifactTimes, other: ArtifactTimes, place: int) -> str:
    """A name that tells it from the other, of the same artifact twice, too."""
    return one.name if one.name != other.name else f"{one.name} ({place})"


def _by_name(artifacts: Sequence[ArtifactTimes]) -> list[tuple[tuple[str, str, int], ArtifactTimes]]:
    """Each with its name and device, and which of several so named it is."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for one in artifacts:
        key = (one.name, one.device)
        seen[key] = seen.get(key, 0) + 1
        found.append(((*key, seen[key]), one))
    return found


def _compare(pairs: Sequence[tuple[ArtifactTimes, ArtifactTimes]], moved: float, in_turn: bool) -> list[Compared]:
    rows = [(one, other, *figures) for one, other in pairs for figures in _common(one, other)]
    compared = []
    for one, other, first, second in rows:
        if in_turn and len(first.logs) == len(second.logs):
            difference = compare_paired(first.logs, second.logs)
        else:
            # Memory does not grow or shrink with the speed of the machine.
            allowed = 0.0 if first.unit == "bytes" else moved
            difference = compare_runs(first.logs, second.logs, allowed)
        compared.append(Compared(one.name, other.name, first.workload, first.name, difference))
    verdicts = holm([one.difference for one in compared])
    return [replace(one, difference=verdict) for one, verdict in zip(compared, verdicts, strict=True)]


def _common(one: ArtifactTimes, other: ArtifactTimes) -> list[tuple[Figure, Figure]]:
    """Figures to compare that both have a series of."""
    wanted = [(workload.title, name) for workload in one.workloads for name in OF_WORKLOAD]
    wanted += [("", name) for name in OF_PROCESS]
    found = [(one.figure(*key), other.figure(*key)) for key in wanted]
    return [(first, second) for first, second in found if first and second and first.logs and second.logs]

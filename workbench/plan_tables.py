"""A plan for people: the sentence that answers first, then a table.

Speeds are shown as intervals (``12-17/s``), for that is what is known; sizes with two digits after a ``~``. For one
profile every recipe that suits it has a row; for several profiles the recipes that a build makes by default.

Example::

    print(answer(plan)); listener.table(plan_table(plan), PLAN_LEGEND)
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.measure import Measurement
from workbench.nearest import profile_label
from workbench.planned import Plan, PlannedArtifact
from workbench.sizes import size_text, told_apart
from workbench.tables import DASH, Table

PLAN_LEGEND = (
    "All figures are predicted, not measured; a range such as 12-17 holds nine of ten true values. "
    "Decode in tokens a second. * = built by default; - = not known."
)


def answer(plan: Plan) -> str:
    """What to use on a profile, in one sentence."""
    here, best = profile_label(plan.profile), plan.best
    if best is None:
        return f"On {here}: nothing fits at {_asked(plan)}{_way_out(plan)}."
    need, usable = best.predicted("peak_memory_bytes") or 0, plan.profile.usable_bytes
    tight = " (tight)" if best.verdict == "tight" else ""
    share = f"{' of '.join(told_apart(need, usable))} usable GiB{tight}"
    return (
        f"On {here}: {best.recipe.name} takes {share} at {_asked(plan)}{_speed_clause(plan, best)}"
        f"{_quickest_clause(plan, best)} (predicted)."
    )


def _way_out(plan: Plan) -> str:
    """What fits instead, for the recipe that misses by least."""
    near = [row for row in plan.rows if row.nearest]
    closest = min(near, key=lambda row: row.predicted("peak_memory_bytes") or 0, default=None)
    return f"; nearest for {closest.recipe.name}: {closest.nearest.sentence}" if closest and closest.nearest else ""


def _speed_clause(plan: Plan, row: PlannedArtifact) -> str:
    question = row.prediction("question_s")
    if question is None:
        return ""
    work = plan.workload
    beams = f" with {work.beams} beams" if work.beams > 1 else ""
    engine = f" in {row.recipe.runtime} {row.generations[0].name}".rstrip() if row.generations else ""
    asked = f"{work.prompt_tokens:,} tokens with {work.new_tokens} new ones"
    return f" and answers {asked}{beams} in {_seconds(question)}{engine}"


def _quickest_clause(plan: Plan, best: PlannedArtifact) -> str:
    """What answers soonest of what fits and is built by default, if that is another one."""
    timed = [row for row in plan.rows if row.fits and row.recipe.default and row.predicted("question_s") is not None]
    quickest = min(timed, key=lambda row: row.predicted("question_s") or 0.0, default=best)
    if quickest is best:
        return ""
    return f"; quickest is {quickest.recipe.name}, {_seconds(quickest.prediction('question_s'))}"


def _asked(plan: Plan) -> str:
    batch = f" and batch {plan.workload.batch}" if plan.workload.batch > 1 else ""
    return f"{plan.context:,} tokens{batch}"


def plan_table(plan: Plan) -> Table:
    """One row per recipe that suits the profile: memory, limits, speed and the cost of making it."""
    header = ("recipe", "verdict", "file", "memory", "context", "batch", "first token", "decode", "question", "making")
    return Table(header, tuple((_name(row), *_cells(row), _making(row)) for row in _suitable(plan)))


def plans_table(plans: Sequence[Plan], defaults: bool) -> Table:
    """One row per profile and recipe that suits it.

    Args:
        plans: of one model.
        defaults: whether to leave out the recipes that are not built by default.
    """
    header = ("profile", "recipe", "verdict", "file", "memory", "context", "batch", "first token", "decode", "question")
    rows = []
    for plan in plans:
        label = profile_label(plan.profile)
        for row in _suitable(plan):
            if row.recipe.default or not defaults:
                rows.append((label, row.recipe.name, *_cells(row)))
                label = ""
    return Table(header, tuple(rows))


def short_table(plan: Plan) -> Table:
    """What a build will make, and why not the rest."""
    header = ("recipe", "build", "file", "memory", "decode", "why")
    rows = [
        (
            row.recipe.name,
            "yes" if row.build else "no",
            _size(row, "weight_bytes"),
            _size(row, "peak_memory_bytes"),
            _rate(row.prediction("decode_tokens_per_s")),
            row.reason + (f"; nearest: {row.nearest.sentence}" if row.nearest else ""),
        )
        for row in plan.rows
    ]
    return Table(header, tuple(rows))


def left_out(plan: Plan) -> str:
    """The recipes that do not suit a profile, in one line; empty where all do."""
    reasons: dict[str, list[str]] = {}
    for row in plan.rows:
        if row.verdict == "unsuitable":
            reasons.setdefault(row.reason, []).append(row.recipe.name)
    told = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return f"Unsuitable: {'; '.join(told)}." if told else ""


def obstacles(plan: Plan) -> list[str]:
    """What stands in the way of making what fits here: disk, memory, a library; one sentence each, with the recipes."""
    reasons: dict[str, list[str]] = {}
    for row in plan.rows:
        cost = row.build_cost
        for reason in {cost.obstacle if cost else None, row.reason if row.fits and not row.build else None} - {None}:
            reasons.setdefault(str(reason), []).append(row.recipe.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _suitable(plan: Plan) -> list[PlannedArtifact]:
    return [row for row in plan.rows if row.verdict != "unsuitable"]


def _name(row: PlannedArtifact) -> str:
    return f"{row.recipe.name} *" if row.recipe.default else row.recipe.name


def _cells(row: PlannedArtifact) -> tuple[str, ...]:
    """Verdict, sizes, limits and speeds."""
    return (
        _verdict_text(row),
        _size(row, "weight_bytes"),
        _size(row, "peak_memory_bytes"),
        _limit(row.largest_context),
        _limit(row.largest_batch),
        _seconds(row.prediction("ttft_s")),
        _rate(row.prediction("decode_tokens_per_s")),
        _seconds(row.prediction("question_s")),
    )


def _verdict_text(row: PlannedArtifact) -> str:
    if row.verdict != "does not fit":
        return row.verdict
    return f"no; {row.nearest.sentence}" if row.nearest else "no, and nothing near does"


def _size(row: PlannedArtifact, name: str) -> str:
    value = row.predicted(name)
    exact = name == "weight_bytes" and row.exact
    return DASH if value is None else ("" if exact else "~") + size_text(value)


def _limit(value: int | None) -> str:
    return DASH if not value else f"{value:,}"


def _making(row: PlannedArtifact) -> str:
    """Time, memory and disk of a conversion here."""
    cost = row.build_cost
    if cost is None:
        return DASH
    return f"{_span(cost.seconds)}, {size_text(cost.peak_ram_bytes)}, {size_text(cost.disk_bytes)} disk"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"~{seconds:.0f} s"
    return f"~{seconds / 60:.0f} min" if seconds < 6000 else f"~{seconds / 3600:.1f} h"


def _seconds(measurement: Measurement | None) -> str:
    """``2.1-3.4 s``, in milliseconds below one."""
    if measurement is None or measurement.value is None:
        return DASH
    scale, unit = (1000.0, " ms") if measurement.value < 1 else (1.0, " s")
    return _between(measurement, scale) + unit


def _rate(measurement: Measurement | None) -> str:
    return DASH if measurement is None or measurement.value is None else _between(measurement, 1.0) + "/s"


def _between(measurement: Measurement, scale: float) -> str:
    """The interval with two digits, or the value with a ``~`` where none is known."""
    if measurement.interval is None:
        return "~" + _digits((measurement.value or 0.0) * scale)
    low, high = (_digits(bound * scale) for bound in measurement.interval)
    return low if low == high else f"{low}-{high}"


def _digits(value: float) -> str:
    """Two significant digits, without an exponent."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"

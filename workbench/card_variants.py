"""The variants of one model side by side, for the card of a repository that several packages share.

Each row is a file with its size, accuracy, flips and speed. Speeds are only held against each other where they were
found in the same place: the profile that most of the packages tell of is taken, one that was measured before one that
was predicted. Which to choose is the recommendation of a build among the very artifacts of that build, repeated here;
without one the reader is told what speaks for which.

    which_to_choose(facts)  # "`gguf-q4_k_m` on profile `cpu`: 100.0% of 336 questions right ..."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workbench.card_facts import Facts
from workbench.card_markdown import Markdown, code, inline
from workbench.card_records import ReportFacts, SetFacts
from workbench.card_results import figure_text, scorings
from workbench.measure import Measurement
from workbench.sizes import size_text
from workbench.tables import DASH, Table, score_text, two_digits

_SPEEDS = {"peak_memory_bytes": "memory", "question_s": "a question", "decode_tokens_per_s": "decode"}


def shared_profile(facts: Sequence[Facts]) -> str | None:
    """The profile that most packages tell of, measured before predicted; ``None`` where none tells of any."""
    told = Counter((report.profile, report.profile_is_here) for one in facts for report in one.reports)
    return max(told, key=lambda key: (told[key], key[1], key[0]))[0] if told else None


def variant_table(facts: Sequence[Facts]) -> Table:
    """One row per package; ``~`` before what is predicted, a dash where nothing is known."""
    profile = shared_profile(facts)
    names = list(dict.fromkeys(name for one in facts for name in _first_sets(one)))
    header = ("file", "recipe", "bits a weight", "size", *(f"right ({name})" for name in names), "lost, gained")
    speeds = tuple(f"{what} ({profile})" for what in _SPEEDS.values()) if profile else ()
    rows = tuple(_row(one, names, profile) for one in facts)
    return Table((*header, "gate", *speeds), rows)


def _row(facts: Facts, names: Sequence[str], profile: str | None) -> tuple[str, ...]:
    sets = _first_sets(facts)
    main = next((one.flips for one in sets.values() if one.flips), None)
    report = next((one for one in facts.reports if one.profile == profile), None)
    return (
        Markdown(", ".join(code(name) for name in facts.weight_files)) or DASH,
        code(facts.name),
        f"{facts.bits_per_weight:.2f}",
        size_text(facts.weight_bytes),
        *(_share(sets.get(name)) for name in names),
        f"-{main.right_to_wrong} +{main.wrong_to_right}" if main else DASH,
        Markdown("**REFUTED**") if facts.refuted else (facts.gate.verdict or DASH),
        *(_speed(report, figure) for figure in (_SPEEDS if profile else ())),
    )


def _first_sets(facts: Facts) -> dict[str, SetFacts]:
    found: dict[str, SetFacts] = {}
    for scoring in scorings(facts):
        for one in scoring.sets:
            found.setdefault(one.question_set, one)
    return found


def _share(one: SetFacts | None) -> str:
    return score_text(one.overall) if one and one.overall else DASH


def _speed(report: ReportFacts | None, name: str) -> str:
    own = (*report.artifact.measurements, *report.artifact.predictions) if report else ()
    found: Measurement | None = next((one for one in own if one.name == name and one.value is not None), None)
    if found is None or found.value is None:
        return DASH
    if found.kind == "predicted":
        return Markdown(f"~{inline(figure_text(found, two_digits(found.value)))}")
    return figure_text(found, found.value)


def which_to_choose(facts: Sequence[Facts]) -> list[Markdown]:
    """A sentence for each profile that a build recommended one of the packages for."""
    return [
        Markdown(f"On profile {code(report.profile)}: {code(one.name)}, {inline(report.reason)}.")
        for one in facts
        for report in one.reports
        if report.recommended and not one.refuted
    ]

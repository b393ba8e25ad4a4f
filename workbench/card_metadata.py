"""What the Hub reads of a package: the card's front matter with its ``model-index``, and ``.eval_results/*.yaml``.

The front matter is the Hub's index: licence, base model, task, library, tags (huggingface.co/docs/hub/model-cards).
Decisions the documentation leaves open:

* ``base_model_relation`` is ``quantized`` for every package, float16 copies included. The Hub knows finetune, adapter,
  merge and quantized; nothing is trained, adapted or merged here, and where nothing is said the Hub takes a copy for a
  fine-tune. The recipe in the card says how many bits there are.
* ``base_model`` names the source's repository on the Hub, for a folder that of the family's model whose name it bears.
  The bundled model has none: ``sqlcoder-workbench/sqlcoder-nano`` is a name and no claim, and the card says so. For a
  stranger's folder it is left out, and the relation with it.
* Results are self-reported: no ``verified``, no token, no evaluation framework, which are the Hub's to give.
* An entry of ``.eval_results`` must name a data set of the Hub. Question sets of the workbench and of its users are not
  there, so ``dataset.id`` is ``sqlcoder-workbench/<set>``, a name and no claim: the file says so, and ``notes`` holds
  the sha256 of the very questions and databases, the counts and the interval.

Values are percentages, as on the Hub's leaderboards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.artifact import sha256_json
from workbench.card_facts import Facts, Licence
from workbench.card_records import QuestionSetFacts
from workbench.card_results import Scoring, scorings
from workbench.hub_layout import HUB_ID
from workbench.measure import Score
from workbench.nano import MODEL_NAME
from workbench.package_files import EVAL_RESULTS, check_name
from workbench.report import MAIN_SCORE

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

WORKBENCH = "sqlcoder-workbench"
TASK = "text-generation"
TASK_ID = "sql_accuracy"  # of an entry of ``.eval_results``
# By format: what the Hub calls the library or, where it is a file format, the format itself.
LIBRARIES = {"gguf": "gguf", "mlx": "mlx", "onnx": "onnx"}
_TAGS = {
    "gguf": ("gguf", "llama.cpp"),
    "gptq": ("gptq", "safetensors"),
    "int8": ("torchao", "8-bit", "safetensors"),
    "fp16": ("safetensors",),
    "mlx": ("mlx", "safetensors"),
    "onnx": ("onnx", "onnxruntime"),
}
# Of huggingface.co/docs/hub/repositories-licenses those that weights are published under.
HUB_LICENCES = frozenset({
    "apache-2.0", "mit", "openrail", "openrail++", "bigscience-openrail-m", "bigscience-bloom-rail-1.0",
    "creativeml-openrail-m", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd-2-clause", "bsd-3-clause",
    "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-permissive-2.0", "epl-2.0",
    "agpl-3.0", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "mpl-2.0", "odc-by", "unlicense", "wtfpl", "zlib",
    "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma",
})  # fmt: skip
_HUB_NAMES = {"llama-2-community": "llama2", "llama-3-community": "llama3"}
_LINK = re.compile(r"https://[\w.-]+(?:/[\w./%?=&#~+-]*)?|LICENSE", re.ASCII)


def front_matter(facts: Sequence[Facts], name: str) -> str:
    """The YAML between the card's two rules, of one package or of several of one model.

    Args:
        facts: of each package, at least one.
        name: of the model index, e.g. the repository's.
    """
    from huggingface_hub import ModelCardData

    first = facts[0]
    base = base_model(first)
    results = [result for one in facts for result in _eval_results(one, several=len(facts) > 1)]
    data = ModelCardData(
        language="en",
        **licence_fields(first.licence),
        library_name=LIBRARIES.get(first.format, "transformers"),
        pipeline_tag=TASK,
        base_model=base,
        base_model_relation="quantized" if base else None,
        quantized_by=(first.package.hub_id or WORKBENCH).split("/")[0],
        tags=_tags(facts),
        metrics=["accuracy"] if results else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def base_model(facts: Facts) -> str | None:
    """The id by which the Hub is told what a package was made from; ``None`` for a stranger's folder."""
    if facts.source.id == MODEL_NAME:
        return f"{WORKBENCH}/{MODEL_NAME}"
    told = facts.source.hub_id or facts.licence.base_model
    return told if told and HUB_ID.fullmatch(told) else None


def licence_fields(licence: Licence) -> dict[str, Any]:
    """``license``, and for one that the Hub does not list its name and link; ``unknown`` where none is recorded.

    Example::

        licence_fields(Licence(spdx="CC-BY-SA-4.0"))  # {"license": "cc-by-sa-4.0"}
    """
    told = (licence.spdx or "").lower().removeprefix("licenseref-")
    known = _HUB_NAMES.get(told, told)
    if known in HUB_LICENCES:
        return {"license": known}
    name = slug(told or (licence.name or "").lower())
    if not name or told == "noassertion":
        return {"license": "unknown"}
    link = licence.link if licence.link and _LINK.fullmatch(licence.link) else "LICENSE"
    return {"license": "other", "license_name": name, "license_link": link}


def slug(text: str) -> str:
    """Letters, digits, ``.``, ``_`` and single ``-`` of a text: fit for a file's name, a tag and a Hub id."""
    return re.sub(r"(?:[^A-Za-z0-9._]|\.{2,})+", "-", text)[:64].strip("-._")


def _tags(facts: Sequence[Facts]) -> list[str]:
    known = ["text-to-sql", "sql", "sqlcoder", *_TAGS.get(facts[0].format, ())]
    own = (slug(tag.lower()) for one in facts for tag in (one.architecture, one.name))
    return list(dict.fromkeys(tag for tag in [*known, *own, WORKBENCH] if tag))


def _eval_results(facts: Facts, several: bool) -> list[EvalResult]:
    """Overall accuracy on each question set, as ``model-index`` wants it; a metric for each way it was asked."""
    from huggingface_hub import EvalResult

    page, told = facts.package.hub_id, scorings(facts)
    return [
        EvalResult(
            task_type=TASK,
            task_name="Text to SQL",
            dataset_type=dataset_id(set_name),
            dataset_name=_dataset_name(scoring.asked(set_name)),
            metric_type="accuracy",
            metric_name=_metric_name(facts if several else None, scoring if len(told) > 1 else None, score),
            metric_value=percent(score.value),
            metric_args={
                "correct": score.correct,
                "questions": score.total,
                "interval_95": [percent(bound) for bound in score.interval],
                "question_set_sha256": scoring.asked(set_name).digest,
                "beams": scoring.report.beams,
                "engine": scoring.report.artifact.runtime,
            },
            source_name="Self-reported, see the card" if page else None,
            source_url=f"https://huggingface.co/{page}" if page else None,
        )
        for scoring in told
        for set_name, score in _overall(scoring)
    ]


def _overall(scoring: Scoring) -> list[tuple[str, Score]]:
    return [(one.question_set, one.overall) for one in scoring.sets if one.overall]


def percent(share: float) -> float:
    """A share in percent, to a hundredth."""
    return round(100 * share, 2)


def dataset_id(question_set: str) -> str:
    """How a question set is called where the Hub wants a data set's id, see above; other names have other ids."""
    name = slug(question_set)
    if not name or name != question_set or name.endswith(".git"):
        name = f"{name}-{_mark(question_set)}".lstrip("-")
    return f"{WORKBENCH}/{name}"


def _mark(text: str) -> str:
    """Tells names apart that look alike once they are slugs."""
    return sha256_json(text)[:8]


def _dataset_name(asked: QuestionSetFacts) -> str:
    kind = "bundled with the SQLCoder workbench" if asked.bundled else "the publisher's own"
    return f"{asked.name} ({kind}, not on the Hub)"


def _metric_name(facts: Facts | None, scoring: Scoring | None, score: Score) -> str:
    """What was counted, and of which package and how it was asked where there are several."""
    what = "Execution accuracy, strict" if score.name == MAIN_SCORE else "Unanswerable questions rightly declined"
    recipe = f", {facts.name}" if facts else ""
    return f"{what}{recipe}{f' ({scoring.conditions()})' if scoring else ''}"


def eval_results_files(facts: Facts) -> dict[str, str]:
    """``.eval_results/<set>.yaml`` for each question set that was asked, by name; none where nothing was."""
    from huggingface_hub import eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # as its own cards are written

    entries: dict[str, list[EvalResultEntry]] = {}
    for scoring in scorings(facts):
        for name, score in _overall(scoring):
            entries.setdefault(name, []).append(_entry(facts, scoring, name, score))
    files: dict[str, str] = {}
    for name, found in entries.items():
        files[_file_name(name, files)] = _HEAD + str(yaml_dump(eval_result_entries_to_yaml(found), sort_keys=False))
    return files


_HEAD = (
    "# Self-reported by whoever made this package, not verified by the Hub. The data set's id is the name that the\n"
    "# workbench gives the question set: no such data set is on the Hub, and no leaderboard. The notes say which\n"
    "# questions were asked (sha256), how many, and how sure the figure is.\n"
)


def _entry(facts: Facts, scoring: Scoring, set_name: str, score: Score) -> EvalResultEntry:
    from huggingface_hub import EvalResultEntry

    page = facts.package.hub_id
    return EvalResultEntry(
        dataset_id=dataset_id(set_name),
        task_id=TASK_ID if score.name == MAIN_SCORE else "refusals",
        value=percent(score.value),
        date=_date(scoring.report.made_at),
        source_url=f"https://huggingface.co/{page}" if page else None,
        source_name="Model card" if page else None,
        notes=_notes(facts, scoring, set_name, score),
    )


def _date(made_at: str) -> str | None:
    """The moment, if it is one as ISO 8601 writes it."""
    return made_at if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", made_at) else None


def _notes(facts: Facts, scoring: Scoring, set_name: str, score: Score) -> str:
    low, high = (percent(bound) for bound in score.interval)
    asked = scoring.asked(set_name)
    what = "questions answered right" if score.name == MAIN_SCORE else "unanswerable questions rightly declined"
    return (
        f"Percentage of {what}: {score.correct} of {score.total}, 95% interval {low} to {high} (Wilson). SQL was run "
        f"on PostgreSQL and its result compared strictly. Recipe {facts.name}; {scoring.conditions()}. Question set "
        f"{_dataset_name(asked)}, sha256 {asked.digest}. Self-reported, not verified."
    )


def _file_name(question_set: str, taken: dict[str, Any]) -> str:
    """A name of its own for a set's file, also on systems where case does not count."""
    plain = slug(question_set).lower()
    name = f"{EVAL_RESULTS}/{plain}.yaml"
    try:
        check_name(name)
    except ValueError:
        plain = ""
    if not plain or name in taken:
        name = f"{EVAL_RESULTS}/{plain or 'set'}-{_mark(question_set)}.yaml"
    return name

"""The look that the local Hub takes at a card's front matter, as far as the Hub's own rules are known.

Sources: huggingface.co/docs/hub/model-cards (fields, relations), docs/hub/repositories-licenses (names of licences),
github.com/huggingface/hub-docs/modelcard.md (model-index). The Hub's validator is not public; it may refuse more.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

LICENCES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-
    permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown
    other
    """.split()  # noqa: SIM905
)
RELATIONS = ("adapter", "merge", "quantized", "finetune")
_BLOCK = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)
_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*|[\w-][\w.-]*")


def front_matter(text: str) -> dict[str, Any]:
    """The front matter's fields; none where there is none or it cannot be read."""
    block = _BLOCK.match(text)
    try:
        found = yaml.safe_load(block[1]) if block else None
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def faults_of(text: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for a card."""
    block = _BLOCK.match(text)
    if not block:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(block[1])
    except yaml.YAMLError as error:
        return [f"YAML metadata is no YAML: {error}".splitlines()[0]], []
    if not isinstance(data, dict):
        return ["YAML metadata must be an object"], []
    errors = [*_licence(data), *_base(data), *_lists(data), *_texts(data), *_index(data.get("model-index"))]
    return errors, [] if data.get("license") else ['"license" is missing']


def _licence(data: dict[str, Any]) -> list[str]:
    wrong = [one for one in _many(data.get("license")) if one not in LICENCES]
    return [f'"license" must be one of [{", ".join(sorted(LICENCES))}], not {one!r}' for one in wrong]


def _base(data: dict[str, Any]) -> list[str]:
    found = [
        f'"base_model" with value {one!r} is not valid. Use a model id from https://hf.co/models.'
        for one in _many(data.get("base_model"))
        if not isinstance(one, str) or not _ID.fullmatch(one)
    ]
    relation = data.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        found.append(f'"base_model_relation" must be one of [{", ".join(RELATIONS)}]')
    return found


def _lists(data: dict[str, Any]) -> list[str]:
    found = []
    for key in ("tags", "datasets", "metrics", "language"):
        values = _many(data.get(key))
        if not all(isinstance(one, str) and one for one in values):
            found.append(f'"{key}" must be strings')
    wrong = [one for one in _many(data.get("language")) if isinstance(one, str) and not re.fullmatch(r"[a-z]{2,3}(-\w+)?|code|multilingual", one)]  # fmt: skip  # noqa: E501
    return found + [f'"language" {one!r} is no ISO 639 code' for one in wrong]


def _texts(data: dict[str, Any]) -> list[str]:
    keys = ("pipeline_tag", "library_name", "quantized_by", "license_name", "license_link")
    return [f'"{key}" must be a string' for key in keys if not isinstance(data.get(key, ""), str)]


def _index(index: Any) -> list[str]:
    """Faults of ``model-index``: name, results with task, dataset and metrics."""
    if index is None:
        return []
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    found = []
    for number, model in enumerate(index):
        at = f"model-index[{number}]"
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            found.append(f'"{at}.name" is required')
            continue
        for place, result in enumerate(model.get("results") or []):
            found += _result(f"{at}.results[{place}]", result)
    return found


def _result(at: str, result: dict[str, Any]) -> list[str]:
    required = {"task": ("type",), "dataset": ("name", "type")}
    found = [
        f'"{at}.{part}.{key}" is required'
        for part, keys in required.items()
        for key in keys
        if not isinstance((result.get(part) or {}).get(key), str)
    ]
    metrics = result.get("metrics")
    if not metrics:
        return [*found, f'"{at}.metrics" is required']
    for number, metric in enumerate(metrics):
        found += [f'"{at}.metrics[{number}].{key}" is required' for key in ("type", "value") if metric.get(key) is None]
    return found


def _many(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]

"""How a package was made, in a model card's words: the source, the recipe's options, calibration, tools, conformance.

What an option means is said once, in the docstring of the format that declares it; a card repeats it beside the value,
so that ``desc_act = true`` tells something to a reader who never ran a quantizer.

    options_table(facts).rows[0]  # ("`bits`", "4", "bits of a weight.")
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import workbench.formats
from workbench import plugins
from workbench.card_facts import Facts
from workbench.card_markdown import Markdown, code, inline, link
from workbench.catalog import get_format
from workbench.nano import MODEL_NAME
from workbench.plain_text import plain
from workbench.sizes import size_text
from workbench.tables import Table

MOST_FILES = 3  # of the weights, in the first table
_OPTION = re.compile(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", re.MULTILINE | re.DOTALL)
_INNER = re.compile(r"\s*\(``_\w+\.py``[^)]*\)")  # where to read on in this repository


def option_meanings(format_name: str) -> dict[str, str]:
    """What each option of a format means, from its declaration; empty for a format that is not here.

    Args:
        format_name: of a manifest, so it may be anything.
    """
    if format_name not in plugins.member_names(workbench.formats):
        return {}
    model = get_format(format_name).options_model
    told = {name: field.description for name, field in model.model_fields.items() if field.description}
    attributes = (inspect.getdoc(model) or "").partition("Attributes:\n")[2]
    written = {name: " ".join(_INNER.sub("", text).split()) for name, text in _OPTION.findall(attributes)}
    return {**told, **written}


def options_table(facts: Facts) -> Table:
    """The recipe's options with their values and what they mean."""
    meanings = option_meanings(facts.format)
    rows = [(code(name), _value(value), _meaning(meanings.get(name, ""))) for name, value in _options(facts).items()]
    return Table(("option", "value", "meaning"), tuple(rows))


def _options(facts: Facts) -> dict[str, Any]:
    """Without those of a calibration that there was none of."""
    unused = () if facts.calibration else ("calibration_samples", "calibration_tokens")
    return {name: value for name, value in sorted(facts.recipe.options.items()) if name not in unused}


def _value(value: Any) -> Markdown:
    if value is None:
        return Markdown("default")
    if isinstance(value, bool):
        return Markdown("yes" if value else "no")
    return code(value)


def _meaning(text: str) -> Markdown:
    """A docstring's words as Markdown: they are this installation's own, so only the pipe of a table is in the way."""
    return Markdown(text.replace("``", "`").replace("|", "\\|"))


def identity_table(facts: Facts) -> Table:
    """What the package is, in figures that are facts of its files."""
    shown = ", ".join(code(name) for name in facts.weight_files[:MOST_FILES]) or "none listed"
    more = len(facts.weight_files) - MOST_FILES
    files = f"{shown} and {more} more" if more > 0 else shown
    rows = [
        ("model", inline(facts.model)),
        ("weights", Markdown(f"{files}: {size_text(facts.weight_bytes)}, {facts.bits_per_weight:.2f} bits a weight")),
        ("parameters", f"{facts.parameters:,}, {facts.architecture}"),
        ("engine", f"{facts.recipe.runtime}, for {', '.join(facts.recipe.backends)}"),
        ("prompt", f"{facts.prompt}: the model only performs with the prompt it was trained on"),
        ("made from", source_text(facts)),
        ("licence", licence_text(facts)),
        ("accuracy gate", gate_text(facts)),
    ]
    return Table(("package", code(facts.name)), tuple(rows))


def source_text(facts: Facts) -> Markdown:
    """The checkpoint: linked where it is on the Hub."""
    source = facts.source
    if source.id == MODEL_NAME:
        return Markdown(f"{code(source.id)}, which comes with the SQLCoder workbench and is not on the Hub")
    if not source.hub_id:
        return code(source.id)
    revision = f" at revision {code(source.revision)}" if source.revision else ""
    return Markdown(f"{link(source.id, f'https://huggingface.co/{source.hub_id}')}{revision}")


def licence_text(facts: Facts) -> Markdown:
    """Name and identifier of the licence, linked to its text."""
    licence = facts.licence
    name = licence.name or licence.spdx
    if not name:
        return Markdown("not recorded: ask the publisher of the source before you pass it on")
    identifier = "" if licence.spdx in (None, name, "NOASSERTION") else f" ({licence.spdx})"
    return link(f"{name}{identifier}", licence.link)


def gate_text(facts: Facts) -> Markdown:
    """The accuracy gate's verdict in words."""
    gate = facts.gate
    words = {
        "proved": "**proved**",
        "refuted": "**refuted, do not use it where accuracy matters**",
        "not enough questions": "**not decided, not enough questions**",
        "not judged": "**not judged**",
    }
    if not gate.verdict:
        return Markdown("the recipe has none, or no build judged it")
    return Markdown(f"{words.get(gate.verdict) or inline(gate.verdict)}: {inline(gate.reason)}")


def conformance_text(facts: Facts) -> str:
    """Whether its own engine computes what the source computes, and by how much it is off."""
    found = facts.conformance
    if not found:
        return "Not checked: whether its engine computes what the source computes is not known."
    verdict = "It conforms" if found.passed else "It does NOT conform to its source"
    return (
        f"{verdict}, in {found.engine}: {found.tokenizer.equal} of {found.tokenizer.texts} texts become the source's "
        f"tokens and come back; the first token's logits are within {found.logits.relative_error:.2g} of the source's "
        f"in float32 (relative error, {found.logits.tolerance:.2g} is allowed for this format); "
        f"{found.greedy.equal} of {found.greedy.tokens} answered tokens are the source's own choice."
    )


def kernel_table(facts: Facts) -> Table:
    """Which kernels of servers take the package, by their own rules."""
    kernels = facts.conformance.kernels if facts.conformance else ()
    rows = tuple((one.kernel, "yes" if one.loads else "no", one.reason or "-") for one in kernels)
    return Table(("kernel", "takes it", "note"), rows)


def calibration_text(facts: Facts) -> str:
    """Which texts the weights were fitted to; empty where they were fitted to none."""
    found = facts.calibration
    if not found:
        return ""
    tokens = f" of {found.tokens:,} tokens" if found.tokens else ""
    place = f" Computed on {facts.made_on}, whose order of sums shows in the last bits." if facts.made_on else ""
    where = "the training questions the workbench brings" if found.source == "bundled" else plain(found.source)
    return f"Calibrated on {found.texts} texts{tokens} from {where}; sha256 of the texts {found.texts_sha256}.{place}"

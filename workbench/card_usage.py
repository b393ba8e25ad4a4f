"""How a package is used, for its model card: the engines that read it, with the commands that start them.

The commands are those of ``SERVE.md`` (``workbench/serve_commands.py``); a card leaves out what takes a page, the
request with a whole schema. A manifest of a stranger is tamed first: the commands see the facts of the card and nothing
else, and what they bring stands between fences that no text of theirs can close.

    serving(facts)[0].command  # "llama-server -m sqlcoder2.Q4_K_M.gguf ..."
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import workbench.formats
from workbench import plugins
from workbench.artifact import FileEntry, Manifest
from workbench.card_facts import Facts
from workbench.card_markdown import Markdown
from workbench.hub_layout import is_shared
from workbench.prompt import PROMPTS
from workbench.serve_commands import ServeCommand, serve_commands

_RECIPE = re.compile(r"[a-z0-9][a-z0-9._-]*")
HUB_NAME = "OWNER/NAME"  # stands for a repository that is not known


def serving(facts: Facts) -> tuple[ServeCommand, ...]:
    """The engines that read the package, the most usual one first; none where this workbench does not know the kind."""
    known = facts.format in plugins.member_names(workbench.formats) and facts.prompt in PROMPTS
    whole = facts.format != "gguf" or any(name.endswith(".gguf") for name in facts.weight_files)
    return serve_commands(_tamed(facts)) if known and whole else ()


def _tamed(facts: Facts) -> Manifest:
    """A manifest of nothing but what was looked at."""
    kernels = facts.conformance.kernels if facts.conformance else ()
    record: dict[str, Any] = {field.name: None for field in dataclasses.fields(Manifest)}
    record |= {name: getattr(facts, name) for name in ("name", "model", "architecture", "prompt", "format")}
    record |= {
        "files": tuple(FileEntry(name, 0, "") for name in facts.weight_files),
        "recipe": {"backends": list(facts.recipe.backends)},
        "conformance": {"kernels": [one.model_dump() for one in kernels]},
        "source": {"id": facts.source.id},
        "details": {},
        "package": {"repository": facts.package.hub_id or HUB_NAME},
    }
    return Manifest(**record)


def fenced(text: str) -> Markdown:
    """A block of code whose fence is longer than any run of its characters within."""
    longest = max((len(run) for run in re.findall("~+", text)), default=0)
    fence = "~" * max(3, longest + 1)
    lines = "".join(one for one in text if one == "\n" or one.isprintable())
    return Markdown(f"{fence}console\n{lines}\n{fence}")


def commands(facts: Facts) -> list[dict[str, Any]]:
    """Of each engine what a card shows: its name, what it needs, and the lines that install and start it.

    ``folder`` holds those for the package's folder, ``hub`` those that fetch it from the Hub, each ``None`` where there
    are none. Of an engine that is started from a program of several lines neither is shown: ``SERVE.md`` has it.
    """
    return [
        {
            "engine": one.engine,
            "needs": one.needs,
            "folder": None if "\n" in one.command else fenced(f"{one.install}\n{one.command}"),
            "hub": fenced(one.hub) if one.hub else None,
        }
        for one in serving(facts)
    ]


def choose(facts: Facts) -> Markdown:
    """`` --recipe NAME`` for ``pull`` and ``verify``, where packages of the format share repositories; else nothing."""
    return Markdown(f" --recipe {facts.name}" if is_shared(facts.format) and _RECIPE.fullmatch(facts.name) else "")


def example_variant(facts: Sequence[Facts]) -> Facts | None:
    """The variant to show commands of: one that a build recommends, else the first that no gate refuted."""
    usable = [one for one in facts if not one.refuted and serving(one)]
    chosen = [one for one in usable if any(report.recommended for report in one.reports)]
    return next(iter([*chosen, *usable]), None)

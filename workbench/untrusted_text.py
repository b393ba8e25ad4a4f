"""Texts of a package from strangers: what a reader sees is what stands there, and a ``Modelfile`` names no other file.

A text may hide things from who looks at it: control characters move a terminal's cursor back over what it showed,
marks of writing direction let code be read in another order than it runs ("Trojan Source", Boucher and Anderson 2021).
YAML may write one list of nine lists of nine lists by a few aliases, which whoever walks it pays for. None of that is
needed in a card, a licence or a ``Modelfile``, so it is refused::

    check_text(folder / "README.md")
    check_modelfile(folder / "Modelfile", {"model.gguf"})      # ArtifactError unless FROM names model.gguf
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from workbench.errors import ArtifactError
from workbench.untrusted_json import DEEPEST, SMALL_BYTES, read_bounded

MOST_TEXT_BYTES = 2 << 20
MOST_YAML_BYTES = 1 << 20
MOST_YAML_EVENTS = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FRONT_MATTER = re.compile(r"---\n(.*?\n)---(\n|\Z)", re.DOTALL)
# docs/modelfile.md of Ollama. ADAPTER names further weights and may be an address, so no package holds it.
_INSTRUCTIONS = frozenset({"FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "LICENSE", "MESSAGE"})
_PARAMETER = re.compile(r"[a-z_]{1,40}\s+\S.{0,200}", re.DOTALL)
_QUOTED = '"""'


def check_text(path: Path, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """The text of a file that people read.

    Raises:
        ArtifactError: it is larger, not UTF-8, or holds characters that hide what it says.
    """
    text = read_text(path, most_bytes)
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise ArtifactError(f"{path.name} holds the hidden character U+{ord(found[0]):04X} in line {line}")
    return text


def read_text(path: Path, most_bytes: int = SMALL_BYTES) -> str:
    """The text of a file that programs read.

    Raises:
        ArtifactError: it is larger, or not UTF-8.
    """
    try:
        return read_bounded(path, most_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path.name} is no text (byte {error.start} is not UTF-8)") from error


def check_card(path: Path) -> None:
    """A model card: a text whose front matter, where it has one, is plain YAML.

    Raises:
        ArtifactError: it is not.
    """
    found = _FRONT_MATTER.match(check_text(path))
    if found:
        check_yaml(found[1], path.name)


def check_yaml(text: str, where: str) -> None:
    """See that a YAML text is plain: bounded, without aliases and without types of its own.

    Raises:
        ArtifactError: it is not, or no YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if len(text) > MOST_YAML_BYTES:
        raise ArtifactError(f"{where} holds {len(text)} characters of YAML")
    depth = 0
    try:
        for count, event in enumerate(yaml.parse(text, Loader=loader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ArtifactError(f"{where} holds YAML with an alias or a type of its own")
            if count > MOST_YAML_EVENTS or depth > DEEPEST:
                raise ArtifactError(f"{where} holds YAML that is too deep or in too many pieces")
        yaml.load(text, Loader=loader)  # noqa: S506 - a safe one, in C where there is one
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ArtifactError(f"{where} holds YAML that cannot be understood ({str(error)[:200]})") from error


def check_modelfile(path: Path, names: Collection[str]) -> None:
    """See that a ``Modelfile`` runs a file of this package and nothing else.

    Args:
        path: the file.
        names: of the package's files.

    Raises:
        ArtifactError: it does more.
    """
    sources = 0
    for instruction, value in modelfile_instructions(check_text(path)):
        if instruction not in _INSTRUCTIONS:
            raise ArtifactError(f"{path.name} says {instruction[:40]!r}, which no package needs")
        if instruction == "FROM":
            sources += 1
            if value.removeprefix("./") not in names and value != ".":
                raise ArtifactError(f"{path.name} takes weights from {value[:80]!r}, which is no file of the package")
        if instruction == "PARAMETER" and not _PARAMETER.fullmatch(value):
            raise ArtifactError(f"{path.name} sets a parameter that makes no sense: {value[:40]!r}")
    if sources != 1:
        raise ArtifactError(f"{path.name} names {sources} models with FROM, expected one")


def modelfile_instructions(text: str) -> list[tuple[str, str]]:
    """Instructions of a ``Modelfile`` with their values, names in capitals; a quoted value may have many lines.

    Raises:
        ArtifactError: a quotation that does not end.
    """
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, value = line.strip().partition(" ")
        while value.count(_QUOTED) == 1:
            following = next(lines, None)
            if following is None:
                raise ArtifactError("the Modelfile holds a quotation that does not end")
            value += f"\n{following}"
            if following.count(_QUOTED):
                break
        found.append((name.upper(), value.strip()))
    return found

"""The licence of a package: that of the model it was made of, with what it asks for.

A converted or quantized copy is adapted material. Of a CC BY-SA 4.0 model it stays under CC BY-SA 4.0 (section 3(b)),
names the author, the source and the licence, and says what was changed (section 3(a)(1)). So a package holds
``LICENSE``, the legal text where it is at hand, and ``NOTICE`` with the rest.

What the licence is comes from the source itself (the front matter of its ``README.md``, its ``LICENSE``), else from
what is known of the family (``licence_facts.py``), else it is unknown, which is said loudly. Models made from Llama or
StarCoder carry their terms beside their own.

This module reads and repeats what others declared; it is no legal advice. What a stranger's repository declares is
cut to one short line before it is repeated.
Sources: creativecommons.org/licenses/by-sa/4.0/legalcode; legal texts from the package ``spdx-license-list``.

Example::

    licence_of({"id": "defog/sqlcoder2", "revision": "9a1b..."})["spdx"]  # "CC-BY-SA-4.0"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workbench.artifact import Manifest
from workbench.checkpoint import Checkpoint
from workbench.licence_facts import FAMILY, LICENCES, Known, Member
from workbench.nano import MODEL_NAME
from workbench.package_files import LICENCE, NOTICE

UNKNOWN = "unknown: find out before you publish"
NO_LICENCE = "NOASSERTION"  # SPDX for: nothing is known
_TEXTS = Path(__file__).parent / "licence_texts"
_CARD = "README.md"
_TEXT_NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
_MOST_BYTES = 1 << 20
_MOST_HEAD = 1 << 16
_MOST_WORDS = 120  # characters of a name or an address that a stranger chose


def licence_of(source: dict[str, Any], checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """The licence of the model an artifact was made of.

    Args:
        source: of the manifest: ``id`` and ``revision``.
        checkpoint: the source, where it is at hand; its repository says more than a table.

    Returns:
        ``spdx`` (``NOASSERTION`` where nothing is known), ``name``, ``link`` (or ``None``), ``attribution`` and
        ``base_model``, the id on the Hub (or ``None``).
    """
    identity = str(source.get("id", ""))
    member = _member(identity)
    card = _card(checkpoint.path) if checkpoint else {}
    known = _declared(card) or (_of_text(checkpoint.path) if checkpoint else None)
    if known is None and member and _is(identity, member):
        known = LICENCES[member.licence]
    link = _line(card.get("license_link"))
    return {
        "spdx": known.spdx if known else NO_LICENCE,
        "name": known.name if known else UNKNOWN,
        "link": link if link.startswith("https://") and " " not in link else (known.link or None if known else None),
        "attribution": _attribution(identity, source.get("revision"), member, known),
        "base_model": identity if "/" in identity else _base_of(identity, member),
    }


def licence_files(manifest: Manifest) -> dict[str, str]:
    """``LICENSE`` and ``NOTICE`` of a package whose manifest says the licence (``source.licence``).

    ``LICENSE`` holds the legal text where it is at hand, else where to find it.
    """
    licence = recorded_licence(manifest.source)
    text = legal_text(licence["spdx"]) or _no_text(licence)
    return {LICENCE: text, NOTICE: _notice(manifest, licence)}


def recorded_licence(source: dict[str, Any]) -> dict[str, Any]:
    """What a manifest records of its source's licence, made again where that is no such record."""
    told = source.get("licence")
    if not isinstance(told, dict) or not all(isinstance(told.get(key), str) for key in ("spdx", "name", "attribution")):
        return licence_of(source)
    return {
        **told,
        **{key: told.get(key) if isinstance(told.get(key), str) else None for key in ("link", "base_model")},
    }


def legal_text(spdx: str) -> str | None:
    """The text of a licence, where it is at hand."""
    file = next((one for one in _TEXTS.glob("*.txt") if one.stem == spdx), None)
    return file.read_text(encoding="utf-8") if file else None


def _member(identity: str) -> Member | None:
    name = identity.rsplit("/", 1)[-1].lower()
    return next((one for one in FAMILY if one.key in name), None)


def _is(identity: str, member: Member) -> bool:
    """Whether a source is that very model: by its id, or, for a folder, by the whole name."""
    return identity == member.base or identity.lower() == member.base.rsplit("/", 1)[-1].lower()


def _base_of(identity: str, member: Member | None) -> str | None:
    """Id on the Hub of the model whose name a folder bears; the bundled one is not there."""
    return member.base if member and member.base != MODEL_NAME and _is(identity, member) else None


def _declared(card: dict[str, Any]) -> Known | None:
    """The licence that a front matter declares."""
    key = _line(card.get("license")).lower()
    if not key:
        return None
    name = (_line(card.get("license_name")) or key) if key == "other" else key
    return LICENCES.get(key) or LICENCES.get(name.lower()) or Known(f"LicenseRef-{_identifier(name)}", name, "")


def _of_text(folder: Path) -> Known | None:
    """The licence whose text lies in a folder."""
    text = next((found for name in _TEXT_NAMES if (found := _read(folder / name))), "")
    plain = " ".join(text.lower().split())
    return next((one for one in LICENCES.values() if one.marks and all(mark in plain for mark in one.marks)), None)


def _attribution(identity: str, revision: Any, member: Member | None, known: Known | None) -> str:
    owner, _, name = identity.rpartition("/")
    author = member.author if member and _is(identity, member) else owner
    by = f" by {author}" if author else ""
    at = f", revision {revision}" if revision else ""
    licence = f"licensed under {known.name}" if known else f"licence {UNKNOWN}"
    return f"{name}{by}{at}, {licence}." + (f" {member.also}" if member and member.also else "")


def _card(folder: Path) -> dict[str, Any]:
    """Front matter of a repository's card; empty where there is none that can be read."""
    parts = _read(folder / _CARD).split("---", 2)
    if len(parts) < 3 or parts[0].strip() or len(parts[1]) > _MOST_HEAD:
        return {}
    try:
        record = yaml.safe_load(parts[1])
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return record if isinstance(record, dict) else {}


def _read(file: Path) -> str:
    """A text of a source's folder; empty where there is none of a sensible size."""
    try:
        return file.read_text(encoding="utf-8") if file.stat().st_size <= _MOST_BYTES else ""
    except (OSError, ValueError):
        return ""


def _line(value: Any) -> str:
    """A stranger's word as one short printable line; empty for what is no text."""
    line = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(one for one in line if one.isprintable())[:_MOST_WORDS]


def _identifier(text: str) -> str:
    """What SPDX allows in an identifier: letters, digits, ``-`` and ``.``."""
    return "".join(one if one.isascii() and (one.isalnum() or one in "-.") else "-" for one in text)


def _no_text(licence: dict[str, Any]) -> str:
    """What stands in ``LICENSE`` for want of the text."""
    if licence["spdx"] == NO_LICENCE:
        return f"Licence {UNKNOWN}.\n"
    where = f"Its text: {licence['link']}" if licence["link"] else "Its text is in the source's repository."
    return f"{licence['name']}\n{where}\n"


def _notice(manifest: Manifest, licence: dict[str, Any]) -> str:
    """Title, author, source, licence and changes, as CC BY-SA 4.0 asks in section 3(a)(1)."""
    base, link = licence["base_model"], licence["link"]
    tool = f"sqlcoder-workbench {manifest.tool_versions.get('workbench', '')}".strip()
    lines = [
        f"{manifest.model}, {manifest.name}",
        "",
        f"Made from: {licence['attribution']}",
        f"Source: {f'https://huggingface.co/{base}' if base else manifest.source.get('id')}",
        f"Source's digest: {manifest.source.get('digest')}",
        f"Licence of the source, and of this copy: {licence['name']}{f' ({link})' if link else ''}",
        f"Changes: the weights were converted to {manifest.format} with {tool}, recipe {manifest.name}, "
        f"{manifest.bits_per_weight:.2f} bits per weight; they were not trained further. Settings of generation, a "
        "chat template and documents were added.",
    ]
    if manifest.prompt in ("v1", "v2", "v3"):
        lines.append("The prompt is interface data of github.com/defog-ai/sqlcoder (Apache License 2.0).")
    return "\n".join(lines) + "\n"

"""Markdown of a model card: whatever a template prints is escaped, but for what was made Markdown on purpose.

The rule is Jinja's for HTML, kept for Markdown: text is text. ``[a](javascript:x)|<script>`` comes out as these
characters in a paragraph, a heading and a table's cell alike, for backslashes before punctuation (CommonMark 0.31,
section 2.4) and entities for ``<`` and ``&`` hold in all of them. A value never begins a line, where it might make a
list or a heading: templates put a word before it. What is Markdown already is of the class
``Markdown``, made by the functions here and nowhere else.

    environment().from_string("# {{ name }}\\n{{ table }}").render(name=name, table=markdown_table(rows))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.plain_text import plain
from workbench.tables import DASH, Table

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# An underscore within a word and a bracket that no link can come of are left as they are: sources are read too.
_MARKS = re.compile(r"[\\`*|~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\[(?=[\s\^]|$)|\](?=[(\[:])|(?<=:)/(?=/)")
_BRACKETS_TOO = re.compile(rf"{_MARKS.pattern}|[\[\]]")
_CODE = re.compile(r"[\w ./:@+=,%?&#-]+", re.ASCII)
_FIGURE = re.compile(r"[~+-]?\d[\d.,]*(%| ?[A-Za-z]{1,7}(/s)?)?( (\(|\[|to |±).*)?")
_ADDRESS = re.compile(r"https://[\w.-]+(?:/[\w./%?=&#~+-]*)?", re.ASCII)


class Markdown(str):
    """Text that is Markdown and is not escaped again."""

    __slots__ = ()


def inline(value: Any) -> Markdown:
    """A value as Markdown that shows it as it is within a line; ``Markdown`` stays what it is."""
    if isinstance(value, Markdown):
        return value
    return Markdown(_MARKS.sub(r"\\\g<0>", _without_html(value)))


def _without_html(value: Any) -> str:
    return plain(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(value: Any) -> Markdown:
    """A value in a code span, where its characters allow one everywhere; else escaped."""
    text = plain(str(value))
    return Markdown(f"`{text}`") if _CODE.fullmatch(text) else _without_brackets(text)


def strong(value: Any) -> Markdown:
    """A value in bold."""
    return Markdown(f"**{inline(value)}**")


def link(text: Any, address: str | None) -> Markdown:
    """A link to an ``https`` address; the text alone where the address is none."""
    if not address or not _ADDRESS.fullmatch(address):
        return inline(text)
    return Markdown(f"[{_without_brackets(text)}]({address})")


def _without_brackets(text: Any) -> Markdown:
    """Escaped with every bracket, for places where one might begin or end something."""
    return text if isinstance(text, Markdown) else Markdown(_BRACKETS_TOO.sub(r"\\\g<0>", _without_html(text)))


def folder(name: str) -> Markdown:
    """A folder's name within a link, every character that means something there as its code."""
    return Markdown(quote(plain(name), safe=""))


def markdown_table(table: Table) -> Markdown:
    """A table in GitHub's Markdown, columns of figures to the right; empty without rows."""
    if not table.rows:
        return Markdown("")
    columns = list(zip(*table.rows, strict=True))
    rules = ["---:" if _are_figures(column) else "---" for column in columns]
    lines = [table.header, *table.rows]
    told = [" | ".join(inline(cell) or " " for cell in line) for line in lines]
    return Markdown("\n".join(f"| {line} |" for line in [told[0], " | ".join(rules), *told[1:]]))


def _are_figures(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if cell != DASH]
    return bool(known) and all(map(_FIGURE.fullmatch, known))


def environment() -> Environment:
    """Jinja's environment for cards: undefined names are errors, everything printed is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701 - HTML's escaping would not do for Markdown; ``finalize`` does
        loader=FileSystemLoader(TEMPLATES),
        finalize=inline,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(code=code, strong=strong, raw=Markdown, folder=folder)
    return made


def render(template: str, **values: Any) -> str:
    """A template's text without runs of empty lines, ending in one newline."""
    text = environment().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

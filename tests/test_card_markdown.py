import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from workbench.card_markdown import Markdown, code, inline, link, markdown_table, strong
from workbench.plain_text import MOST_CHARACTERS, plain
from workbench.tables import Table

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown(markdown: str) -> list[tuple[str, str]]:
    """What a reader sees of a line: kind and content of its parts, texts joined."""
    (_, found, _) = MARKDOWN.parse(f"So: {markdown}")
    return [(child.type, child.content) for child in found.children]


def text_of(markdown: str) -> str:
    return "".join(content for _, content in shown(markdown)).removeprefix("So: ")


@given(st.text(st.sampled_from("ab1|`<>[](){}!*_~$\\#-+.:/@&\"'^= \t\n;") | st.characters()))
def test_what_is_escaped_reads_as_it_was(text):
    told = plain(text)
    for made in (inline(told), code(told)) if told else ():
        assert text_of(made) == told
    if told:
        row = markdown_table(Table(("a", told), ((told, "b"),)))
        cells = [token.children for token in MARKDOWN.parse(row) if token.type == "inline"]
        assert ["".join(child.content for child in cell) for cell in cells] == ["a", told, told, "b"]
        assert not any(child.type in ("html_inline", "link_open", "image") for cell in cells for child in cell)


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("gguf-q4_k_m", "gguf-q4_k_m"),
        ("90.0% [82.6, 94.5]", "90.0% [82.6, 94.5]"),
        ("[a](b)", "[a\\](b)"),
        ("_a_", "\\_a\\_"),
        ("https://a.b", "https:\\//a.b"),
        ("a|b", "a\\|b"),
    ],
)
def test_only_what_means_something_is_escaped(text, markdown):
    assert inline(text) == markdown
    assert inline(inline(text)) == markdown


def test_links_lead_to_https_addresses_only():
    assert link("a]b", "https://a.example/x") == "[a\\]b](https://a.example/x)"
    assert link("a", "javascript:alert(1)") == "a"
    assert link("a", "https://a.example/x) [b](c") == "a"
    assert link("a", None) == "a"


def test_code_is_a_span_where_it_can_be_one():
    assert code("model.Q4_K_M.gguf") == "`model.Q4_K_M.gguf`"
    assert code("a`b") == "a\\`b"
    assert strong("a*b") == "**a\\*b**"


def test_columns_of_figures_stand_right():
    table = markdown_table(
        Table(("a", "b", "c"), (("2 tokens in", "1.5 MiB", "-"), ("3 x", "-", "-"), ("4 x", "~3%", "-")))
    )
    assert table.splitlines()[1] == "| --- | ---: | --- |"
    assert isinstance(table, Markdown) and markdown_table(Table(("a",), ())) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/me/model.gguf", "model.gguf"),
        ("see file:///home/me/a.csv", "see a.csv"),
        ("of ~/models/x and C:\\Users\\me\\y", "of x and y"),
        ("https://huggingface.co/a/b", "https://huggingface.co/a/b"),
        ("acme/model at 1/2, and/or", "acme/model at 1/2, and/or"),
        ("a\r\n\tb\x00\u202ec", "a b c"),
        ("\ud800x", "x"),
    ],
)
def test_plain_text_is_one_line_without_paths_of_a_machine(text, told):
    assert plain(text) == told


@given(st.text())
def test_plain_text_stays_plain(text):
    assert plain(plain(text)) == plain(text)
    assert len(plain(text)) <= MOST_CHARACTERS + 1
    plain(text).encode("utf-8")

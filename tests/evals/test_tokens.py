"""The mask keeps its length, and finds quoted text as Postgres does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evals.tokens import mask, split_statements

SQL_LIKE = st.text(alphabet="ab;{}'\"$-/*\\eE \n_1", max_size=40)


@given(SQL_LIKE)
def test_mask_keeps_length_and_only_blanks(text):
    shape = mask(text)
    assert len(shape) == len(text)
    assert all(new in (old, " ", "\x01") for old, new in zip(text, shape, strict=True))


@given(st.text(max_size=30))
def test_a_literal_hides_anything(content):
    literal = "'" + content.replace("'", "''") + "'"
    assert split_statements(f"SELECT {literal}; SELECT 2") == [f"SELECT {literal}", "SELECT 2"]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("a;b", ["a", "b"]),
        ("'a;b'", ["'a;b'"]),
        ("'it''s;';b", ["'it''s;'", "b"]),
        (r"E'\';';b", [r"E'\';'", "b"]),
        (r"'\';b", [r"'\'", "b"]),
        ("E'a'\n 'b\\';c';d", ["E'a'\n 'b\\';c'", "d"]),
        ("-- a;b\rc;d", ["-- a;b\rc", "d"]),
        ('"a;b";c', ['"a;b"', "c"]),
        ("$$a;b$$;c", ["$$a;b$$", "c"]),
        ("$x$a;$$;b$x$;c", ["$x$a;$$;b$x$", "c"]),
        ("-- a;b\nc;d", ["-- a;b\nc", "d"]),
        ("/* a;/* b */;*/c;d", ["/* a;/* b */;*/c", "d"]),
        (";; -- nothing\n;a", ["a"]),
        ("a$b$;c$b$", ["a$b$", "c$b$"]),
        ("$1;2", ["$1", "2"]),
        ("'open; to the end", ["'open; to the end"]),
        ("/* open; to the end", []),
        ("", []),
    ],
)
def test_statements(text, statements):
    assert split_statements(text) == statements

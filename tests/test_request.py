"""Which question sets a request means."""

from pathlib import Path

import pytest

from workbench.errors import EvaluationError
from workbench.request import BUNDLED, question_sets


def own_folder(folder: Path, table: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "schema.sql").write_text(f"CREATE TABLE {table} (id int);")
    (folder / "rows.sql").write_text("")
    (folder / "questions.csv").write_text("question,query\nHow many?,SELECT 1\nWhich?,SELECT 2\n")
    return folder


def test_the_bundled_sets_by_default_and_by_name() -> None:
    assert [one.name for one in question_sets()] == list(BUNDLED) == ["heldout", "unseen"]
    (one,) = question_sets([Path("unseen")], limit=5)
    assert (one.name, len(one.questions)) == ("unseen", 5)


def test_a_folder_of_a_bundled_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_folder(tmp_path / "unseen", "mine")
    (one,) = question_sets([Path("unseen")])
    assert one.schema("unseen") == "CREATE TABLE mine (id int);"


def test_databases_from_elsewhere_come_first(tmp_path: Path) -> None:
    asked, elsewhere = own_folder(tmp_path / "a", "beside"), own_folder(tmp_path / "other" / "a", "chosen")
    beside, chosen = question_sets([asked]), question_sets([asked], databases=elsewhere.parent)
    assert "beside" in beside[0].schema("a")
    assert "chosen" in chosen[0].schema("a")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no question file"):
        question_sets([Path("nosuch")])
    with pytest.raises(EvaluationError, match="give --databases a folder"):
        question_sets(databases=tmp_path / "nosuch")

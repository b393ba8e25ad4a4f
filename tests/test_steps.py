import pytest

from workbench.errors import StorageError
from workbench.steps import Steps


def test_a_result_comes_back_under_its_key_only(tmp_path):
    Steps(tmp_path / "steps").remember("trial-a", "key", {"x": [1, None]})
    assert Steps(tmp_path / "steps").recall("trial-a", "key") == {"x": [1, None]}
    assert Steps(tmp_path / "steps").recall("trial-a", "other") is None
    assert Steps(tmp_path / "steps").recall("trial-b", "key") is None
    assert Steps(tmp_path / "steps", forget=True).recall("trial-a", "key") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "key"}', "{"])
def test_a_damaged_file_is_no_result(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert Steps(tmp_path).recall("a", "key") is None


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Steps(tmp_path / "file" / "steps").remember("a", "key", 1)

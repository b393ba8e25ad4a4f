"""Disks: what appears is whole, what was begun is gone on with, and one worker waits for another."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.errors import StorageError, WorkbenchError
from workbench.storage import check_ours, check_space, folder_bytes, locked, staged


def test_a_folder_appears_whole(tmp_path):
    with staged(tmp_path / "a") as stage:
        (stage.folder / "w").write_text("w")
        assert not (tmp_path / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "w").is_file()


def test_a_new_folder_takes_the_place_of_the_old(tmp_path):
    for name in ("old", "new"):
        with staged(tmp_path / "a") as stage:
            (stage.folder / name).write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_fault_leaves_nothing_and_keeps_the_old(tmp_path):
    with staged(tmp_path / "a") as stage:
        (stage.folder / "old").write_text("")
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "a") as stage:
        stage.journal.add({"part": "w"})
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["old"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), StorageError("no room")])
def test_what_is_finished_outlives_a_stop_from_outside(tmp_path, reason):
    with pytest.raises((KeyboardInterrupt, StorageError)), staged(tmp_path / "a", "key") as stage:
        (stage.folder / "w").write_text("half")
        stage.journal.add({"part": "w"})
        raise reason
    assert not (tmp_path / "a").exists()
    with staged(tmp_path / "a", "key") as stage:
        assert stage.journal.entries == [{"part": "w"}]
        assert (stage.folder / "w").read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_finished_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a", "key") as stage:
        (stage.folder / "w").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_another_work_left_is_cleared(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a", "one") as stage:
        (stage.folder / "w").write_text("half")
        stage.journal.add({"part": "w"})
        raise KeyboardInterrupt
    with staged(tmp_path / "a", "other") as stage:
        assert stage.journal.entries == []
        assert list(stage.folder.iterdir()) == []


def test_what_a_killed_process_left_is_gone_on_with(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from workbench.storage import staged\n"
        "with staged(Path(sys.argv[1]), 'key') as stage:\n"
        "    (stage.folder / 'w').write_bytes(b'half'); stage.journal.add({'part': 'w'}); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == 9
    assert not (tmp_path / "a").exists()
    with staged(tmp_path / "a", "key") as stage:
        assert stage.journal.entries == [{"part": "w"}]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "is full; free some space or choose another folder with --out"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only disk"),
        (errno.EACCES, "may not be written by this user"),
        (errno.EPERM, "may not be written by this user"),
    ],
)
def test_a_disk_that_refuses(tmp_path: Path, code: int, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught, staged(tmp_path / "q4"):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "q4") in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged(tmp_path / "q4"):
        (tmp_path / "no such source").read_bytes()
    with pytest.raises(ConnectionError), staged(tmp_path / "q4"):
        raise ConnectionError("the server is gone")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="lies below a file"), staged(tmp_path / "file" / "q4"):
        pass


def test_a_really_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which Linux has")
    with pytest.raises(StorageError, match="is full"), staged(tmp_path / "q4"), Path("/dev/full").open("wb") as disk:
        disk.write(b"x" * 100_000)


def test_the_second_waits_for_the_first_and_says_so(tmp_path):
    said, order = [], []
    entered, leave = threading.Event(), threading.Event()

    def first():
        with locked(tmp_path / "a"):
            entered.set()
            leave.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(10)
    waiting = threading.Event()
    second = threading.Thread(target=_second, args=(tmp_path, said, waiting, order))
    second.start()
    assert waiting.wait(10)
    leave.set()
    thread.join()
    second.join()
    assert order == ["first", "second"]
    assert "another run is making" in said[0]


def _second(folder, said, waiting, order):
    def note(text):
        said.append(text)
        waiting.set()

    with locked(folder / "a", note):
        order.append("second")


def test_a_killed_holder_frees_the_lock(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from workbench.storage import locked\n"
        "with locked(Path(sys.argv[1])):\n    os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    said: list[str] = []
    with locked(tmp_path / "a", said.append):
        assert said == []


def test_too_small_a_disk_is_noticed_before(tmp_path):
    check_space(tmp_path, 1)
    check_space(tmp_path, 10**18, present_bytes=10**18)
    with pytest.raises(StorageError, match="GiB are needed and"):
        check_space(tmp_path, 10**18)


def test_bytes_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 3
    assert folder_bytes(tmp_path / "none") == 0


def test_foreign_files_are_not_replaced(tmp_path):
    check_ours(tmp_path / "none", lambda folder: set())
    (tmp_path / "mine").write_text("")
    check_ours(tmp_path, lambda folder: {"mine"})
    with pytest.raises(WorkbenchError, match="holds mine, which is not ours"):
        check_ours(tmp_path, lambda folder: set())
    with pytest.raises(WorkbenchError, match="is a file"):
        check_ours(tmp_path / "mine", lambda folder: set())

"""What lies in a folder: links, pipes and second names are found and never opened."""

import os
import socket

import pytest

from workbench.package_layout import MOST_FILES, layout_faults, scan, shown


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "package"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "manifest.json").write_text("{}")
    return made


def faults(folder):
    return layout_faults(scan(folder), ["config.json"])


def test_listed_files_and_what_a_download_leaves_pass(folder):
    (folder / ".gitattributes").write_text("*.gguf filter=lfs")
    (folder / ".cache/huggingface/download").mkdir(parents=True)
    (folder / ".cache/huggingface/download/config.json.metadata").write_text("x")
    (folder / "provenance.intoto.json").write_text("{}")
    (folder / "empty").mkdir()
    assert faults(folder) == []
    assert set(scan(folder).sizes) == {"config.json", "manifest.json", "provenance.intoto.json"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/etc/passwd", "weights"),
        ("config.json", "copy.json"),
        ("/", "root"),
        ("nowhere", "config2.json"),
        (".", "loop"),
    ],
)
def test_a_symbolic_link_is_no_file_of_a_package(folder, target, name):
    (folder / name).symlink_to(target)
    assert faults(folder) == [f"'{name}' leads elsewhere (a symbolic link)"]
    assert name not in scan(folder).sizes


def test_a_listed_file_that_is_a_link_fails_too(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/etc/passwd")
    assert faults(folder) == ["'config.json' leads elsewhere (a symbolic link)"]


def test_a_link_within_what_a_download_leaves_fails(folder):
    (folder / ".cache/huggingface").mkdir(parents=True)
    (folder / ".cache/huggingface/x").symlink_to("/etc")
    assert faults(folder) == ["'.cache/huggingface/x' leads elsewhere (a symbolic link)"]


def test_a_second_name_of_a_file_elsewhere(folder, tmp_path):
    (tmp_path / "own").write_text("somebody's own")
    os.link(tmp_path / "own", folder / "README.md")
    assert "a hard link" in faults(folder)[0]


def test_a_pipe_and_a_socket_are_not_opened(folder):
    os.mkfifo(folder / "tokenizer.json")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        assert faults(folder) == ["'socket' is a socket", "'tokenizer.json' is a pipe"]


@pytest.mark.parametrize("name", ["modeling_evil.py", "sub/config.json", ".git/config", ".cache/other", "README.md"])
def test_what_is_not_listed_is_named(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    assert faults(folder) == [f"'{name}' is not listed in the manifest"]


def test_names_are_shown_so_that_a_terminal_does_not_obey_them(folder):
    (folder / "a\x1b[2Jb").write_text("x")
    (folder / os.fsdecode(b"\xff")).write_text("x")
    (folder / "\u202egpj.exe").write_text("x")
    text = "".join(faults(folder))
    assert text.isascii()
    assert "\x1b" not in text
    assert shown("x" * 5000) == f"'{'x' * 200}'"


@pytest.mark.parametrize("listed", [["../evil"], ["/etc/passwd"], ["a", "A"], ["con"], ["manifest.json"], ["a", "a/b"]])
def test_a_manifest_that_lists_impossible_names(folder, listed):
    assert len(layout_faults(scan(folder), listed)) > 1  # config.json is not listed either


def test_a_folder_of_a_million_files_is_not_walked_to_its_end(folder, monkeypatch):
    monkeypatch.setattr("workbench.package_layout.MOST_FILES", 5)
    for number in range(20):
        (folder / str(number)).touch()
    found = scan(folder)
    assert len(found.sizes) == 5
    assert found.faults == ["there are more than 5 files"]
    assert MOST_FILES > 1000


def test_deep_folders_end_somewhere(folder):
    deep = folder / "/".join("d" * 30)
    deep.mkdir(parents=True)
    (deep / "x").touch()
    assert faults(folder)

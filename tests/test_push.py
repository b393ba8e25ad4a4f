"""Uploads by the Hub's own client to a local Hub: what arrives, what is not sent twice, what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packages_made import changed, files_of, made_package, manifest_in, sealed
from pushing import TOKEN, head, send, there, writable_hub

from workbench.errors import WorkbenchError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with writable_hub(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def q4(tmp_path) -> Path:
    return made_package(tmp_path / "built" / "q4")


@pytest.fixture
def q8(tmp_path) -> Path:
    return made_package(tmp_path / "built" / "q8", "q8")


@pytest.fixture
def int8(tmp_path) -> Path:
    return made_package(tmp_path / "built" / "int8", "int8", "int8")


def test_a_package_lies_at_the_root_as_in_its_folder(hub, int8, tmp_path):
    (done,), heard = send(int8, "me/nano", out=tmp_path)
    assert there(hub, "me/nano") == files_of(int8)
    assert done.is_new
    assert done.commit == head(hub, "me/nano")
    assert f"written by commit {done.commit}" in heard.text
    assert hub.repository("me/nano").private


def test_a_repository_that_is_public_already_is_told(hub, int8, tmp_path):
    _, heard = send(int8, "me/nano", out=tmp_path, private=False)
    assert "is public" not in heard.text
    _, heard = send(changed(int8, details={"new": 1}), "me/nano", out=tmp_path)
    assert "me/nano is there already, and is public: everybody can read what is sent there" in heard.text


def test_gguf_packages_lie_side_by_side(hub, q4, q8, tmp_path):
    send(q4, q8, "me/nano-gguf", out=tmp_path)
    found = there(hub, "me/nano-gguf")
    assert len(hub.repository("me/nano-gguf").history()) == 2  # the Hub's own, and one of ours
    assert {"sqlcoder-nano.q4.gguf", "sqlcoder-nano.q8.gguf", "q4/manifest.json", "q8/manifest.json"} <= set(found)
    assert {"README.md", "LICENSE", "template", "params", "q4/README.md", "q4/.eval_results/q4.yaml"} <= set(found)
    assert {".eval_results/q4.q4.yaml", ".eval_results/q8.q8.yaml"} <= set(found)
    card = found["README.md"].decode()
    assert "q4" in card
    assert "q8" in card
    assert "python -m workbench verify me/nano-gguf --recipe RECIPE" in card


def test_a_second_push_does_nothing(hub, q4, q8, tmp_path):
    (first,), _ = send(q4, q8, "me/nano-gguf", out=tmp_path)
    hub.requests.clear()
    (second,), heard = send(q4, q8, "me/nano-gguf", out=tmp_path)
    assert (second.commit, second.is_new) == (first.commit, False)
    assert f"already there at commit {first.commit}" in heard.text
    assert [one.method for one in hub.requests if one.method not in ("GET", "HEAD")] == []


def test_packages_that_differ_in_a_file_of_the_root_do_not_take_turns(hub, q4, tmp_path):
    q8 = made_package(tmp_path / "built" / "q8", "q8", more={"params": '{"stop": ["x"]}', "template": "another"})
    send(q8, "me/nano-gguf", out=tmp_path)
    assert there(hub, "me/nano-gguf")["template"] == b"another"
    (first,), _ = send(q4, "me/nano-gguf", out=tmp_path)
    assert there(hub, "me/nano-gguf")["template"] == (q4 / "template").read_bytes()
    for folders in ((q8,), (q4,), (q8, q4)):
        (again,), _ = send(*folders, "me/nano-gguf", out=tmp_path)
        assert (again.commit, again.is_new) == (first.commit, False)


def test_a_package_that_is_pushed_again_replaces_its_own_part_alone(hub, q4, q8, tmp_path):
    send(q4, q8, "me/nano-gguf", out=tmp_path)
    hub.repository("me/nano-gguf").put({"notes.txt": b"of the owner"}, "a note")
    before = there(hub, "me/nano-gguf")
    shutil.rmtree(q4)
    made_package(q4, more={"SERVE.md": "new\n"})
    (q4 / "template").unlink()
    changed(q4)
    hub.requests.clear()
    send(q4, "me/nano-gguf", out=tmp_path)
    after = there(hub, "me/nano-gguf")
    assert set(before) - set(after) == {"q4/template"}
    assert set(after) - set(before) == {"q4/SERVE.md"}
    differing = {name for name in set(before) & set(after) if before[name] != after[name]}
    assert {"q4/manifest.json", "q4/provenance.intoto.json"} <= differing <= {
        "q4/manifest.json", "q4/provenance.intoto.json", "README.md",
    }  # fmt: skip
    assert not hub.asked("PUT")  # the weights are there


def test_another_package_at_the_root_takes_the_place_of_the_first(hub, int8, tmp_path):
    send(int8, "me/nano", out=tmp_path)
    other = made_package(tmp_path / "built" / "int8-rows", "int8-rows", "int8")
    send(other, "me/nano", out=tmp_path)
    assert there(hub, "me/nano") == files_of(other)


def test_a_branch_is_made_and_main_stays(hub, int8, tmp_path):
    send(int8, "me/nano", out=tmp_path)
    before = head(hub, "me/nano")
    changed(int8, details={"new": True})
    (done,), _ = send(int8, "me/nano", out=tmp_path, revision="next")
    assert head(hub, "me/nano") == before
    assert head(hub, "me/nano", "next") == done.commit


def test_a_pull_request_is_opened_once(hub, int8, tmp_path):
    (first,), heard = send(int8, "me/nano", out=tmp_path, create_pr=True)
    assert first.is_proposed
    assert "/discussions/" in first.url
    assert "manifest.json" not in there(hub, "me/nano")
    (second,), heard = send(int8, "me/nano", out=tmp_path, create_pr=True)
    assert (second.commit, second.url, second.is_new) == (first.commit, first.url, False)
    assert "already proposed" in heard.text


def test_each_format_has_its_repository_in_a_collection(hub, q4, q8, int8, tmp_path):
    for _ in range(2):
        done, _ = send(q4, int8, q8, "me/nano", out=tmp_path, collection="SQLCoder nano")
    assert [one.repository for one in done] == ["me/nano-gguf", "me/nano-int8"]
    (collection,) = hub.collections.values()
    assert collection["title"] == "SQLCoder nano"
    assert [item["id"] for item in collection["items"]] == ["me/nano-gguf", "me/nano-int8"]


def test_a_dry_run_writes_nothing(hub, q4, tmp_path):
    done, heard = send(q4, "me/nano-gguf", out=tmp_path, dry_run=True)
    assert done == []
    assert not hub.repositories
    assert not [one for one in hub.requests if one.method not in ("GET", "HEAD")]
    assert ("sqlcoder-nano.q4.gguf", "send") in [(name, what) for name, _, what in heard.rows]
    assert "nothing was sent" in heard.text


def test_a_dry_run_of_a_collection(hub, q4, int8, tmp_path):
    _, heard = send(q4, int8, "me/nano", out=tmp_path, dry_run=True, collection="SQLCoder nano")
    assert "the collection 'SQLCoder nano' would hold: me/nano-gguf, me/nano-int8" in heard.text
    assert not hub.collections


def test_a_dry_run_without_a_network(hub, q4, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    _, heard = send(q4, "me/nano-gguf", out=tmp_path, dry_run=True)
    assert "the Hub cannot be reached" in heard.text
    assert len(heard.rows) > 5


@pytest.mark.parametrize("name", ["nano", "me/nano/gguf", "", "me/", "https://huggingface.co/me/nano"])
def test_what_is_no_repository(q4, name, tmp_path):
    with pytest.raises(WorkbenchError, match="OWNER/NAME"):
        send(q4, name, out=tmp_path)


def test_what_cannot_lie_together(hub, q4, q8, int8, tmp_path):
    with pytest.raises(WorkbenchError, match=r"only GGUF packages can lie side by side.*--collection"):
        send(q4, int8, "me/nano", out=tmp_path)
    with pytest.raises(WorkbenchError, match="given twice"):
        send(q4, q4, "me/nano", out=tmp_path)
    other = made_package(tmp_path / "other", "q8", model="another")
    with pytest.raises(WorkbenchError, match="different models"):
        send(q4, other, "me/nano", out=tmp_path)
    same = made_package(tmp_path / "q4-again", "q5", more={"sqlcoder-nano.q4.gguf": "x"})
    with pytest.raises(WorkbenchError, match="several packages"):
        send(q4, same, "me/nano", out=tmp_path)
    assert not hub.repositories


def test_what_cannot_lie_where_others_do(hub, q4, int8, tmp_path):
    send(q4, "me/gguf", out=tmp_path)
    send(int8, "me/int8", out=tmp_path)
    with pytest.raises(WorkbenchError, match="such as me/int8-gguf"):
        send(q4, "me/int8", out=tmp_path)
    with pytest.raises(WorkbenchError, match="such as me/gguf-int8"):
        send(int8, "me/gguf", out=tmp_path)
    other = made_package(tmp_path / "other", "q8", model="another")
    with pytest.raises(WorkbenchError, match="me/gguf holds sqlcoder-nano, and q8 is of another"):
        send(other, "me/gguf", out=tmp_path)


def test_a_file_of_the_same_name_in_the_repository(hub, q4, tmp_path):
    send(q4, "me/gguf", out=tmp_path)
    same = made_package(tmp_path / "same", "q5")
    (same / "sqlcoder-nano.q5.gguf").rename(same / "sqlcoder-nano.q4.gguf")
    sealed(same, manifest_in(same))
    with pytest.raises(WorkbenchError, match=r"me/gguf holds sqlcoder-nano.q4.gguf of q4, and q5 has a file of that"):
        send(same, "me/gguf", out=tmp_path)


def test_what_cannot_stand_in_a_card_is_left_out_of_it(hub, q4, tmp_path):
    secret = "ghp_" + "a1B2" * 9
    stranger = made_package(tmp_path / "q8", "q8")
    changed(stranger, recipe={**manifest_in(stranger).recipe, "description": f"Made with {secret}."}, prompt=secret)
    text = (stranger / "manifest.json").read_bytes()
    hub.add_repository("me/nano-gguf", {"q8/manifest.json": text})
    _, heard = send(q4, "me/nano-gguf", out=tmp_path)
    card = there(hub, "me/nano-gguf")["README.md"].decode()
    assert secret not in card
    assert "q4" in card
    assert "what the repository says of q8 cannot stand in a card" in heard.text


def test_a_strangers_manifest_beside_ours_is_left_out(hub, q4, tmp_path):
    hub.add_repository(
        "me/nano-gguf", {"q8/manifest.json": b'{"files": [[[[', "q2/manifest.json": b"{}", "x.bin": b"x"}
    )
    _, heard = send(q4, "me/nano-gguf", out=tmp_path)
    assert "q8/manifest.json of me/nano-gguf is no manifest" in heard.text
    assert {"q8/manifest.json", "q2/manifest.json", "x.bin", "q4/manifest.json"} <= set(there(hub, "me/nano-gguf"))


def test_as_a_user_types_it(hub, q4, q8, tmp_path):
    typed = ["push", str(q4), str(q8), "me/nano-gguf", "--public", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "workbench", *typed],
        capture_output=True, text=True, check=False, timeout=120, env=hub.environment(tmp_path, TOKEN),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "written by commit" in done.stdout
    assert not hub.repository("me/nano-gguf").private
    assert TOKEN not in done.stdout + done.stderr


def test_the_token_travels_in_one_header_and_nowhere_else(hub, q4, int8, tmp_path):
    """Planted, then looked for in all that was sent, printed and written, also when things go wrong."""
    environment = {**hub.environment(tmp_path / "home", TOKEN), "OMP_NUM_THREADS": "1"}
    hub.fail("POST", "/commit/", 403)
    printed = ""
    for folder, repository in ((int8, "me/nano"), (int8, "me/nano"), (q4, "stranger/nano")):
        done = subprocess.run(
            [sys.executable, "-m", "workbench", "push", str(folder), repository, "--out", str(tmp_path / "store")],
            capture_output=True, text=True, check=False, timeout=120, env=environment,
        )  # fmt: skip
        printed += done.stdout + done.stderr
    assert "written by commit" in printed
    assert "hf auth login" in printed
    assert TOKEN not in printed
    for one in hub.requests:
        assert TOKEN not in one.raw_path + one.query
        assert TOKEN.encode() not in one.body
        bearing = {name for name, value in one.headers.items() if TOKEN in value}
        assert bearing <= ({"authorization"} if one.origin == "hub" else set())
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written
    assert not [file for file in written if TOKEN.encode() in file.read_bytes()]
    for repository in hub.repositories.values():
        assert not [one for one in repository.history() if TOKEN in one.title + one.description]

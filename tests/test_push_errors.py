"""A Hub that fails in the middle: what is tried again, what is told, what goes on at the next run."""

import threading
from pathlib import Path

import pytest
from packages_made import changed, files_of, made_package
from pushing import TOKEN, head, send, there, writable_hub

from workbench import hub_errors
from workbench.errors import WorkbenchError
from workbench.hub_commit import Target, _xet_where_it_is
from workbench.hub_errors import one_line


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


WHERE = {
    "create": ("POST", "/api/repos/create"),
    "preupload": ("POST", "/preupload/"),
    "batch": ("POST", "/info/lfs/objects/batch"),
    "put": ("PUT", "/"),
    "commit": ("POST", "/commit/"),
    "validate": ("POST", "/validate-yaml"),
    "tree": ("GET", "/tree/"),
}
TOLD = {
    401: "does not let you write.*hf auth login",
    403: "does not let you write.*hf auth login",
    404: "the Hub has no me/nano|has no",
    409: "changed by somebody else|refuses",
    413: "no room",
    429: "asks to come back later",
    500: "failed while.*run again",
    507: "no room",
}


@pytest.mark.parametrize("place", [name for name in WHERE if name != "tree"])
@pytest.mark.parametrize("status", TOLD)
def test_a_status_in_the_middle_is_one_sentence_and_the_next_run_goes_on(hub, int8, tmp_path, place, status):
    if (place, status) == ("create", 409):
        pytest.skip("there it says that the repository is there")
    hub.fail(*WHERE[place], status, times=None)
    with pytest.raises(WorkbenchError, match=TOLD[status]) as told:
        send(int8, "me/nano", out=tmp_path)
    assert told.value.exit_code == 2
    assert "\n" not in str(told.value)
    assert TOKEN not in str(told.value)
    assert "http" not in str(told.value)
    hub.heal()
    (done,), _ = send(int8, "me/nano", out=tmp_path)
    assert done.is_new
    assert there(hub, "me/nano") == files_of(int8)


@pytest.mark.parametrize("place", WHERE)
@pytest.mark.parametrize("status", [429, 500, 503, "cut", "lost"])
def test_what_passes_is_tried_again_in_the_same_run(hub, int8, tmp_path, place, status):
    send(int8, "me/nano", out=tmp_path)
    other = made_package(tmp_path / "other", "int8-rows", "int8")
    hub.fail(*WHERE[place], status, after_bytes=1000, times=2)
    (done,), _ = send(other, "me/nano", out=tmp_path)
    assert there(hub, "me/nano") == files_of(other)
    assert done.commit == head(hub, "me/nano")
    assert len(hub.repository("me/nano").history()) == 3


def test_the_time_that_a_busy_hub_asks_for_is_waited(hub, int8, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(hub_errors, "pause", waited.append)
    send(int8, "me/nano", out=tmp_path)
    changed(int8, details={"new": 1})
    hub.fail("POST", "/commit/", 429, retry_after=17)
    _, heard = send(int8, "me/nano", out=tmp_path)
    assert waited == [17.0]
    assert "me/nano: the Hub failed (429); trying again in 17 s, attempt 2 of 5" in heard.text


def test_what_was_sent_is_not_sent_again(hub, q4, q8, tmp_path):
    hub.fail("POST", "/commit/", 500, times=None)
    with pytest.raises(WorkbenchError, match="run again"):
        send(q4, q8, "me/nano-gguf", out=tmp_path)
    assert len(hub.asked("PUT")) == 2
    hub.heal()
    hub.requests.clear()
    send(q4, q8, "me/nano-gguf", out=tmp_path)
    assert not hub.asked("PUT")
    assert len(hub.repository("me/nano-gguf").history()) == 2


def test_a_connection_cut_in_the_middle_of_a_large_file(hub, q4, q8, tmp_path):
    """However often it breaks there: what is whole stays there, and the next run sends the rest."""
    hub.fail("PUT", "/", "cut", after_bytes=20_000, times=None, skip=1)
    with pytest.raises(WorkbenchError, match=r"connection to the Hub broke off while me/nano-gguf.*goes on from there"):
        send(q4, q8, "me/nano-gguf", out=tmp_path)
    assert there(hub, "me/nano-gguf") == {}
    hub.heal()
    hub.requests.clear()
    send(q4, q8, "me/nano-gguf", out=tmp_path)
    assert len(hub.asked("PUT")) == 1
    assert {"q4/manifest.json", "q8/manifest.json"} <= set(there(hub, "me/nano-gguf"))


def test_a_large_file_goes_in_parts(hub, int8, tmp_path):
    hub.part_bytes = 16000
    hub.fail("PUT", "/", "cut", after_bytes=5000, times=1)
    send(int8, "me/nano", out=tmp_path)
    assert there(hub, "me/nano") == files_of(int8)
    assert len(hub.asked("PUT")) >= 4


def test_a_race_with_another_push_is_decided_anew(hub, q4, q8, tmp_path):
    """Somebody commits between our look and our commit: theirs stays, ours goes on top, the card speaks of both."""
    send(made_package(tmp_path / "q2", "q2"), "me/nano-gguf", out=tmp_path)
    from huggingface_hub import HfApi

    real, raced = HfApi.preupload_lfs_files, []

    def racing(self, *arguments, **options):
        if not raced:
            raced.append(True)
            send(q8, "me/nano-gguf", out=tmp_path)
        return real(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HfApi, "preupload_lfs_files", racing)
        _, heard = send(q4, "me/nano-gguf", out=tmp_path)
    found = there(hub, "me/nano-gguf")
    assert {"q2/manifest.json", "q4/manifest.json", "q8/manifest.json"} <= set(found)
    card = found["README.md"].decode()
    assert all(recipe in card for recipe in ("q2", "q4", "q8"))
    assert "me/nano-gguf: somebody else changed it meanwhile; trying again" in heard.text


def test_two_at_once(hub, q4, q8, tmp_path):
    send(made_package(tmp_path / "q2", "q2"), "me/nano-gguf", out=tmp_path)
    failed = []

    def work(folder):
        try:
            send(folder, "me/nano-gguf", out=tmp_path)
        except WorkbenchError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(folder,)) for folder in (q4, q8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed
    card = there(hub, "me/nano-gguf")["README.md"].decode()
    assert all(recipe in card for recipe in ("q2", "q4", "q8"))


def test_no_network(hub, int8, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(WorkbenchError, match="connection to the Hub broke off"):
        send(int8, "me/nano", out=tmp_path)


def test_offline(hub, int8, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WorkbenchError, match="HF_HUB_OFFLINE is set; unset it"):
        send(int8, "me/nano", out=tmp_path)


def test_no_token_and_a_wrong_one(hub, int8, tmp_path, monkeypatch):
    for token in ("", "hf_" + "x" * 30):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(WorkbenchError, match="hf auth login"):
            send(int8, "me/nano", out=tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(WorkbenchError, match=r"does not let you write to stranger/nano.*hf auth login"):
        send(int8, "stranger/nano", out=tmp_path)
    assert not hub.repositories


def test_what_answers_as_no_hub_does(hub, int8, tmp_path):
    hub.plant("*", "/", b"<html>Please log in to the hotel's network</html>")
    with pytest.raises(WorkbenchError, match="does not speak as the Hub does; check HF_ENDPOINT"):
        send(int8, "me/nano", out=tmp_path)


def test_a_gitignore_would_leave_files_out(hub, int8, tmp_path):
    hub.add_repository("me/nano", {".gitignore": b"*.json\n"})
    with pytest.raises(WorkbenchError, match=r"holds a .gitignore.*delete it there"):
        send(int8, "me/nano", out=tmp_path)


def test_a_card_that_the_hub_refuses(hub, tmp_path):
    broken = made_package(tmp_path / "int8", "int8", "int8", more={"README.md": "---\nlicense: [\n---\n"})
    with pytest.raises(WorkbenchError, match=r"refuses the upload to me/nano: Invalid metadata in README.md"):
        send(broken, "me/nano", out=tmp_path)


def test_a_server_that_sends_the_token_back(hub, int8, tmp_path):
    hub.plant("POST", "/commit/", b'{"error": "bad ' + TOKEN.encode() + b' at https://u:pass@x/y?sig=abc"}', status=400)
    with pytest.raises(WorkbenchError, match="refuses the upload") as told:
        send(int8, "me/nano", out=tmp_path)
    assert TOKEN not in str(told.value)
    assert "pass@" not in str(told.value)
    assert "sig=abc" not in str(told.value)


@pytest.mark.parametrize("said", ["Private repository storage limit reached", "quota exceeded"])
def test_no_room_is_told_whatever_its_status(hub, int8, tmp_path, said):
    hub.plant("POST", "/preupload/", b"{}", status=403, headers={"X-Error-Message": said})
    with pytest.raises(WorkbenchError, match=rf"no room for me/nano \(403: .*{said}\); free or buy storage"):
        send(int8, "me/nano", out=tmp_path)


@pytest.mark.parametrize(("headers", "is_disabled"), [({"X-Xet-Cas-Url": "http://127.0.0.1:1"}, False), ({}, True)])
def test_xet_is_left_to_the_client_where_the_hub_has_it(hub, monkeypatch, headers, is_disabled):
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    hub.plant("GET", "/xet-write-token/", b"{}", headers=headers)
    with _xet_where_it_is(HfApi(), Target("me/nano")):
        assert constants.HF_HUB_DISABLE_XET is is_disabled
    assert constants.HF_HUB_DISABLE_XET is False


def test_a_servers_words_are_one_short_line():
    assert one_line("a\x1b[31m b\r\n\tc") == "a [31m b c"
    assert len(one_line("x" * 5000)) == 200


def test_the_clients_own_waiting_is_told(hub, int8, tmp_path):
    send(int8, "me/nano", out=tmp_path)
    changed(int8, details={"new": 1})
    hub.fail("POST", "/preupload/", 503, times=1)
    _, heard = send(int8, "me/nano", out=tmp_path)
    assert "the Hub is busy or the connection broke; trying again in" in heard.text


def test_a_proposal_whose_answer_was_lost_is_not_made_twice(hub, int8, tmp_path):
    hub.fail("POST", "/commit/", "lost")
    (done,), _ = send(int8, "me/nano", out=tmp_path, create_pr=True)
    assert done.is_proposed
    assert len(hub.repository("me/nano").discussions) == 1


def test_a_hub_without_xet_gets_large_files_by_lfs(hub, int8, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    send(int8, "me/nano", out=tmp_path)
    assert there(hub, "me/nano") == files_of(int8)
    assert hub.asked("GET", "/xet-write-token/main")
    assert constants.HF_HUB_DISABLE_XET is False


def test_a_commit_that_holds_something_else_is_told(hub, int8, tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    real = HfApi.create_commit
    monkeypatch.setattr(HfApi, "create_commit", lambda self, name, found, **more: real(self, name, found[1:], **more))
    with pytest.raises(WorkbenchError, match=r"does not hold .eval_results/int8.yaml as it was sent"):
        send(int8, "me/nano", out=tmp_path)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("100000", 300), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", 1), ("", 1), ("-3", 1)],
)
def test_how_long_a_busy_hub_asks_to_wait(header, seconds):
    from httpx2 import Response
    from huggingface_hub.errors import HfHubHTTPError

    request = hub_errors_request()
    error = HfHubHTTPError("busy", response=Response(429, headers={"Retry-After": header}, request=request))
    assert hub_errors.waiting_time(error, 1) == seconds


def hub_errors_request():
    from httpx2 import Request

    return Request("POST", "http://127.0.0.1/commit")


def test_a_hub_that_does_not_tell_which_404_it_is(hub, int8, tmp_path):
    """Other Hubs leave out ``X-Error-Code``: a repository that is not there is made all the same."""
    hub.plant("GET", "/api/models/me/nano", b"{}", status=404, times=2)
    (done,), _ = send(int8, "me/nano", out=tmp_path)
    assert done.is_new
    assert there(hub, "me/nano") == files_of(int8)


def test_a_repository_without_a_commit(hub, int8, tmp_path):
    hub.plant("GET", "/api/models/me/nano", b'{"id": "me/nano", "sha": null}', times=2)
    (done,), _ = send(int8, "me/nano", out=tmp_path)
    assert done.is_new


def test_a_tree_that_does_not_tell_which_files_are_large(hub, int8, tmp_path):
    from huggingface_hub import RepoFile

    real = RepoFile.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RepoFile, "__init__", lambda self, **fields: real(self, **{**fields, "lfs": None}))
        send(int8, "me/nano", out=tmp_path)
        (again,), _ = send(int8, "me/nano", out=tmp_path)
    assert not again.is_new


def test_a_state_that_cannot_be_read_at_first_is_read_again(hub, int8, tmp_path):
    """The commit fails, then the look at what came of it fails too, twice."""
    send(int8, "me/nano", out=tmp_path)
    changed(int8, details={"new": 1})
    hub.fail("POST", "/commit/", "lost")
    hub.fail("GET", "/tree/", 503, times=2, skip=1)
    send(int8, "me/nano", out=tmp_path)
    assert there(hub, "me/nano") == files_of(int8)


def test_a_bug_of_ours_is_not_told_as_the_hubs(hub, int8, tmp_path, monkeypatch):
    code = compile("def broken(*_):\n    return {}['x']", "workbench/broken.py", "exec")
    space = {"__name__": "workbench.broken"}
    exec(code, space)
    monkeypatch.setattr("workbench.push.plan_push", space["broken"])
    with pytest.raises(KeyError):
        send(int8, "me/nano", out=tmp_path)

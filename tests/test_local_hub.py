"""The stand-in for the Hub, driven by the Hub's real client, and its ids against real Git."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from local_hub import LocalHub
from local_hub_cards import faults_of

SECRET = "hf_planted_secret"
WEIGHTS = bytes(range(256)) * 400
FILES = {"config.json": b'{"a": 1}\n', "model.gguf": WEIGHTS, "sub/notes.txt": b"notes " * 500}
CARD = "---\nlicense: cc-by-sa-4.0\nbase_model: defog/sqlcoder2\nbase_model_relation: quantized\n---\n# A card\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its attempts
    with LocalHub() as server:
        server.add_token(SECRET, "me")
        server.use(monkeypatch, tmp_path, SECRET)
        yield server


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.address, token=SECRET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    return tmp_path / "folder"


def adds(**files: bytes) -> list[Any]:
    return [CommitOperationAdd(name.replace("__", "."), data) for name, data in files.items()]


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return int(error.value.response.status_code)


def test_a_folder_goes_up_and_comes_down_again(hub: LocalHub, api: HfApi, folder: Path) -> None:
    assert api.whoami()["name"] == "me"
    assert api.create_repo("me/model", private=True).repo_id == "me/model"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("me/model")
    assert status_of(error) == 409
    done = api.upload_folder(repo_id="me/model", folder_path=folder, commit_message="all")
    repository = hub.repository("me/model")
    assert repository.private
    assert {name: repository.read(name) for name in repository.names()} == FILES
    assert [commit.title for commit in repository.history()] == ["all", "initial commit"]
    assert done.oid == repository.refs["refs/heads/main"] == api.model_info("me/model").sha
    fetched = Path(snapshot_download("me/model", endpoint=hub.address, token=SECRET))
    assert {name: (fetched / name).read_bytes() for name in FILES} == FILES


def test_the_same_again_makes_no_commit(hub: LocalHub, api: HfApi, folder: Path) -> None:
    api.create_repo("me/model")
    first = api.upload_folder(repo_id="me/model", folder_path=folder)
    uploads = len(hub.asked("PUT"))
    assert api.upload_folder(repo_id="me/model", folder_path=folder).oid == first.oid
    assert len(hub.asked("PUT")) == uploads == 1
    assert len(hub.repository("me/model").history()) == 2


def test_the_other_host_never_sees_the_token(hub: LocalHub, api: HfApi, folder: Path) -> None:
    api.create_repo("me/model")
    api.upload_folder(repo_id="me/model", folder_path=folder)
    snapshot_download("me/model", endpoint=hub.address, token=SECRET)
    assert {request.method for request in hub.asked(origin="cdn")} == {"PUT", "GET"}
    assert all(request.token is None for request in hub.asked(origin="cdn"))
    assert all(request.token == SECRET for request in hub.asked(origin="hub"))


def test_large_files_in_parts(hub: LocalHub, api: HfApi) -> None:
    hub.part_bytes = 10_000
    api.create_repo("me/model")
    api.create_commit("me/model", adds(model__gguf=WEIGHTS), commit_message="parts")
    assert hub.repository("me/model").read("model.gguf") == WEIGHTS
    assert len(hub.asked("PUT", "/lfs/")) == 11
    assert len(hub.asked("POST", "/complete_multipart/")) == 1
    assert len(hub.asked("POST", "/verify")) == 1


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_ids_are_those_of_git(hub: LocalHub, api: HfApi, folder: Path, tmp_path: Path) -> None:
    api.create_repo("me/model")
    api.upload_folder(repo_id="me/model", folder_path=folder, commit_message="all", commit_description="of it")
    repository = hub.repository("me/model")
    commit = repository.history()[0]
    place = tmp_path / "git"
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (
        ("NAME", "me"), ("EMAIL", "me@users.noreply.huggingface.co"), ("DATE", f"{int(commit.date.timestamp())} +0000"),
    )}  # fmt: skip

    def git(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=place,
            input=data,
            capture_output=True,
            check=True,
            env=who | {"PATH": os.environ["PATH"]},
        )
        return done.stdout.decode().strip()

    place.mkdir()
    git("init", "-q")
    for path, entry in commit.files.items():
        assert git("hash-object", "-w", "--stdin", data=repository.blobs[entry.blob]) == entry.blob
        git("update-index", "--add", "--cacheinfo", f"100644,{entry.blob},{path}")
    assert git("write-tree") == commit.tree
    first = repository.history()[1]
    assert len(first.oid) == 40
    text = f"tree {commit.tree}\nparent {first.oid}\nauthor me <{who['GIT_AUTHOR_EMAIL']}> {who['GIT_AUTHOR_DATE']}\n"
    text += f"committer me <{who['GIT_AUTHOR_EMAIL']}> {who['GIT_AUTHOR_DATE']}\n\nall\n\nof it\n"
    assert git("hash-object", "-t", "commit", "--literally", "--stdin", data=text.encode()) == commit.oid
    assert repository.blobs[commit.files["model.gguf"].blob].startswith(b"version https://git-lfs")


def test_listings_by_pages(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model", {f"folder/{number:03}.txt": b"x" for number in range(25)})
    hub.page_size = 10
    entries = list(api.list_repo_tree("me/model", recursive=True, expand=True))
    assert len([entry for entry in entries if hasattr(entry, "size")]) == 26
    assert len(hub.asked("GET", "/tree/")) == 3
    assert [entry.path for entry in api.list_repo_tree("me/model")] == [".gitattributes", "folder"]
    found = api.get_paths_info("me/model", ["folder/003.txt", "folder", "none"])
    assert [one.path for one in found] == ["folder/003.txt", "folder"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("me/model", "none"))


def test_commits_delete_copy_and_heed_their_parent(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model", FILES)
    head = api.model_info("me/model").sha
    operations = [CommitOperationDelete("sub/"), CommitOperationCopy("model.gguf", "copy.gguf"), *adds(new__txt=b"new")]
    api.create_commit("me/model", operations, commit_message="change", parent_commit=head)
    repository = hub.repository("me/model")
    assert repository.names() == {"config.json", "model.gguf", "copy.gguf", "new.txt"}
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit("me/model", adds(late__txt=b"late"), commit_message="late", parent_commit=head)
    assert status_of(error) == 412
    with pytest.raises(RemoteEntryNotFoundError):
        api.create_commit("me/model", [CommitOperationDelete("none")], commit_message="gone")
    assert len(repository.history()) == 3


def test_history_is_told(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model", FILES).put({"config.json": None}, "without config")
    assert [one.title for one in api.list_repo_commits("me/model")] == [
        "without config", "Upload folder", "initial commit",
    ]  # fmt: skip


def test_branches_and_tags(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model", FILES)
    api.create_branch("me/model", branch="draft/one")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_branch("me/model", branch="draft/one")
    assert status_of(error) == 409
    api.create_branch("me/model", branch="draft/one", exist_ok=True)
    api.create_commit("me/model", adds(new__txt=b"new"), commit_message="there", revision="draft/one")
    repository = hub.repository("me/model")
    assert repository.names("draft/one") - repository.names() == {"new.txt"}
    api.create_tag("me/model", tag="v1", revision="draft/one")
    refs = api.list_repo_refs("me/model")
    assert {one.name for one in refs.branches} == {"main", "draft/one"}
    assert [one.name for one in refs.tags] == ["v1"]
    assert api.hf_hub_download("me/model", "new.txt", revision="v1")
    api.delete_branch("me/model", branch="draft/one")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("me/model", revision="draft/one")


def test_pull_requests(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("other/model", FILES)
    done = api.create_commit("other/model", adds(new__txt=b"new"), commit_message="Please", create_pr=True)
    assert done.pr_url == f"{hub.address}/other/model/discussions/1"
    assert done.pr_revision == "refs/pr/1"
    repository = hub.repository("other/model")
    assert repository.read("new.txt", "refs/pr/1") == b"new"
    assert "new.txt" not in repository.names()
    assert api.model_info("other/model", revision="refs/pr/1").sha == done.oid
    assert [one.title for one in api.get_repo_discussions("other/model")] == ["Please"]
    hub.add_token("hf_owner", "other")
    owner = HfApi(endpoint=hub.address, token="hf_owner")
    owner.merge_pull_request("other/model", 1)
    assert repository.read("new.txt") == b"new"
    assert owner.get_discussion_details("other/model", 1).status == "merged"
    second = api.create_pull_request("other/model", "Second")
    assert second.git_reference == "refs/pr/2"
    assert [one.name for one in api.list_repo_refs("other/model", include_pull_requests=True).pull_requests or []] == [
        "refs/pr/1", "refs/pr/2",
    ]  # fmt: skip


def test_who_may_do_what(hub: LocalHub) -> None:
    hub.add_repository("me/public", FILES)
    hub.add_repository("me/private", FILES, private=True)
    hub.add_token("hf_read", "me", "read")
    hub.add_token("hf_other", "other")
    hub.add_token("hf_fine", "me", "fineGrained", rights={"me/public": "write"})

    def commit(token: str, name: str) -> int:
        try:
            HfApi(endpoint=hub.address, token=token).create_commit(
                name, adds(new__txt=token.encode()), commit_message="x"
            )
        except HfHubHTTPError as error:
            return int(error.response.status_code)
        return 200

    said = {token: (commit(token, "me/public"), commit(token, "me/private")) for token in (*hub.tokens, "hf_none")}
    assert said == {
        SECRET: (200, 200), "hf_read": (403, 403), "hf_other": (403, 404), "hf_fine": (200, 404), "hf_none": (401, 401),
    }  # fmt: skip
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.address, token=False).hf_hub_download("me/private", "config.json")
    with pytest.raises(HfHubHTTPError) as error:
        HfApi(endpoint=hub.address, token="hf_other").create_repo("me/new")
    assert status_of(error) == 403


def test_gated_files(hub: LocalHub, api: HfApi) -> None:
    repository = hub.add_repository("other/model", FILES, gated="manual")
    assert len(api.list_repo_files("other/model")) == 4
    with pytest.raises(GatedRepoError):
        api.hf_hub_download("other/model", "config.json")
    repository.readers.add("me")
    assert Path(api.hf_hub_download("other/model", "config.json")).read_bytes() == FILES["config.json"]


def test_what_is_not_there(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model", FILES)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("me/none")
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("me/model", "config.json", revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download("me/model", "none.json")


def test_collections(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model")
    made = api.create_collection("Nano models", description="small", exists_ok=True)
    assert api.create_collection("Nano models", exists_ok=True).slug == made.slug
    assert api.add_collection_item(made.slug, "me/model", "model", note="q4").items[0].note == "q4"
    with pytest.raises(HfHubHTTPError) as error:
        api.add_collection_item(made.slug, "me/model", "model")
    assert status_of(error) == 409
    assert len(api.add_collection_item(made.slug, "me/model", "model", exists_ok=True).items) == 1
    assert [one.slug for one in api.list_collections(owner="me")] == [made.slug]
    api.delete_collection_item(made.slug, api.get_collection(made.slug).items[0].item_object_id)
    assert api.get_collection(made.slug).items == []
    with pytest.raises(HfHubHTTPError) as error:
        api.add_collection_item(made.slug, "me/none", "model")
    assert status_of(error) == 404


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("cc-by-sa-4.0", "ours"), '"license" must be one of'),
        (("defog/sqlcoder2", "./folder/of mine"), '"base_model" with value'),
        (("quantized", "shrunk"), '"base_model_relation" must be'),
        (("license: ", "model-index: [{name: x, results: [{task: {type: t}}]}]\nlicense: "), "metrics"),
        (("license: ", "license: [\n"), "no YAML"),
    ],
)
def test_cards_are_looked_at(hub: LocalHub, api: HfApi, change: tuple[str, str], fault: str) -> None:
    hub.add_repository("me/model")
    api.create_commit("me/model", adds(README__md=CARD.encode()), commit_message="card")
    with pytest.raises(ValueError, match=fault):
        api.create_commit("me/model", adds(README__md=CARD.replace(*change).encode()), commit_message="card")
    with pytest.warns(UserWarning, match="empty or missing yaml"):
        api.create_commit("me/model", adds(README__md=b"# None"), commit_message="card")


def test_a_card_of_the_client_itself_passes() -> None:
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    result = EvalResult("text-generation", "sql", "held out", "accuracy", 0.5)
    data = ModelCardData(license="mit", language="en", model_name="nano", eval_results=[result], tags=["sql"])
    assert faults_of(str(ModelCard.from_template(data, template_str="---\n{{ card_data }}\n---\n# x\n"))) == ([], [])


def test_cut_and_failed_uploads(hub: LocalHub, api: HfApi) -> None:
    hub.add_repository("me/model")
    hub.fail("PUT", "/lfs/", "cut", after_bytes=1000)
    hub.fail("PUT", "/lfs/", 500)
    hub.fail("POST", "/preupload/", 503, retry_after=0)
    api.create_commit("me/model", adds(model__gguf=WEIGHTS), commit_message="at last")
    assert [request.status for request in hub.asked("PUT", "/lfs/")] == [None, 500, 200]
    assert hub.repository("me/model").read("model.gguf") == WEIGHTS
    hub.fail("POST", "/commit/", 409, skip=1)
    api.create_commit("me/model", adds(one__txt=b"1"), commit_message="passes")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit("me/model", adds(two__txt=b"2"), commit_message="fails")
    assert status_of(error) == 409


def test_an_answer_that_is_lost(hub: LocalHub, api: HfApi) -> None:
    from huggingface_hub.errors import HTTPError

    hub.add_repository("me/model")
    hub.fail("POST", "/commit/", "lost")
    with pytest.raises(HTTPError):
        api.create_commit("me/model", adds(new__txt=b"new"), commit_message="made, but never heard of")
    assert hub.repository("me/model").names() == {"new.txt"}


def test_a_download_that_is_cut_goes_on(hub: LocalHub, api: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.add_repository("me/model", FILES)
    hub.fail("GET", "/cdn/", "cut", after_bytes=50_000)
    assert Path(api.hf_hub_download("me/model", "model.gguf")).read_bytes() == WEIGHTS
    ranges = [request.headers.get("range") for request in hub.asked("GET", "/cdn/")]
    assert ranges == [None, "bytes=50000-"]


def test_text_comes_compressed_to_who_takes_it(hub: LocalHub, api: HfApi) -> None:
    import httpx2

    hub.add_repository("me/model", FILES)
    address = f"{hub.address}/me/model/resolve/main/sub/notes.txt"
    packed = httpx2.get(address)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-length" not in packed.headers
    assert (
        packed.content == httpx2.get(address, headers={"Accept-Encoding": "identity"}).content == FILES["sub/notes.txt"]
    )
    part = httpx2.get(address, headers={"Range": "bytes=6-11"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"notes ", "bytes 6-11/3000")
    facts = httpx2.head(f"{hub.address}/me/model/resolve/main/model.gguf")
    assert facts.headers["x-linked-etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert facts.headers["x-linked-size"] == str(len(WEIGHTS))
    assert facts.headers["location"].startswith(hub.cdn_address)
    assert httpx2.get(facts.headers["location"].replace("Signature=", "Signature=0")).status_code == 403


def test_an_endless_answer(hub: LocalHub) -> None:
    import httpx2

    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    hub.plant("GET", "/endless", pieces)
    with httpx2.stream("GET", f"{hub.address}/endless") as response:
        assert len(next(response.iter_raw(100_000))) == 100_000


def test_a_child_process(hub: LocalHub, tmp_path: Path) -> None:
    import sys

    hub.add_repository("me/model", FILES, private=True)
    code = "from huggingface_hub import hf_hub_download as d; print(open(d('me/model', 'config.json')).read())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=hub.environment(tmp_path, SECRET), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == '{"a": 1}', done.stderr

"""Releases on a local stand-in for GitHub: what is attached, what is kept, what is tried again, what is told."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import Fault, GitHubServer
from test_artifact import MANIFEST, make

from workbench import github_api
from workbench.artifact import seal
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.github_api import GitHub
from workbench.github_release import ReleaseRequest, release
from workbench.package_files import BOM, CARD, LICENCE, PROVENANCE, SIGNATURE
from workbench.release_files import SUMS

TOKEN = "ghs_" + "a1B2" * 9  # in the shape of a real one
STEM = "sqlcoder-nano.q4"


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with GitHubServer("me/models", TOKEN) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


def packaged(folder: Path, weight_bytes: int = 7, **changes) -> Path:
    """A package of texts, sealed."""
    make(folder)
    os.truncate(folder / "model.gguf", weight_bytes)  # sparse where it is more: takes no room
    for name in (CARD, BOM, LICENCE):
        (folder / name).write_text(f"{name} of {folder.name}\n")
    seal(folder, dataclasses.replace(MANIFEST, **changes), {"model.gguf": "0" * 64} if weight_bytes != 7 else None)
    for name in (PROVENANCE, SIGNATURE):
        (folder / name).write_text(f"{name} of {folder.name}\n")
    return folder


@pytest.fixture
def package(tmp_path) -> Path:
    return packaged(tmp_path / "store" / "q4")


class Waits(list):
    """Seconds that were asked to wait, not waited."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def run(server: GitHubServer, *packages: Path, waits: Waits | None = None, token: str = TOKEN, **options) -> str:
    github = GitHub(server.address, token, Waits() if waits is None else waits)
    return release(ReleaseRequest("v1.0.0", packages, "me/models", **options), github=github)


def sums(server: GitHubServer) -> dict[str, str]:
    lines = server.contents[SUMS].decode().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def test_what_describes_and_proves_a_package_is_attached_and_then_shown(server, package):
    address = run(server, package)
    names = {f"{STEM}.{name}" for name in (CARD, BOM, "manifest.json", PROVENANCE, SIGNATURE, LICENCE)}
    assert set(server.contents) == {*names, SUMS}
    assert server.contents[f"{STEM}.{BOM}"] == (package / BOM).read_bytes()
    assert sums(server) == {name: hashlib.sha256(server.contents[name]).hexdigest() for name in names}
    (made,) = server.releases.values()
    assert (made["tag_name"], made["draft"]) == ("v1.0.0", False)
    assert "**sqlcoder-nano q4** (gguf): 7 B, 4.00 bits a weight" in made["body"]
    assert address == f"{server.address}/me/models/releases/tag/v1.0.0"
    first_upload = next(number for number, one in enumerate(server.asked) if "?name=" in one)
    assert server.asked.index("PATCH /repos/me/models/releases/1") > first_upload  # hidden until it is whole


def test_a_second_release_of_the_same_uploads_nothing(server, package):
    run(server, package)
    server.asked.clear()
    run(server, package)
    assert not [one for one in server.asked if not one.startswith("GET")]


def test_a_draft_stays_one_and_is_found_again(server, package):
    run(server, package, draft=True)
    run(server, package, draft=True)
    assert [one["draft"] for one in server.releases.values()] == [True]
    run(server, package)
    assert [one["draft"] for one in server.releases.values()] == [False]


def test_what_differs_and_what_is_half_is_replaced(server, package):
    run(server, package)
    for asset in server.assets.values():
        if asset["name"] == f"{STEM}.{CARD}":
            asset["state"] = "starter"
        if asset["name"] == f"{STEM}.{BOM}":
            asset |= {"content": b"else", "size": 4, "digest": "sha256:00"}
    server.asked.clear()
    run(server, package)
    assert (server.count("DELETE", "assets"), server.count("POST", "assets")) == (2, 2)
    assert server.contents[f"{STEM}.{CARD}"] == (package / CARD).read_bytes()
    assert server.contents[f"{STEM}.{BOM}"] == (package / BOM).read_bytes()


def test_assets_without_a_digest_are_told_by_their_size(server, package):
    server.digests = False
    run(server, package)
    server.asked.clear()
    run(server, package)
    assert server.count("POST", "assets") == 0


def test_packages_of_several_calls_share_a_release_and_its_sums(server, package, tmp_path):
    other = packaged(tmp_path / "store" / "q8", name="q8")
    wheel = tmp_path / "tool-1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    run(server, package)
    run(server, other, file=(wheel,))
    assert set(sums(server)) == set(server.contents) - {SUMS}
    assert {f"{STEM}.{BOM}", f"sqlcoder-nano.q8.{BOM}", wheel.name} < set(server.contents)
    assert len(server.releases) == 1


def test_more_assets_than_a_page_holds(server, package, tmp_path, monkeypatch):
    monkeypatch.setattr(github_api, "PER_PAGE", 5)
    files = []
    for number in range(12):
        files.append(tmp_path / f"file-{number}.txt")
        files[-1].write_text(str(number))
    run(server, package, file=tuple(files))
    server.asked.clear()
    run(server, package, file=tuple(files))
    assert server.count("POST", "assets") == 0


def test_weights_come_along_when_asked_for(server, package):
    run(server, package, weights=True)
    assert server.contents[f"{STEM}.model.gguf"] == b"weights"
    assert server.contents[f"{STEM}.sub.manifest.json"] == b"{}"


def test_weights_that_github_does_not_take_are_refused_before_anything_is_sent(server, tmp_path):
    large = packaged(tmp_path / "large", weight_bytes=2 * 2**30)
    with pytest.raises(WorkbenchError, match=r"takes 2\.0 GiB and GitHub takes files under 2 GiB; leave out --weights"):
        run(server, large, weights=True)
    assert not server.asked


def test_reports_of_the_packages_builds_come_along(server, tmp_path):
    package = packaged(tmp_path / "store" / "q4", results={"reports": [{"profile": "cpu"}]})
    for profile in ("cpu", "rtx4090"):
        folder = package.parent / "reports" / profile
        folder.mkdir(parents=True)
        (folder / "report.html").write_text(profile)
    run(server, package)
    assert server.contents[f"{STEM}.report.cpu.html"] == b"cpu"
    assert not [name for name in server.contents if "rtx4090" in name]


def test_notes_of_ones_own(server, package, tmp_path):
    (tmp_path / "notes.md").write_text("Ours.\n")
    run(server, package, notes=tmp_path / "notes.md")
    assert server.releases[1]["body"] == "Ours.\n"
    with pytest.raises(WorkbenchError, match="cannot be read; correct --notes"):
        run(server, package, notes=tmp_path / "none.md")


@pytest.mark.parametrize("status", [500, 502, 503, 0])
def test_what_passes_is_tried_again(server, package, status):
    waits = Waits()
    failing = (("GET", "/releases?"), ("GET", "/git/"), ("POST", BOM), ("PATCH", "/releases/"))
    server.faults = [Fault(method, where, status) for method, where in failing]
    run(server, package, waits=waits)
    assert len(server.releases) == 1
    assert len(server.contents) == 7
    assert waits == [2.0] * 4


def test_half_an_asset_left_by_a_failed_upload_is_taken_away(server, package):
    server.faults = [Fault("POST", f"name={STEM}.{BOM}", 502, starter=True)]
    run(server, package)
    assert server.contents[f"{STEM}.{BOM}"] == (package / BOM).read_bytes()
    assert {one["state"] for one in server.assets.values()} == {"uploaded"}


@pytest.mark.parametrize("where", ["/releases", f"name={STEM}.{BOM}"])
def test_what_was_done_though_the_answer_was_lost_is_not_done_twice(server, package, where):
    server.faults = [Fault("POST", where, 0, kept=True)]
    run(server, package)
    assert len(server.releases) == 1
    assert len(server.assets) == 7


@pytest.mark.parametrize(
    ("status", "message", "headers", "waited"),
    [
        (429, "slow down", {"retry-after": "3"}, 3.0),
        (403, "You have exceeded a secondary rate limit", {"retry-after": "7"}, 7.0),
        (403, "You have exceeded a secondary rate limit", {}, 60.0),
        (403, "API rate limit exceeded", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, 1.0),
    ],
)
def test_a_rate_limit_is_waited_for(server, package, status, message, headers, waited):
    waits = Waits()
    server.faults = [Fault("POST", "name=", status, message, headers)]
    run(server, package, waits=waits)
    assert waits == [waited]


def test_a_rate_limit_that_lasts_is_told(server, package):
    waits = Waits()
    server.faults = [Fault("GET", "/releases?", 429, "slow down", {"retry-after": "3600"})]
    with pytest.raises(WorkbenchError, match=r"rate limit is reached \(slow down\); run again later"):
        run(server, package, waits=waits)
    assert waits == []


def test_what_stays_broken_is_told_after_five_tries(server, package):
    waits = Waits()
    server.faults = [Fault("POST", "name=", 503, "no server is at hand")] * 9
    with pytest.raises(WorkbenchError, match=r"did not do it \(503: no server is at hand\); run again later"):
        run(server, package, waits=waits)
    assert waits == [2.0, 4.0, 8.0, 16.0]
    server.faults.clear()
    run(server, package)
    assert [one["draft"] for one in server.releases.values()] == [False]


def test_a_token_that_is_none(server, package):
    with pytest.raises(PrerequisiteError, match=r"\(401: Bad credentials\); set GITHUB_TOKEN") as told:
        run(server, package, token="ghp_nonsense")
    assert "nonsense" not in str(told.value)


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (Fault("POST", "/releases", 403, "Resource not accessible by integration"), PrerequisiteError,
         "Resource not accessible by integration); give it contents: write"),
        (Fault("GET", "/releases", 404, "Not Found"), WorkbenchError, "shows no me/models to this token"),
        (Fault("POST", "/releases", 422, "Validation Failed"), WorkbenchError, "(422: Validation Failed); correct"),
        (Fault("GET", "/releases", 301, "Moved Permanently", {"Location": "/repositories/1"}), WorkbenchError,
         "has moved; give its new name"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_at_once(server, package, fault, kind, told):
    server.faults = [fault]
    waits = Waits()
    with pytest.raises(kind) as raised:
        run(server, package, waits=waits)
    assert told in str(raised.value)
    assert waits == []
    assert "\n" not in str(raised.value)


def test_a_token_that_github_quotes_is_not_told(server, package):
    server.faults = [Fault("POST", "/releases", 422, f"what is\n{TOKEN}?")]
    with pytest.raises(WorkbenchError, match=r"\(422: what is \*\*\*\?\)"):
        run(server, package)


def test_a_secret_is_not_attached(server, tmp_path):
    (tmp_path / "notes.txt").write_text(f"one\n{TOKEN}\n")
    with pytest.raises(WorkbenchError, match=r"notes\.txt holds a GitHub token in line 2, so nothing was sent") as told:
        run(server, file=(tmp_path / "notes.txt",))
    assert TOKEN not in str(told.value)
    assert not server.asked


def test_an_immutable_release_is_not_filled_up(server, package, tmp_path):
    run(server, package)
    server.immutable = True
    with pytest.raises(WorkbenchError, match="immutable release"):
        run(server, packaged(tmp_path / "store" / "q8", name="q8"))


def test_a_tag_that_is_not_there_is_not_made(server, package):
    server.tags.clear()
    with pytest.raises(WorkbenchError, match=r"has no tag v1\.0\.0; make it first: git tag"):
        run(server, package)
    assert not server.releases


def test_no_token_leaves_for_another_host(server, package):
    server.uploads_elsewhere = "http://127.0.0.2:9"
    with pytest.raises(WorkbenchError, match=r"no token is sent to http://127\.0\.0\.2:9"):
        run(server, package)


@pytest.mark.parametrize("api", ["http://api.github.test", "https://me:hush@api.github.test", "nonsense"])
def test_no_token_leaves_without_tls_or_for_an_odd_address(api):
    with pytest.raises(WorkbenchError) as raised:
        GitHub(api, TOKEN)
    assert "hush" not in str(raised.value)


def test_the_hosts_that_get_a_token():
    github = GitHub("https://api.github.com", TOKEN)
    github._check("https://uploads.github.com/repos/o/r/releases/1/assets")
    for url in ("https://uploads.github.com.evil.test/", "https://github.com@evil.test/", "http://uploads.github.com/"):
        with pytest.raises(WorkbenchError, match="no token is sent"):
            github._check(url)


def test_what_may_not_be_handed_out(server, package, tmp_path):
    refuted = packaged(tmp_path / "refuted", acceptance={"verdict": "refuted", "reason": "it loses 9 points"})
    with pytest.raises(ArtifactError, match="was refuted by its accuracy gate: it loses 9 points; it is not released"):
        run(server, refuted)
    bare = tmp_path / "bare"
    make(bare)
    with pytest.raises(ArtifactError, match="complete it first: workbench package"):
        run(server, bare)
    card = (package / CARD).read_text()
    (package / CARD).write_text(card.replace("of", "fo"))
    with pytest.raises(ArtifactError, match="was altered since it was listed"):
        run(server, package)
    assert not server.asked


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"repository": "models"}, "give --repository OWNER/NAME"),
        ({"repository": "me/models/../../x"}, "give --repository OWNER/NAME"),
        ({"tag": "-x"}, "is no tag"),
        ({"tag": "v1 0"}, "is no tag"),
        ({"tag": "a/../b"}, "is no tag"),
        ({"packages": ()}, "there is nothing to release"),
    ],
)
def test_what_is_asked_wrongly(package, changes, told):
    request = ReleaseRequest(**{"tag": "v1", "packages": (package,), "repository": "me/models", **changes})
    with pytest.raises(WorkbenchError, match=told):
        release(request)


def test_a_manifest_stands_for_its_folder(server, package):
    run(server, package / "manifest.json")
    assert f"{STEM}.{BOM}" in server.contents


def test_the_same_package_twice(server, package):
    with pytest.raises(WorkbenchError, match="two files would be called"):
        run(server, package, package)


def command(server: GitHubServer | None, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GH_"))}
    if server:
        environment |= {"GITHUB_API_URL": server.address, "GITHUB_REPOSITORY": "me/models"}
    line = [sys.executable, "-m", "workbench", "release", "v1.0.0", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=kept | environment)


def test_from_the_command_line_with_a_workflows_environment(server, package):
    done = command(server, package, GITHUB_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert f"{server.address}/me/models/releases/tag/v1.0.0" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


def test_a_dry_run_needs_no_token_and_asks_nothing(server, package):
    done = command(server, package, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{hashlib.sha256((package / BOM).read_bytes()).hexdigest()}  {STEM}.{BOM}" in done.stdout
    assert not server.asked


def test_no_token(server, package):
    done = command(server, package)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a release needs a token; set GITHUB_TOKEN" in done.stderr

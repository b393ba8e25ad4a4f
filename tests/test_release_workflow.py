"""The release workflow, run here: every command of it for real, on the bundled model and few questions.

A rehearsal by hand reaches nobody. A tag's run pushes to a local Hub and releases on a local stand-in for GitHub; what
only GitHub has, a certificate for the workflow's identity, is a key here.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from github_server import GitHubServer
from local_hub import LocalHub
from workflow_files import FOLDER, commands, read, steps
from workflow_runner import WorkflowRun

from workbench.package_files import BOM, CARD, MANIFEST, PROVENANCE, SIGNATURE
from workbench.release_files import SUMS
from workbench.signing_keys import make_key

pytest.importorskip("OpenSSL", reason="model-signing needs pyopenssl and does not name it; make set-up brings it")

RELEASE = FOLDER / "release.yml"
GITHUB_TOKEN = "ghs_" + "a1B2" * 9
HUB_TOKEN = "hf_" + "c3D4" * 9
IDENTITY = '--identity "$IDENTITY" --issuer https://token.actions.githubusercontent.com'
RECIPE = "gguf-q8_0"
MODEL = "sqlcoder-nano"
SMALLER = {"build": " --limit 2 --divergence 0", "benchmark": " --workload quick --processes 1"}
REFERENCE = '--recipe "$REFERENCE" '


def smaller(command: str) -> str:
    """A command as it is run here: a build of few questions without the reference, a benchmark of one process."""
    return command.replace(REFERENCE, "") + SMALLER.get(command.split()[1], "")


def run(folder: Path, event: str, ref: str, **options) -> WorkflowRun:
    kind, name = ref.split("/")[1:]
    github = {
        "event_name": event, "ref": ref, "ref_name": name, "ref_type": {"tags": "tag", "heads": "branch"}[kind],
        "repository": "me/models", "repository_owner": "me", "server_url": "https://github.test",
        "token": GITHUB_TOKEN,
    }  # fmt: skip
    contexts = {"github": github, "inputs": options.pop("inputs", {}), "secrets": options.pop("secrets", {})}
    options["env"] = {"GITHUB_REPOSITORY": "me/models", **options.get("env", {})}
    folder.mkdir()
    return WorkflowRun(RELEASE, folder, contexts, **options)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> WorkflowRun:
    inputs = {"model": MODEL, "recipes": RECIPE, "profile": "cpu", "dry-run": True, "benchmark": True}
    folder = tmp_path_factory.mktemp("rehearsal") / "run"
    return run(folder, "workflow_dispatch", "refs/heads/main", inputs=inputs, adapt=smaller).start()


@pytest.fixture(scope="module")
def hub() -> LocalHub:
    with LocalHub() as found:
        found.add_token(HUB_TOKEN, "me")
        yield found


@pytest.fixture(scope="module")
def github() -> GitHubServer:
    with GitHubServer("me/models", GITHUB_TOKEN) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def released(rehearsal: WorkflowRun, hub: LocalHub, github: GitHubServer, tmp_path_factory) -> WorkflowRun:
    """The run of a tag; what the rehearsal built is not built again."""
    folder = tmp_path_factory.mktemp("released")
    key = folder / "identity.pem"  # another one than packages are signed with before
    make_key(key)
    store = rehearsal.folder / "jobs" / "build-0" / "artifacts"

    def adapt(command: str) -> str:
        if command.split()[1] == "build":
            return f'cp -r "{store}" artifacts'
        command = command.replace('"$RECIPES"', RECIPE).replace('"$PROFILES"', "cpu")  # of the four and two by default
        return command.replace("--keyless", f"--sign-key {key}").replace(IDENTITY, f"--public-key {key}.pub")

    ours = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "NO_PROXY")
    env = {name: value for name, value in hub.environment(folder / "home").items() if name in ours}
    env["GITHUB_API_URL"] = github.address
    secrets = {"HF_TOKEN": HUB_TOKEN}
    return run(folder / "run", "push", "refs/tags/v1.0.0", adapt=adapt, env=env, secrets=secrets).start()


def results(ran: WorkflowRun, result: str) -> set[str]:
    return {name for name, job in ran.jobs.items() if job["result"] == result}


def test_a_rehearsal_builds_packages_signs_checks_and_times(rehearsal: WorkflowRun) -> None:
    assert results(rehearsal, "success") == {"wheel", "plan", "build", "package", "benchmark"}
    assert results(rehearsal, "skipped") == {"sign", "hub", "index", "release"}
    artifacts = {path.name for path in (rehearsal.folder / "artifacts").iterdir()}
    assert artifacts == {"wheel", f"build-{RECIPE}@cpu", f"package-{RECIPE}", f"benchmark-{RECIPE}@cpu"}
    package = rehearsal.folder / "artifacts" / f"package-{RECIPE}" / RECIPE
    assert {MANIFEST, CARD, BOM, PROVENANCE, SIGNATURE} <= {path.name for path in package.iterdir()}
    assert list(package.glob(".eval_results/*.yaml")), "hidden files have to be asked for"
    assert "Would release main of me/models" in rehearsal.output


def test_a_branch_publishes_nothing(tmp_path: Path) -> None:
    ran = run(tmp_path / "run", "workflow_dispatch", "refs/heads/main", inputs={"dry-run": False}).start()
    assert results(ran, "skipped") == set(ran.jobs)


def test_a_tag_publishes_the_wheel_the_packages_and_their_proofs(released, hub, github) -> None:
    assert results(released, "skipped") == {"benchmark"}
    assert results(released, "success") == set(released.jobs) - {"benchmark"}
    assert [name.rpartition(".")[2] for name in released.published] == ["whl"]
    names = hub.repository(f"me/{MODEL}-gguf").names()
    assert {f"{MODEL}.Q8_0.gguf", f"{RECIPE}/{MANIFEST}", f"{RECIPE}/{SIGNATURE}", CARD} <= names
    ((release,), stem) = github.releases.values(), f"{MODEL}.{RECIPE}"
    assert (release["tag_name"], release["draft"]) == ("v1.0.0", False)
    wanted = {f"{stem}.{name}" for name in (CARD, BOM, PROVENANCE, SIGNATURE, MANIFEST, "report.cpu.html")}
    assert wanted | {SUMS, *released.published} <= set(github.contents)
    sums = [line.split("  ") for line in github.contents[SUMS].decode().splitlines()]
    assert all(hashlib.sha256(github.contents[name]).hexdigest() == digest for digest, name in sums)


def test_what_is_released_is_what_was_pushed(released, hub, github) -> None:
    pushed = hub.repository(f"me/{MODEL}-gguf")
    for name in (MANIFEST, PROVENANCE, SIGNATURE, BOM):
        assert github.contents[f"{MODEL}.{RECIPE}.{name}"] == pushed.read(f"{RECIPE}/{name}")


def test_no_token_is_printed_or_kept(rehearsal, released, hub, github) -> None:
    kept = [file.read_bytes() for file in released.folder.rglob("*") if file.is_file()]
    kept += [rehearsal.output.encode(), released.output.encode(), *github.contents.values()]
    for token in (HUB_TOKEN.encode(), GITHUB_TOKEN.encode()):
        assert not any(token in text for text in kept)


def test_between_them_the_runs_are_every_command_of_the_file(rehearsal, released) -> None:
    wanted = {command.text for command in commands() if command.where.startswith("release.yml")}
    assert not wanted - {*rehearsal.ran, *released.ran}


def test_each_right_and_each_secret_is_in_one_place() -> None:
    jobs = read(RELEASE)["jobs"]
    rights = {(name, *one) for name, job in jobs.items() for one in job["permissions"].items() if one[1] != "read"}
    assert rights == {
        ("sign", "id-token", "write"), ("index", "id-token", "write"), ("release", "contents", "write"),
    }  # fmt: skip
    secret = [(name, list(step["env"])) for name, _, step in steps(RELEASE) if "secrets." in str(step)]
    assert secret == [("hub", ["HF_TOKEN"])]
    token = [(name, list(step["env"])) for name, _, step in steps(RELEASE) if "github.token" in str(step)]
    assert token == [("release", ["TAG", "GITHUB_TOKEN"])]
    assert {name for name, job in jobs.items() if "environment" in job} == {"hub", "index"}

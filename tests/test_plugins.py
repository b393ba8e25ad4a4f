"""The file name is the registry: members are found by name, and keep the contract of their kind."""

from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

import workbench.formats
import workbench.runtimes
import workbench.trackers
from workbench.formats.base import Format
from workbench.plugins import find_member, member_names
from workbench.runtimes.base import Runtime
from workbench.trackers.base import Tracker

KINDS = [
    (workbench.formats, "FORMAT", Format),
    (workbench.runtimes, "RUNTIME", Runtime),
    (workbench.trackers, "TRACKER", Tracker),
]
MEMBERS = [(package, constant, kind, name) for package, constant, kind in KINDS for name in member_names(package)]


@pytest.mark.parametrize(("package", "constant", "kind", "name"), MEMBERS, ids=lambda value: str(value)[:40])
def test_member_keeps_the_contract(package: ModuleType, constant: str, kind: type, name: str) -> None:
    member = find_member(package, name, constant)
    assert isinstance(member, kind)
    assert member.name == name
    assert member.title
    for module, pip_line in member.requires:
        assert module.isidentifier() or all(part.isidentifier() for part in module.split("."))
        assert pip_line
    if kind is Format:
        assert issubclass(member.options_model, BaseModel)
        assert member.options_model.model_config["extra"] == "forbid"
        assert member.architectures


@pytest.mark.parametrize("package", [kind[0] for kind in KINDS], ids=lambda package: package.__name__)
def test_base_and_hidden_modules_are_no_members(package: ModuleType) -> None:
    names = member_names(package)
    assert "base" not in names
    assert not [name for name in names if name.startswith("_")]
    assert names == sorted(names)


@pytest.mark.parametrize("name", ["base", "none", "", "..errors", "_private"])
def test_no_such_member(name: str) -> None:
    assert find_member(workbench.formats, name, "FORMAT") is None


def test_a_new_file_is_a_new_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_dir = tmp_path / "fruits"
    package_dir.mkdir()
    (package_dir / "__init__.py").write_text("")
    (package_dir / "base.py").write_text("")
    (package_dir / "_peel.py").write_text("")
    (package_dir / "apple.py").write_text("FRUIT = 'red'")
    monkeypatch.syspath_prepend(tmp_path)
    import fruits  # type: ignore[import-not-found]

    assert member_names(fruits) == ["apple"]
    assert find_member(fruits, "apple", "FRUIT") == "red"

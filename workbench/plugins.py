"""Find plug-ins by file name: a new format, runtime or tracker is one new file, no table to edit.

A package such as ``workbench.formats`` holds one module per member; each member module defines one
constant (``FORMAT``, ``RUNTIME`` ...). ``base`` and names with a leading underscore are not members.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any


def member_names(package: ModuleType) -> list[str]:
    """Names of a package's members, sorted."""
    return list(_member_names(package))


@cache  # a plan looks members up a thousand times
def _member_names(package: ModuleType) -> tuple[str, ...]:
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


@cache
def find_member(package: ModuleType, name: str, constant: str) -> Any | None:
    """The constant of the member module ``name``, or ``None`` when there is no such member."""
    if name not in _member_names(package):
        return None
    return getattr(importlib.import_module(f"{package.__name__}.{name}"), constant)


def missing_requirements(requires: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of (module, pip line) pairs those whose module is not to be found; nothing is imported."""
    return [pair for pair in requires if importlib.util.find_spec(pair[0].partition(".")[0]) is None]


def missing_library(requires: Iterable[tuple[str, str]]) -> str | None:
    """What to install for (module, pip line) pairs, as the end of a sentence; ``None`` when all are there."""
    return _missing_library(tuple(requires))


@cache  # a plan asks for each recipe on each profile
def _missing_library(requires: tuple[tuple[str, str], ...]) -> str | None:
    for module, pip_line in missing_requirements(requires):
        return f"needs {module}, which is not installed; run: pip install '{pip_line}'"
    return None


def distribution_name(requirement: str) -> str:
    """``mlx[cpu]>=0.32; extra == "mlx"`` -> ``mlx``."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def installed_version(requirement: str) -> str | None:
    """Version of a requirement's distribution, without importing it; ``None`` when it is not installed."""
    try:
        return version(distribution_name(requirement))
    except PackageNotFoundError:
        return None

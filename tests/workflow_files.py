"""Workflow files as tests read them: their jobs, the commands of their steps, and the environment of these."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
WORKBENCH = ".venv/bin/workbench"
OUTPUT = '>> "$GITHUB_OUTPUT"'


@dataclass(frozen=True)
class Command:
    """One line of a ``run:`` step.

    Attributes:
        where: file and job.
        text: as it stands there.
        env: names that the step may use, with what they stand for.
    """

    where: str
    text: str
    env: dict[str, str]

    def words(self, samples: dict[str, str]) -> list[str]:
        """The words a shell would make of it, variables replaced by samples."""
        text = re.sub(r"\$(\w+)", lambda name: samples[name[1]], self.text.removesuffix(OUTPUT))
        return shlex.split(text)


def read(file: Path) -> dict[str, Any]:
    """A workflow; YAML reads the key ``on`` as true."""
    found: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


def steps(file: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name of the job, the job, a step of it."""
    for name, job in read(file)["jobs"].items():
        for step in job["steps"]:
            yield name, job, step


def commands() -> Iterator[Command]:
    """Every command of every workflow."""
    for file in FILES:
        everywhere = read(file).get("env", {})
        for name, job, step in steps(file):
            env = {**everywhere, **job.get("env", {}), **step.get("env", {})}
            for line in re.sub(r"\\\n\s*", "", step.get("run", "")).splitlines():
                yield Command(f"{file.name}: {name}", line.strip(), env)

"""Runs a workflow file on this machine: its real commands, with the actions it uses stood in for.

Every job gets an empty folder with a link to the environment that is in use here; what jobs hand one another goes
through artifacts alone, with the rules of upload-artifact and download-artifact (a root that all paths share, hidden
files left out unless asked for). A workflow that forgets a file fails here as it would there. Make is not run: its
targets are, by ``test_workflows.py``.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow_expressions import as_text, evaluate, fill
from workflow_files import WORKBENCH, read

Adapt = Callable[[str], str]


@dataclass
class WorkflowRun:
    """One run.

    Attributes:
        file: of the workflow.
        folder: where jobs and artifacts go.
        contexts: ``github``, ``inputs``, ``secrets``.
        env: of the machine.
        adapt: a command as it is run here: smaller, or without what only GitHub has.
        jobs: result and outputs of each job.
        ran: commands as they stand in the file.
        output: all that was printed.
        published: files that the wheel's publisher was given.
    """

    file: Path
    folder: Path
    contexts: dict[str, Any]
    env: dict[str, str] = field(default_factory=dict)
    adapt: Adapt = lambda command: command
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    output: str = ""
    published: list[str] = field(default_factory=list)

    def start(self) -> "WorkflowRun":
        """Run every job whose turn comes."""
        waiting = dict(read(self.file)["jobs"])
        while waiting:
            name = next(name for name, job in waiting.items() if set(_needs(job)) <= set(self.jobs))
            self.jobs[name] = self._job(name, waiting.pop(name))
        return self

    def _job(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        needs = {one: self.jobs[one] for one in _needs(job)}
        contexts = {**self.contexts, "needs": needs}
        wanted = evaluate(job["if"], contexts) if "if" in job else True
        if not wanted or any(one["result"] != "success" for one in needs.values()):
            return {"result": "skipped", "outputs": {}}
        matrix = fill(job.get("strategy", {}).get("matrix", {"once": [None]}), contexts)
        ((axis, values),) = matrix.items()
        assert values, f"{name}: a matrix of nothing"
        for number, value in enumerate(values):
            held = {**contexts, "matrix": {axis: value}, "steps": {}}
            workspace = self.folder / "jobs" / f"{name}-{number}"
            (workspace / ".venv" / "bin").mkdir(parents=True)
            (workspace / WORKBENCH).symlink_to(Path(sys.executable).parent / "workbench")
            for step in job["steps"]:
                self._step(step, fill(job.get("env", {}), held), held, workspace)
        return {"result": "success", "outputs": fill(job.get("outputs", {}), held)}

    def _step(self, step: dict[str, Any], env: dict[str, Any], held: dict[str, Any], workspace: Path) -> None:
        options = fill(step.get("with", {}), held)
        action = step.get("uses", "").partition("@")[0]
        if action == "actions/upload-artifact":
            self._upload(workspace, options)
        elif action == "actions/download-artifact":
            self._download(workspace, options)
        elif action == "pypa/gh-action-pypi-publish":
            self.published += [file.name for file in (workspace / "dist").iterdir()]
        elif "run" in step:
            outputs = self._run(step["run"].strip(), {**env, **fill(step.get("env", {}), held)}, workspace)
            held["steps"][step.get("id")] = {"outputs": outputs}
        else:
            assert action in ("actions/checkout", "actions/setup-python"), action

    def _run(self, command: str, env: dict[str, Any], workspace: Path) -> dict[str, str]:
        self.ran.append(command)
        if command.startswith("make "):
            if command == "make wheel-check":
                (workspace / "dist").mkdir()
                (workspace / "dist" / "sqlcoder_workbench-1.0-py3-none-any.whl").write_bytes(b"wheel")
            return {}
        file = self.folder / "github-output"
        file.write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "HF_", "MLFLOW_"))}
        done = subprocess.run(
            ["bash", "-e", "-c", self.adapt(command)],
            cwd=workspace, capture_output=True, text=True, check=False,
            env={**kept, **self.env, "GITHUB_OUTPUT": str(file), **{name: as_text(env[name]) for name in env}},
        )  # fmt: skip
        self.output += f"$ {command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return dict(line.split("=", 1) for line in file.read_text().splitlines())

    def _upload(self, workspace: Path, options: dict[str, Any]) -> None:
        asked = options["path"].split()
        roots = [re.split(r"/?[^/]*[*?[]", path)[0] for path in asked]
        root = workspace / (os.path.commonpath(roots) if len(roots) > 1 else roots[0])
        root = root.parent if root.is_file() else root
        to = self.folder / "artifacts" / options["name"]
        assert re.fullmatch(r'[^":<>|*?\r\n\\/]+', options["name"]), options["name"]
        assert not to.exists(), f"{options['name']} is there already"
        found = [file for path in asked for one in workspace.glob(path) for file in (one, *one.rglob("*"))]
        for file in filter(Path.is_file, found):
            name = file.relative_to(root)
            if options.get("include-hidden-files") or not any(part.startswith(".") for part in name.parts):
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to / name)
        assert to.is_dir(), f"{options['name']}: no files were found"

    def _download(self, workspace: Path, options: dict[str, Any]) -> None:
        names = [path.name for path in (self.folder / "artifacts").iterdir()]
        chosen = [name for name in names if fnmatch.fnmatch(name, options.get("name") or options["pattern"])]
        assert chosen, f"no artifact is called {options}"
        flat = "name" in options or options.get("merge-multiple")
        for name in chosen:
            to = workspace / options["path"]
            shutil.copytree(self.folder / "artifacts" / name, to if flat else to / name, dirs_exist_ok=True)


def _needs(job: dict[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)

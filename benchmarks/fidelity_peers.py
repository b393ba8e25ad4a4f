"""Lets one quantizer after another work on the same model: the workbench's recipes, and peers in their environments.

A peer's script in ``peer_scripts/`` (``gptqmodel_model.py``, ``llmcompressor_model.py``, ``auto_round_model.py``) runs
under the peer's interpreter and answers as ``_serve.py`` says. The contract:

* given once: ``checkpoint`` (a folder), ``calibration`` (a JSON file of token ids, one list per text), ``bits``,
  ``group_size``, ``symmetric``. All else stays at the tool's defaults. Loading the model is not timed.
* each round: ``out``, a folder that does not exist yet. The tool quantizes; that is timed. Then it leaves there what it
  would store: a checkpoint in the GPTQ layout, or ``weights.safetensors`` with the float weights that its codes and its
  scales in float16 stand for, under the checkpoint's names, ``[out, in]``. What else it changed goes there too.
* told: the settings that it was at.

    WORKBENCH_GPTQMODEL_PYTHON      a Python with gptqmodel
    WORKBENCH_LLMCOMPRESSOR_PYTHON  a Python with llmcompressor
    WORKBENCH_AUTO_ROUND_PYTHON     a Python with auto-round
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.fidelity_texts import Texts
from benchmarks.peers import started
from workbench import __version__
from workbench.catalog import get_recipe
from workbench.checkpoint import Checkpoint
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.formats.base import ConversionContext
from workbench.making import make_job

PEERS = {
    "gptqmodel": ("gptqmodel_model", "WORKBENCH_GPTQMODEL_PYTHON"),
    "llmcompressor": ("llmcompressor_model", "WORKBENCH_LLMCOMPRESSOR_PYTHON"),
    "auto-round": ("auto_round_model", "WORKBENCH_AUTO_ROUND_PYTHON"),
}


@dataclass(frozen=True)
class Asked:
    """What every tool is asked alike.

    Attributes:
        bits: of a weight.
        group_size: inputs that share a scale.
        symmetric: a fixed zero in the middle of the codes.
    """

    bits: int
    group_size: int
    symmetric: bool = True


@dataclass(frozen=True)
class Made:
    """A tool's work.

    Attributes:
        tool: its name and version.
        seconds: from the loaded model to the quantized one, for recipes the reading and writing as well.
        cpu_s: processor time of the same, all threads together.
        settings: what it was at.
    """

    tool: str
    seconds: float
    cpu_s: float
    settings: dict[str, Any]


def check_tools(tools: list[str]) -> None:
    """See that every tool is there before any of them works for an hour.

    Raises:
        WorkbenchError: a peer's environment is not named, or there is no such recipe.
    """
    for tool in tools:
        if tool not in PEERS:
            get_recipe(tool)
        elif not os.environ.get(PEERS[tool][1]):
            raise PrerequisiteError(f"set {PEERS[tool][1]} to a Python that has {tool}, or leave it out of --tools")


def quantize(tool: str, checkpoint: Checkpoint, calibration: Texts, asked: Asked, out: Path) -> Made:
    """Let a tool work.

    Args:
        tool: a peer's name, or a recipe's, whose own bits and groups are replaced.
        checkpoint: what it quantizes.
        calibration: what it may look at.
        asked: of all tools alike.
        out: folder that is made.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    return (_peer if tool in PEERS else _recipe)(tool, checkpoint, calibration, asked, out)


def _peer(tool: str, checkpoint: Checkpoint, calibration: Texts, asked: Asked, out: Path) -> Made:
    script, variable = PEERS[tool]
    ids = out.with_suffix(".ids.json")
    ids.write_text(json.dumps(calibration.ids), encoding="utf-8")
    with started(script, os.environ[variable], checkpoint=checkpoint.path, calibration=ids, **asdict(asked)) as peer:
        seconds = peer.round(out=out)
        return Made(peer.name, seconds, peer.cpu_s, peer.facts)


def _recipe(tool: str, checkpoint: Checkpoint, calibration: Texts, asked: Asked, out: Path) -> Made:
    recipe = get_recipe(tool)
    own = {"calibration_samples": len(calibration.ids), "calibration_tokens": max(map(len, calibration.ids))}
    options = {key: value for key, value in recipe.options.items() if key != "kernel"}  # a promise of other bits
    job = make_job(checkpoint, recipe.model_copy(update={"options": {**options, **asdict(asked), **own}}))
    out.mkdir()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    details = job.weights.convert(checkpoint, job.options, out, ConversionContext(calibration.texts))
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    if details["group_size"] != asked.group_size:
        raise WorkbenchError(
            f"{tool} took groups of {details['group_size']}; choose a --group that divides every layer"
        )
    settings = job.options.model_dump(mode="json", exclude=set(asdict(asked)))
    return Made(f"workbench {__version__}, {tool}", seconds, cpu_s, settings)

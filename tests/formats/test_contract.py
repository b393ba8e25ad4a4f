"""What every format must keep, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import workbench.formats
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import WorkbenchError
from workbench.formats.base import ConversionContext, Format, Options
from workbench.plugins import find_member, member_names

TEXTS = tuple(f"How many orders over {n}?\nSELECT count(*) FROM orders WHERE total > {n};" for n in range(8))


@pytest.fixture(params=member_names(workbench.formats))
def member(request: pytest.FixtureRequest) -> Format[Options]:
    return find_member(workbench.formats, request.param, "FORMAT")


@pytest.fixture
def checkpoint(tiny_checkpoint: Callable[[str], Path]) -> Checkpoint:
    return open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))


def convert(member: Format[Options], checkpoint: Checkpoint, out: Path) -> dict[str, Any]:
    for module, pip_line in member.requires:
        if find_spec(module) is None:
            pytest.skip(f"{member.name} needs {pip_line}")
    out.mkdir()
    return member.convert(checkpoint, member.options_model(), out, ConversionContext(TEXTS))


def test_says_what_it_is(member):
    assert member.name in member_names(workbench.formats)
    assert member.title
    assert issubclass(member.options_model, Options)
    assert member.architectures
    assert all(isinstance(library, str) for library in member.libraries)
    assert all(len(pair) == 2 for pair in member.requires)


def test_converts_a_small_starcoder_to_the_predicted_size(member, checkpoint, tmp_path):
    details = convert(member, checkpoint, tmp_path / "out")
    json.dumps(details)
    files = member.weight_files(tmp_path / "out")
    assert files
    real = sum(file.stat().st_size for file in files)
    assert member.size_is_exact(checkpoint)
    assert member.predicted_bytes(checkpoint, member.options_model()) == real


def test_equal_runs_give_equal_bytes(member, checkpoint, tmp_path):
    for name in ("first", "second"):
        convert(member, checkpoint, tmp_path / name)
    first = {file.name: file.read_bytes() for file in (tmp_path / "first").iterdir() if file.is_file()}
    second = {file.name: file.read_bytes() for file in (tmp_path / "second").iterdir() if file.is_file()}
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_refuses_a_stranger(member, checkpoint, tmp_path):
    stranger = Checkpoint("stranger", checkpoint.path, None, {"model_type": "mamba"}, checkpoint.tensors)
    with pytest.raises(WorkbenchError, match="mamba"):
        convert(member, stranger, tmp_path / "out")


def test_unknown_options_are_errors(member):
    with pytest.raises(ValueError, match="nonsense"):
        member.options_model.model_validate({"nonsense": 1})

"""The ledger: appended whole, read in spite of torn lines, and what a plan learns from it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import StorageError
from workbench.ledger import NAME, TAIL_BYTES, Entry, Ledger, append, read_ledger
from workbench.measure import Measurement

ENTRY = Entry(
    at="2026-11-23T12:00:00+00:00",
    machine="AMD EPYC, 2 cores, 23 GiB",
    profile="cpu",
    model="nano",
    parameters=3_400_000,
    recipe="gguf-q8_0",
    runtime="llama_cpp",
    runtime_version="llama_cpp 2026.10",
    generation="2025-08",
    workbench="0.5",
    predictor="roofline model v2",
    figures={"decode_tokens_per_s": {"predicted": 100.0, "measured": 50.0, "conditions": {}}},
)
HERE = ENTRY.machine


def entry(ratio=0.5, recipe="gguf-q8_0", **changes):
    figures = {"decode_tokens_per_s": {"predicted": 100.0, "measured": 100.0 * ratio, "conditions": {}}}
    return replace(ENTRY, recipe=recipe, figures=figures, **changes)


def prediction(value=20.0, interval=(15.0, 25.0)):
    return Measurement("decode_tokens_per_s", value, "tokens/s", "predicted", "roofline", interval=interval)


def test_what_is_appended_is_read(tmp_path):
    append(tmp_path, [ENTRY])
    append(tmp_path, [entry(recipe="fp16")])
    assert read_ledger(tmp_path, HERE).entries == (ENTRY, entry(recipe="fp16"))


def test_no_ledger_is_an_empty_one(tmp_path):
    assert read_ledger(tmp_path, HERE) == Ledger(HERE)
    append(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_only_this_machine_and_this_predictor(tmp_path):
    append(tmp_path, [ENTRY, entry(machine="another", recipe="a"), entry(predictor="older", recipe="b")])
    assert read_ledger(tmp_path, HERE, ENTRY.predictor).entries == (ENTRY,)


def test_an_artifact_that_was_built_again_counts_once(tmp_path):
    append(tmp_path, [entry(0.5), entry(0.7)])
    (error,) = read_ledger(tmp_path, HERE).errors()
    assert (error.artifacts, error.median) == (1, 0.7)


@pytest.mark.parametrize("kept", [1, 40, 200])
def test_a_torn_last_line_is_ignored_and_cut_off(tmp_path, kept):
    append(tmp_path, [ENTRY, entry(recipe="fp16")])
    path = tmp_path / NAME
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + kept])
    assert read_ledger(tmp_path, HERE).entries == (ENTRY,)
    append(tmp_path, [entry(recipe="int8")])
    assert path.read_bytes().startswith(whole[:first])
    assert [one.recipe for one in read_ledger(tmp_path, HERE).entries] == ["gguf-q8_0", "int8"]


def test_a_whole_line_without_its_end_is_kept(tmp_path):
    append(tmp_path, [ENTRY])
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-1])
    append(tmp_path, [entry(recipe="int8")])
    assert len(read_ledger(tmp_path, HERE).entries) == 2


@pytest.mark.parametrize("line", ["[]", "{}", '{"schema_version": 9}', "null", '{"schema_version": 1, "figures": 3}'])
def test_strange_lines_are_passed_over(tmp_path, line):
    append(tmp_path, [ENTRY])
    with (tmp_path / NAME).open("a") as file:
        file.write(line.replace("}", f', "machine": {json.dumps(HERE)}}}') + "\n")
    assert read_ledger(tmp_path, HERE).entries == (ENTRY,)


@pytest.mark.parametrize(
    "figure", [[1], {"predicted": "1", "measured": 2}, {"predicted": 1.0, "measured": float("inf")}]
)
def test_figures_that_are_none_teach_nothing(tmp_path, figure):
    append(tmp_path, [replace(ENTRY, figures={"decode_tokens_per_s": figure})])
    ledger = read_ledger(tmp_path, HERE)
    assert ledger.errors() == []
    assert ledger.learnt([prediction()], ENTRY.runtime, ENTRY.parameters) == (prediction(),)


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    code = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from workbench.ledger import Entry, append\n"
        "import json; e = Entry(**json.loads(sys.argv[2]))\n"
        "[append(Path(sys.argv[1]), [replace(e, recipe=f'{sys.argv[3]}-{n}')]) for n in range(25)]\n"
    )
    record = json.dumps({key: getattr(ENTRY, key) for key in Entry.__dataclass_fields__})
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), record, str(n)]) for n in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = {one.recipe for one in read_ledger(tmp_path, HERE).entries}
    assert found == {f"{writer}-{n}" for writer in range(3) for n in range(25)}


def test_only_the_end_of_a_long_ledger_is_read(tmp_path):
    append(tmp_path, [entry(recipe=f"r{n}") for n in range(10_000)])
    assert (tmp_path / NAME).stat().st_size > 2 * TAIL_BYTES
    found = read_ledger(tmp_path, HERE).entries
    assert 500 < len(found) < 10_000
    assert found[-1].recipe == "r9999"


def test_a_disk_that_refuses_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        append(tmp_path / "file", [ENTRY])
    with pytest.raises(StorageError):
        read_ledger(tmp_path / "file", HERE)


@given(st.lists(st.floats(0.1, 10), max_size=6), st.floats(0.1, 10))
def test_what_was_seen_only_widens(ratios, another):
    """The interval holds the one before, the value, and nine of ten ratios."""
    entries = tuple(entry(ratio, f"r{n}", parameters=10**11) for n, ratio in enumerate(ratios))
    (found,) = Ledger(HERE, entries).learnt([prediction()], "llama_cpp", 7_000_000_000)
    assert found.value == 20.0  # models of another size do not move it
    assert found.interval[0] <= 15.0
    assert found.interval[1] >= 25.0
    if ratios and another < min(ratios):
        (wider,) = Ledger(HERE, (*entries, entry(another, "more", parameters=10**11))).learnt(
            [prediction()], "llama_cpp", 7_000_000_000
        )
        assert wider.interval[0] <= found.interval[0]


def test_similar_models_move_the_figure_the_further_the_more_there_are():
    values = []
    for count in (2, 3, 30):
        entries = tuple(entry(0.5, f"r{n}", parameters=7_000_000_000) for n in range(count))
        (found,) = Ledger(HERE, entries).learnt([prediction()], "llama_cpp", 8_000_000_000)
        values.append(found.value)
        assert found.interval[0] <= found.value <= found.interval[1]
    assert values[0] == 20.0
    assert 20.0 > values[1] > values[2] > 10.0


def test_another_engines_errors_teach_nothing():
    (found,) = Ledger(HERE, (entry(0.1),)).learnt([prediction()], "transformers", 3_400_000)
    assert found == prediction()

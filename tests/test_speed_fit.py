"""The calibration: its facts are sourced, its file is what the fit gives, and left-out figures are predicted."""

import json
from collections import Counter

import numpy as np
import pytest
import yaml

from workbench.catalog import get_profile
from workbench.engine_speeds import SPEEDS
from workbench.roofline import Reach, seconds
from workbench.speed_effects import Cell, _keys, _Problem, cell_of, compute_cap, error_of, fit
from workbench.speed_facts import FACTS, load_of, read_facts

FACTS_READ = read_facts(get_profile)
LLAMA_CPP = [fact for fact in FACTS_READ.measurements if fact.runtime == "llama_cpp"]


def test_every_source_says_where_and_when():
    for source in yaml.safe_load(FACTS.read_text(encoding="utf-8"))["sources"]:
        assert source["source"].startswith("https://")
        assert str(source["date"])[:2] == "20"
        assert all(len(row) == 7 and (row[5] or row[6]) for row in source["rows"])


def test_no_figure_is_told_twice():
    told = Counter(
        (f.source, f.profile.name, f.model, f.format, f.kind, f.terms, f.rate) for f in FACTS_READ.measurements
    )
    assert max(told.values()) == 1


@pytest.mark.parametrize(
    ("model", "weights", "gib"),
    # sizes that llama-bench prints beside its figures; 8B Q4_K_M as the table of VRAM in XiongjieDai's README
    [
        ("llama-2-7b", "f16", 12.55),
        ("llama-2-7b", "q8_0", 6.67),
        ("llama-2-7b", "q4_0", 3.56),
        ("llama-3-8b", "q4_k_m", 4.58),
    ],
)
def test_bytes_of_a_format(model, weights, gib):
    shape = yaml.safe_load(FACTS.read_text(encoding="utf-8"))["models"][model]
    table = shape["vocab"] * shape["hidden"] * {"f16": 2, "q8_0": 1.0625}.get(weights, 0.5625)
    assert (load_of(shape, weights).weight_bytes + table) / 2**30 == pytest.approx(gib, rel=0.005)


def test_no_measurement_beats_the_roofline():
    """At full reach, with the products' cap of its card, every published figure takes longer."""
    for fact in FACTS_READ.measurements:
        best = Reach(1.0, 2 * compute_cap(fact.profile), attention=100, attention_compute=100, activations=100)
        assert fact.tokens / fact.rate > seconds(fact.terms, best)


def test_slopes_are_those_of_the_errors():
    keys = sorted({key for fact in LLAMA_CPP for key in _keys(cell_of(fact))}, key=repr)
    problem = _Problem(LLAMA_CPP, keys, FACTS_READ.priors["llama_cpp"])
    theta = np.random.default_rng(0).normal(0, 0.2, len(keys))
    for place in range(0, len(keys), 7):
        step = np.zeros(len(keys))
        step[place] = 1e-6
        slope = (problem.errors(theta + step) - problem.errors(theta - step)) / 2e-6
        assert problem.slopes(theta)[:, place] == pytest.approx(slope, abs=1e-6)


def test_the_shipped_file_is_what_the_facts_give():
    speeds = json.loads(SPEEDS.read_text(encoding="utf-8"))
    fitted = fit(LLAMA_CPP, FACTS_READ.priors["llama_cpp"])
    for generation in speeds["llama_cpp"]["generations"]:
        machine = generation["machines"]["cuda"]["rtx4090"]
        for bits in (16, 8, 4):
            cell = Cell("cuda", generation["name"], "rtx4090", bits)
            assert machine["bits"][str(bits)]["weights"] == pytest.approx(fitted.value("weights", cell), rel=0.01)
    assert set(speeds) == set(FACTS_READ.engines)


def test_a_model_that_was_left_out_is_predicted():
    """The 70B models, in a fit that has seen nothing larger than 8B on those cards since 2024."""
    left_out = [fact for fact in LLAMA_CPP if "70b" in fact.model or "65b" in fact.model]
    fitted = fit([fact for fact in LLAMA_CPP if fact not in left_out], FACTS_READ.priors["llama_cpp"])
    off = [abs(np.expm1(error_of(fact, fitted))) for fact in left_out]
    assert np.median(off) < 0.15


def test_the_fit_follows_its_figures():
    fitted = fit(LLAMA_CPP, FACTS_READ.priors["llama_cpp"])
    off = {kind: [abs(error_of(f, fitted)) for f in LLAMA_CPP if f.kind == kind] for kind in ("decode", "prefill")}
    assert np.median(off["decode"]) < 0.05
    assert np.median(off["prefill"]) < 0.08


def test_spreads_grow_as_evidence_weakens():
    for engine in json.loads(SPEEDS.read_text(encoding="utf-8")).values():
        for spread in engine["spread"].values():
            assert list(spread.values()) == sorted(spread.values())

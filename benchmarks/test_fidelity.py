"""The fitted recipe's KL divergence on the bundled model beside each peer's, at 3 bits.

    WORKBENCH_GPTQMODEL_PYTHON=... python -m pytest benchmarks/test_fidelity.py -m peer

``fidelity.py`` has the whole comparison, also of a second model; this is its smallest part with a verdict: paired text
by text, our divergence over all tokens is lower by more than twice the standard error of the difference. Minutes each.
"""

from __future__ import annotations

import pytest

from benchmarks.fidelity import RECIPES, Run
from benchmarks.fidelity_peers import PEERS, Asked
from benchmarks.fidelity_table import Row, lead, mean_cell
from benchmarks.fidelity_texts import texts_for
from benchmarks.peers import named
from workbench.checkpoint import open_checkpoint
from workbench.nano import MODEL_NAME

FITTED = RECIPES[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    checkpoint = open_checkpoint(MODEL_NAME)
    return Run(checkpoint, texts_for(checkpoint, None), Asked(bits=3, group_size=128), tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def ours(run: Run) -> Row:
    return run.row(FITTED, again=False)


@pytest.mark.peer
@pytest.mark.parametrize("peer", PEERS)
def test_the_fitted_recipe_diverges_less(request: pytest.FixtureRequest, run: Run, peer: str) -> None:
    named(PEERS[peer][1], f"a Python that has {peer}")
    mine, theirs = request.getfixturevalue("ours"), run.row(peer, again=False)
    for scope in ("heldout, all", "unseen, all"):
        found = lead(mine.tokens[scope], theirs.tokens[scope])
        print(f"{mine.tool} under {theirs.tool}, {scope}: {mean_cell(found)} nats")
        assert found.se is not None and found.value > 2 * found.se

"""What the benchmarks share: the bundled model as a float16 artifact, and questions to ask it.

python -m pytest benchmarks            # ratios stand in each group's table
"""

import pytest

from workbench import catalog
from workbench.checkpoint import open_checkpoint
from workbench.convert import make_artifact
from workbench.nano import MODEL_NAME
from workbench.request import question_sets
from workbench.runtimes.base import LoadOptions


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    checkpoint = open_checkpoint(MODEL_NAME)
    made = make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path_factory.mktemp("store") / "fp16")
    with catalog.get_runtime("transformers").load(made.artifact, LoadOptions()) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def prompts():
    """All bundled questions, as the model is shown them."""
    prompt = open_checkpoint(MODEL_NAME).prompt
    return [prompt.render(one.schema(q.db_name), q.question) for one in question_sets() for q in one.questions]

"""The folder that makes an artifact an MLflow model: an ``MLmodel`` file, no code and no pickle in it.

MLflow loads a model by the module that ``MLmodel`` names; ours is ``workbench.served_model``, which opens the artifact
with the workbench's own engine. So the folder holds only data: the artifact's manifest, the place of the weights or
the weights themselves, the signature and an example to ask with::

    MLmodel  artifact.json  requirements.txt  python_env.yaml  input_example.json  serving_input_example.json
    weights/...             only where the weights were to be uploaded (--log-weights)

The environment is written down, not inferred: inferring would load the model once more, in a process of its own.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.artifact import MANIFEST_NAME, Artifact
from workbench.plugins import installed_version
from workbench.trackers.base import TrackedModel

LOADER = "workbench.served_model"
ARTIFACT_NAME = "artifact.json"
WEIGHTS_NAME = "weights"
EXAMPLE = {
    "question": "How many cities are there?",
    "schema": "CREATE TABLE city (id integer PRIMARY KEY, name text, population integer);",
}


def write_model(folder: Path, model: TrackedModel, artifact: Artifact, uploaded: bool) -> None:
    """Write everything but the weights.

    Args:
        folder: an empty one.
        model: what to serve, and how.
        artifact: holds the weights.
        uploaded: whether the weights will lie in ``folder/weights``; else they stay where they are.
    """
    manifest = json.loads((artifact.path / MANIFEST_NAME).read_text(encoding="utf-8"))
    place = WEIGHTS_NAME if uploaded else str(artifact.path.resolve())
    _write_json(folder / ARTIFACT_NAME, {"path": place, "manifest": manifest, "serving": model.serving})
    requirements = [f"sqlcoder-workbench=={__version__}", f"mlflow=={installed_version('mlflow')}"]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    environment = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
    (folder / "python_env.yaml").write_text(environment, encoding="utf-8")
    _write_json(folder / "input_example.json", {"columns": list(EXAMPLE), "data": [list(EXAMPLE.values())]})
    served = {"dataframe_split": {"columns": list(EXAMPLE), "data": [list(EXAMPLE.values())]}}
    _write_json(folder / "serving_input_example.json", served)
    _mlmodel(model).save(str(folder / "MLmodel"))


def _mlmodel(model: TrackedModel) -> Any:
    """MLflow's own record of the model."""
    from mlflow import pyfunc
    from mlflow.models import Model

    record = Model(
        signature=_signature(model),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
        metadata={"recipe": model.recipe, "build_key": model.build_key},
    )
    serving = model.serving
    config = {"context": serving.get("context", 0), "device": "", "threads": 0}
    pyfunc.add_to_model(
        record, LOADER, data=ARTIFACT_NAME, python_env="python_env.yaml", model_config=config, code=None
    )
    return record


def _signature(model: TrackedModel) -> Any:
    """Question and schema (or a whole prompt) in, SQL out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    names = ("question", "schema", "instructions", "prompt")
    beams, context = model.serving.get("beams", 1), model.serving.get("context", 1024)
    limit = min(model.serving.get("max_new_tokens", 300), context - 1)
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, name, required=False) for name in names]),
        outputs=Schema([ColSpec(DataType.string, "sql")]),
        params=ParamSchema(
            [ParamSpec("beams", DataType.long, beams), ParamSpec("max_new_tokens", DataType.long, limit)]
        ),
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

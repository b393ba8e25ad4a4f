"""An artifact as an MLflow model: loaded by MLflow itself, and served by it over HTTP."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow_servers import running
from tracked_artifacts import MODEL, SERVING, mock_artifact

from workbench.artifact import Artifact, open_artifact
from workbench.evals.extraction import extract_sql
from workbench.progress import SILENT
from workbench.prompt import NANO
from workbench.request import question_sets
from workbench.runtimes.base import Decoding
from workbench.trackers._mlflow_model import EXAMPLE, write_model
from workbench.trackers.base import TrackedModel

ASKED = {"question": "How many are there?", "schema": "CREATE TABLE a (b integer);"}


def model_folder(folder: Path, artifact: Artifact, **serving: Any) -> Path:
    folder.mkdir()
    served = TrackedModel(MODEL, artifact.name, "key", "cpu", serving={**SERVING, **serving})
    write_model(folder, served, artifact, uploaded=False)
    return folder


@pytest.fixture
def load(tmp_path: Path):  # type: ignore[no-untyped-def]  # MLflow's model has no types here
    from mlflow import pyfunc

    def load_model(artifact: Artifact | None = None, **serving: Any) -> Any:
        chosen = artifact or mock_artifact(tmp_path / "artifact", answer="SELECT 2; then more")
        return pyfunc.load_model(str(model_folder(tmp_path / "model", chosen, **serving)))

    return load_model


def answers(model: Any, *rows: dict[str, Any], **params: int) -> list[str]:
    import pandas as pd

    return list(model.predict(pd.DataFrame(rows), params=params or None)["sql"])


def test_a_question_is_answered_with_its_first_statement(load) -> None:
    model = load()
    assert answers(model, ASKED, {**ASKED, "instructions": "be brief"}) == ["SELECT 2", "SELECT 2"]
    assert answers(model, {"prompt": "SELECT"}) == ["SELECT 2"]
    assert answers(model, ASKED, beams=4, max_new_tokens=6) == ["SELECT"]


def test_signature_and_example_say_what_to_send(load) -> None:
    model = load()
    assert model.metadata.signature.inputs.input_names() == ["question", "schema", "instructions", "prompt"]
    assert model.metadata.signature.outputs.input_names() == ["sql"]
    assert {one.name: one.default for one in model.metadata.signature.params} == {"beams": 1, "max_new_tokens": 255}
    assert model.input_example.to_dict("records") == [EXAMPLE]
    assert list(model.predict(model.input_example)["sql"]) == ["SELECT 2"]


def test_nothing_is_unpickled(load, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, refuse)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert answers(load(), ASKED) == ["SELECT 2"]


@pytest.mark.parametrize(
    ("row", "params", "reason"),
    [
        ({"question": "x"}, {}, "row 0 needs a question and a schema"),
        ({"question": " ", "schema": "x"}, {}, "row 0 needs a question and a schema"),
        ({"prompt": ""}, {}, "row 0 needs a question and a schema"),
        ({"prompt": "x" * 10**6}, {}, "1000000 characters, too many for 256 tokens"),
        (ASKED, {"beams": 10**6}, "beams is 1000000; give 1 to 16"),
        (ASKED, {"beams": 0}, "beams is 0"),
        (ASKED, {"max_new_tokens": 256}, "max_new_tokens is 256; give 1 to 255"),
    ],
)
def test_a_bad_request_is_told_in_one_sentence(load, row: dict, params: dict, reason: str) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=reason) as caught:
        answers(load(), row, **params)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "stack_trace" not in json.loads(caught.value.serialize_as_json())


def test_too_many_rows_are_refused(load) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="1001 rows were sent; send at least one and at most 1000"):
        answers(load(), *([ASKED] * 1001))


@pytest.mark.parametrize("name", ["context", "threads"])
def test_a_config_without_a_number_is_told_in_one_sentence(tmp_path: Path, name: str) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    folder = str(model_folder(tmp_path / "model", mock_artifact(tmp_path / "q4", answer="SELECT 2")))
    assert answers(pyfunc.load_model(folder, model_config={name: "512"}), ASKED) == ["SELECT 2"]
    with pytest.raises(MlflowException, match=f"config says {name}: 'many'; give a whole number"):
        pyfunc.load_model(folder, model_config={name: "many"})


def test_a_config_of_a_shorter_context_leaves_shorter_answers(tmp_path: Path) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    folder = model_folder(tmp_path / "model", mock_artifact(tmp_path / "q4", answer="SELECT 2"))
    model = pyfunc.load_model(str(folder), model_config={"context": 128})
    assert answers(model, ASKED) == ["SELECT 2"]
    with pytest.raises(MlflowException, match="max_new_tokens is 128; give 1 to 127"):
        answers(model, ASKED, max_new_tokens=128)


@pytest.mark.parametrize("harm", ["changed", "gone", "more", "none left", "prompt"])
def test_what_is_not_what_was_registered_is_refused(load, tmp_path: Path, harm: str) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    artifact = mock_artifact(tmp_path / "q4", answer="SELECT 3")
    folder = model_folder(tmp_path / "harmed", artifact, **({"prompt": "v99"} if harm == "prompt" else {}))
    weights = artifact.path / "mock.json"
    if harm == "changed":
        weights.write_text(weights.read_text().replace("3", "4"))
    elif harm == "gone":
        weights.unlink()
    elif harm == "more":
        (artifact.path / "modeling.py").write_text("print('hello')")
    elif harm == "none left":
        artifact.path.rename(tmp_path / "elsewhere")
    reasons = {
        "changed": "is not what was registered; build q4 again", "gone": "is not what was registered",
        "more": "modeling.py does not belong to q4", "none left": "are no longer at .*--log-weights",
        "prompt": "'v99', unknown here",
    }  # fmt: skip
    with pytest.raises(MlflowException, match=reasons[harm]):
        pyfunc.load_model(str(folder))


def test_an_artifact_json_that_leads_outside_is_refused(tmp_path: Path) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    folder = model_folder(tmp_path / "model", mock_artifact(tmp_path / "q4"))
    record = json.loads((folder / "artifact.json").read_text())
    record["manifest"]["files"][0]["path"] = "../../etc/passwd"
    (folder / "artifact.json").write_text(json.dumps(record))
    with pytest.raises(MlflowException, match="cannot be understood"):
        pyfunc.load_model(str(folder))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_a_broken_artifact_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    folder = model_folder(tmp_path / "model", mock_artifact(tmp_path / "q4"))
    (folder / "artifact.json").write_text(text)
    with pytest.raises(MlflowException, match="build it again"):
        pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The bundled model for llama.cpp."""
    from workbench.convert import convert
    from workbench.request import ConvertRequest

    folder = tmp_path_factory.mktemp("gguf") / "q8"
    convert(ConvertRequest("gguf-q8_0", folder))
    return open_artifact(folder)


HOSTILE = [
    ("application/json", "{"),
    ("application/json", "[]"),
    ("application/json", '{"dataframe_records": [{"question": "x"}]}'),
    ("application/json", '{"dataframe_records": [{"prompt": "\\ud800"}]}'),
    ("application/json", '{"dataframe_records": [{"prompt": {"a": 1}}]}'),
    ("application/json", json.dumps({"dataframe_records": [{"prompt": "SELECT " * 3000}]})),
    ("application/json", json.dumps({"dataframe_records": [ASKED], "params": {"beams": 10**9}})),
    ("application/json", json.dumps({"dataframe_records": [ASKED], "params": {"beams": "many"}})),
    ("application/json", '{"inputs": 1}'),
    ("text/plain", "hello"),
]


def test_mlflows_server_answers_as_the_engine_does_and_survives_bad_requests(gguf: Artifact, tmp_path: Path) -> None:
    from workbench.artifact_under_test import ArtifactUnderTest

    asked = question_sets()[0].thinned(4)
    rows = [{"question": one.question, "schema": asked.schema(one.db_name)} for one in asked.questions]
    told: dict[int, str] = {}
    prompts = [NANO.render(row["schema"], row["question"]) for row in rows]
    ArtifactUnderTest(gguf).answer(
        prompts, Decoding(NANO.stop, 300), lambda place, answer: told.update({place: extract_sql(answer.text)}), SILENT
    )
    folder = model_folder(tmp_path / "model", gguf, context=1024)
    arguments = ["models", "serve", "-m", str(folder), "--env-manager", "local"]
    with running(arguments, tmp_path / "log.txt") as (address, _):
        send = requests.Session()
        answer = send.post(f"{address}/invocations", json={"dataframe_records": rows}, timeout=120)
        assert answer.status_code == 200, answer.text
        assert [one["sql"] for one in answer.json()["predictions"]] == [told[place] for place in range(len(rows))]
        for kind, body in HOSTILE:
            refused = send.post(f"{address}/invocations", data=body, headers={"Content-Type": kind}, timeout=60)
            assert refused.status_code >= 400, body
            assert str(gguf.path) not in refused.text, body
            assert "Traceback" not in refused.text, (body, refused.text)
        again = send.post(f"{address}/invocations", json={"dataframe_records": rows[:1]}, timeout=60)
        assert again.json()["predictions"] == [{"sql": told[0]}]

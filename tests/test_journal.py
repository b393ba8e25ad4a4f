from hypothesis import given
from hypothesis import strategies as st

from workbench.journal import Journal

ENTRIES = [{"part": "a"}, {"part": "b"}, {"part": "c"}]


def filled(path, key="key"):
    journal = Journal(path, key)
    journal.keep(0)
    for entry in ENTRIES:
        journal.add(entry)


def test_entries_come_back(tmp_path):
    filled(tmp_path / "j")
    assert Journal(tmp_path / "j", "key").entries == ENTRIES


def test_another_key_knows_nothing(tmp_path):
    filled(tmp_path / "j")
    assert Journal(tmp_path / "j", "other").entries == []


def test_only_the_first_are_kept(tmp_path):
    filled(tmp_path / "j")
    journal = Journal(tmp_path / "j", "key")
    journal.keep(1)
    journal.add({"part": "d"})
    assert Journal(tmp_path / "j", "key").entries == [{"part": "a"}, {"part": "d"}]


def test_no_path_keeps_nothing():
    journal = Journal()
    journal.add({"part": "a"})
    journal.keep(1)
    assert journal.entries == [{"part": "a"}]


@given(cut=st.integers(0, 200), rubbish=st.binary(max_size=20))
def test_a_cut_or_damaged_file_gives_a_beginning(tmp_path_factory, cut, rubbish):
    path = tmp_path_factory.mktemp("j") / "j"
    filled(path)
    path.write_bytes(path.read_bytes()[:cut] + rubbish)
    entries = Journal(path, "key").entries
    assert entries[: len(ENTRIES)] == ENTRIES[: len(entries)]

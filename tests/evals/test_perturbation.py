"""Other rows keep every rule the given ones obey."""

from hypothesis import given
from hypothesis import strategies as st

from workbench.evals.perturbation import Perturbation
from workbench.evals.planting import Plant
from workbench.evals.table_data import Column, Data, Link, TableData

NUMBER, TEXT = ("integer", "N"), ("text", "S")


def table(name, columns, rows, keys=()):
    made = tuple(Column(one, one, *kind) for one, kind in columns.items())
    return TableData(name, "public", name, made, [list(row) for row in rows], {}, keys)


def shop(parents=8, children=24):
    owners = [(str(at), f"name {at}", "NE"[at % 2]) for at in range(parents)]
    sales = [
        (str(at), str(at % parents), str(at * 7 % 11), str(at * 3), str(at * 7 % 11 + at * 3)) for at in range(children)
    ]
    customer = table("customer", {"id": NUMBER, "name": TEXT, "region": TEXT}, owners, ((0,),))
    columns = {"sale_id": NUMBER, "customer": NUMBER, "net": NUMBER, "tax": NUMBER, "gross": NUMBER}
    return Data({"customer": customer, "sale": table("sale", columns, sales, ((0,),))}), [
        Link("sale", (1,), "customer", (0,))
    ]


def values(rows, column):
    return [row[column] for row in rows]


def test_the_same_seed_gives_the_same_rows_and_another_others():
    data, links = shop()
    made = [Perturbation(data, links).rows(seed) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert data == shop()[0]  # what was given is as it was


def test_rows_go_but_references_and_sums_stay():
    data, links = shop()
    for seed in range(20):
        rows = Perturbation(data, links).rows(seed)
        assert 0 < len(rows["sale"]) < 24
        assert set(values(rows["sale"], 1)) == set(values(rows["customer"], 0))  # no orphan, nobody without a sale
        assert all(int(net) + int(tax) == int(gross) for _, _, net, tax, gross in rows["sale"])
        assert len(set(values(rows["sale"], 0))) == len(rows["sale"])


def test_free_columns_are_shuffled_and_keys_are_not():
    data, links = shop()
    drawn = Perturbation(data, links)
    assert drawn.bundles == {"customer": [[1], [2]], "sale": [[2, 3, 4]]}
    assert drawn.free == {"customer": {1, 2}, "sale": set()}
    rows = drawn.rows(3)["customer"]
    assert [f"name {row[0]}" for row in rows] != values(rows, 1)
    assert Perturbation(data, links, {"customer": {1}}).bundles["customer"] == [[2]]


def test_protected_rows_stay_as_they_are():
    data, links = shop()
    for seed in range(10):
        rows = Perturbation(data, links).rows(seed, {"sale": {5}, "customer": {5}})
        assert data.tables["sale"].rows[5] in rows["sale"]
        assert data.tables["customer"].rows[5] in rows["customer"]


def test_plants_go_into_free_columns_only():
    data, links = shop()
    plants = [Plant(("customer", 2), "S"), Plant(("customer", 0), "99"), Plant(("sale", 4), "-1")]
    made = [Perturbation(data, links).rows(seed, None, plants) for seed in range(10)]
    assert any("S" in values(rows["customer"], 2) for rows in made)
    assert not any("99" in values(rows["customer"], 0) or "-1" in values(rows["sale"], 4) for rows in made)


def test_a_database_that_hangs_together_keeps_all_its_rows():
    columns = {"id": NUMBER, "other_id": NUMBER}
    ring = Data({"ring": table("ring", columns, [(str(at), str((at + 1) % 5)) for at in range(5)], ((0,),))})
    assert Perturbation(ring, [Link("ring", (1,), "ring", (0,))]).rows(1) == {"ring": ring.tables["ring"].rows}


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True),
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d", "e", "f", None]), st.sampled_from(["x", "y", None])), max_size=12
    ),
    st.integers(0, 50),
)
def test_inclusions_that_held_still_hold(keys, children, seed):
    parent = table("p", {"key": TEXT, "v": TEXT}, [(key, key * 2) for key in keys], ((0,),))
    child = table("c", {"ref": TEXT, "w": TEXT}, children)
    rows = Perturbation(Data({"p": parent, "c": child}), [Link("c", (0,), "p", (0,))]).rows(seed)
    refs, there = {row[0] for row in children} - {None}, set(keys)
    new_refs, new_there = set(values(rows["c"], 0)) - {None}, set(values(rows["p"], 0))
    assert new_refs <= new_there or not refs <= there
    assert new_there <= new_refs or not there <= refs
    assert rows["p"] and (rows["c"] or not children)
    assert all(values(rows["c"], 1).count(one) <= [w for _, w in children].count(one) for one in ("x", "y", None))

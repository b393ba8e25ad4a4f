"""Forms about which parents have which children: anti-joins, EXISTS, set operations, CTEs, outer joins.

They count as ``table_join`` where two tables meet, as ``group_by`` where a group is compared.
"""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from workbench.nano.columns import Column, Table
from workbench.nano.draw import Draw, Made
from workbench.nano.forms import form
from workbench.nano.forms_join import source


@form("table_join", 1.1)
def without_children(d: Draw) -> Made:
    """Parents without any child, or without one that fulfils a condition."""
    t, k, p = d.link(named=False)
    s = d.shown(p)
    c = d.where(t, alias=True) if d.chance(0.6) else None
    count = d.chance(0.35)
    heads = (
        ["How many {parents} have no {rows} {c}", "Count the {parents} without any {rows} {c}",
         "@is the @count of {parents} that have no {rows} {c}"] if count else
        ["@show the {many} of {parents} that have no {rows} {c}",
         "Which {parents} do not have any {rows} {c}? [Show|List] their {many}",
         "[List|Find] {parents} without any {rows} {c}, giving their {many}"]
    )
    question = d.say(*heads, many=s.many, parents=p.many, rows=t.many, c=c.text if c else "")
    head = "COUNT(*)" if count else f"{p.alias}.{s.name}"
    inner = f"SELECT 1 FROM {t.name} {t.alias} WHERE {t.alias}.{k.name} = {p.alias}.{p.key.name}"
    inner += f" AND {c.sql}" if c else ""
    return question, f"SELECT {head} FROM {p.name} {p.alias} WHERE NOT EXISTS ({inner})", False


@form("table_join")
def with_some_child(d: Draw) -> Made:
    t, k, p = d.link(named=False)
    s = d.shown(p)
    c = d.where(t, alias=True)
    own = d.where(p, alias=True) if d.chance(0.35) else None
    question = d.say(
        "@show the {many} of {parents} {own} that have at least one {row} {c}",
        "Which {parents} {own} have at least one {row} {c}? [Show|List] their {many}",
        "[List|Find] {parents} {own} that have some {rows} {c}, giving their {many}",
        many=s.many, parents=p.many, row=t.one, rows=t.many, c=c.text, own=own.text if own else "",
    )
    inner = f"SELECT 1 FROM {t.name} {t.alias} WHERE {t.alias}.{k.name} = {p.alias}.{p.key.name} AND {c.sql}"
    front = f"{own.sql} AND " if own else ""
    return question, f"SELECT {p.alias}.{s.name} FROM {p.name} {p.alias} WHERE {front}EXISTS ({inner})", False


@form("table_join")
def count_with_zero(d: Draw) -> Made:
    """Outer join: every parent with its count, zeros included."""
    t, k, p = d.link()
    assert p.label is not None
    c = d.where(p, alias=True) if d.chance(0.6) else None
    question = d.say(
        "[Show|List] the {one} of every {parent} {c} and the @count of its {rows}, including those with none",
        "How many {rows} does each {parent} {c} have, counting zero for those without any? Show the {one} too",
        "For every {parent} {c}, even without {rows}, [show|give] the {one} and the @count of {rows}",
        one=p.label.one, parent=p.one, rows=t.many, c=c.text if c else "",
    )
    name = f"{p.alias}.{p.label.name}"
    middle = f" WHERE {c.sql}" if c else ""
    sql = (f"SELECT {name}, COUNT({t.alias}.{t.key.name}) FROM {p.name} {p.alias} LEFT JOIN {t.name} {t.alias} "
           f"ON {t.alias}.{k.name} = {p.alias}.{p.key.name}{middle} GROUP BY {name}")
    return question, sql, False


SETS = {
    "INTERSECT": ("that have {rows} {a} and also {rows} {b}", "with both {rows} {a} and {rows} {b}"),
    "EXCEPT": ("that have {rows} {a} but no {rows} {b}", "with {rows} {a} but without any {rows} {b}"),
    "UNION": ("that have {rows} {a} or {rows} {b}", "with {rows} {a} or {rows} {b}"),
}


@form("table_join", 1.2)
def set_operation(d: Draw) -> Made:
    """Parents by two kinds of children, combined as sets."""
    t, k, p = d.link(("category",))
    assert p.label is not None
    operator = d.pick(list(SETS))
    a = d.where(t, alias=True)
    b = d.where(t, alias=True, avoid=(a.column,))
    if d.chance(0.6):
        x = d.column(t, "category")
        first = d.value(t, x)
        second = d.pick([v for v in x.values if v != first])
        texts = (f"with {x.one} {first}", f"with {x.one} {second}")
        conditions = (f"{t.alias}.{x.name} = '{first}'", f"{t.alias}.{x.name} = '{second}'")
    else:
        texts, conditions = (a.text, b.text), (a.sql, b.sql)
    question = d.say(
        "@show the {many} of {parents} {which}",
        "Which {parents} are there {which}? [Show|List] each {one} once",
        "[List|Find] the [different |]{many} of {parents} {which}",
        many=p.label.many, one=p.label.one, parents=p.many,
        which=d.pick(SETS[operator]).format(rows=t.many, a=texts[0], b=texts[1]),
    )
    half = f"SELECT {p.alias}.{p.label.name} FROM {source(t, k, p)} WHERE "
    return question, f"{half}{conditions[0]} {operator} {half}{conditions[1]}", False


@form("where", 0.6)
def set_of_ids(d: Draw) -> Made:
    """Keys of a parent that do, or do not, occur among the children."""
    t, k, p = d.link(named=False)
    operator, words = d.pick([("EXCEPT", "but have no"), ("INTERSECT", "and also have")])
    a, b = d.where(p), d.where(t)
    tail = f"{a.text}, {words} {t.many} {b.text}"
    question = d.say(
        "@show the ids of {parents} which are {parents} {tail}",
        "[List|Find] the ids of the {parents} {tail}",
        "For {parents} {tail}, [list|show] the ids",
        parents=p.many, tail=tail,
    )
    sql = (f"SELECT {p.key.name} FROM {p.name} WHERE {a.sql} {operator} "
           f"SELECT {k.name} FROM {t.name} WHERE {b.sql}")
    return question, sql, False


def total_of(d: Draw, t: Table) -> tuple[str, str]:
    """(SQL, words) of a count or a sum of the children."""
    if d.chance(0.4) or not [c for c in t.having("amount", "integer") if c.adds]:
        return "COUNT(*)", f"number of {t.many}"
    x = d.measure(t, adds=True)
    return f"SUM({t.alias}.{x.name})", f"total {x.one} of {t.many}"


def grouped_cte(t: Table, k: Column, p: Table, measure: str) -> str:
    assert p.label is not None
    name = f"{p.alias}.{p.label.name}"
    return f"WITH x AS (SELECT {name}, {measure} AS n FROM {source(t, k, p)} GROUP BY {name})"


@form("group_by", 1.1)
def totals_above_average(d: Draw) -> Made:
    """Parents whose total beats the average total over parents."""
    t, k, p = d.link()
    assert p.label is not None
    measure, what = total_of(d, t)
    more = d.chance(0.6)
    words = "[above|greater than|higher than]" if more else "[below|less than|lower than]"
    question = d.say(
        "@show the {many} of {parents} whose {what} is " + words + " the average {what} per {parent}",
        "Which {parents} have a {what} " + words + " the average per {parent}? [Show|List] their {many}",
        "[List|Find] {parents} with a {what} " + words + " the average {what} over {parents} that have any, "
        "giving {many}",
        many=p.label.many, parents=p.many, parent=p.one, what=what,
    )
    sign = ">" if more else "<"
    sql = f"{grouped_cte(t, k, p, measure)} SELECT {p.label.name} FROM x WHERE n {sign} (SELECT AVG(n) FROM x)"
    return question, sql, False


@form("group_by")
def largest_per_category(d: Draw) -> Made:
    """In each category, the row whose number is the category's maximum (or minimum)."""
    t = d.table("category", "number")
    s, x, y = d.shown(t), d.column(t, "category"), d.measure(t)
    function, word = d.pick([("MAX", "maximum"), ("MAX", "highest"), ("MIN", "minimum"), ("MIN", "lowest")])
    question = d.say(
        "For each {x}, [show|give] the {x} and the {one} of every {row} with the {word} {y} of that {x}",
        "Which {rows} have the {word} {y} within their {x}? [Show|List] the {x} and the {one}",
        "[List|Show] the {x} and the {one} of the {rows} whose {y} equals the {word} {y} of their {x}",
        x=x.one, y=y.one, one=s.one, row=t.one, rows=t.many, word=word,
    )
    a = t.alias
    inner = f"SELECT {x.name}, {function}({y.name}) AS n FROM {t.name} GROUP BY {x.name}"
    sql = (f"SELECT {a}.{x.name}, {a}.{s.name} FROM {t.name} {a} JOIN ({inner}) AS x "
           f"ON {a}.{x.name} = x.{x.name} AND {a}.{y.name} = x.n")
    return question, sql, False


@form("order_by", 0.9)
def ranked_parents(d: Draw) -> Made:
    """Parents with a total from a CTE, sorted."""
    t, k, p = d.link()
    assert p.label is not None
    measure, what = total_of(d, t)
    n = d.rng.randint(2, 5) if measure == "COUNT(*)" else 0
    down = d.chance(0.7)
    over = f"of more than {n}" if n else ""
    question = d.say(
        "[List|Show] the {many} of {parents} and their {what} {over}, [sorted|ordered] by it {words}",
        "@show the {parent} {many} and the {what} {over} per {parent}, {words}",
        "For {parents} with a {what} {over}, [list|show] the {one} and the {what} {words}",
        many=p.label.many, one=p.label.one, parent=p.one, parents=p.many, what=what, over=over,
        words="from highest to lowest" if down else "from lowest to highest",
    )
    tail = f" WHERE n > {n}" if n else ""
    sql = f"{grouped_cte(t, k, p, measure)} SELECT {p.label.name}, n FROM x{tail} ORDER BY n{' DESC' if down else ''}"
    return question, sql, True

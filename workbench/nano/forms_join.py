"""Forms of the category ``table_join``: a child and its parent; over more tables, see ``forms_links.py``.

The child comes first in FROM, its parents follow, the nearest first.
"""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from workbench.nano.columns import Column, Table
from workbench.nano.draw import AGGREGATES, Draw, Made
from workbench.nano.forms import form


def join(child: Table, link: Column, parent: Table) -> str:
    """``JOIN parent p ON c.fk = p.key``"""
    return f" JOIN {parent.name} {parent.alias} ON {child.alias}.{link.name} = {parent.alias}.{parent.key.name}"


def source(child: Table, link: Column, parent: Table) -> str:
    """``child c JOIN parent p ON ...``"""
    return f"{child.name} {child.alias}{join(child, link, parent)}"


@form("table_join", 1.2)
def child_with_parent(d: Draw) -> Made:
    """The child's id (or another column) beside the parent's name."""
    t, k, p = d.link()
    assert p.label is not None
    x = d.shown(t) if d.chance(0.5) else d.pick(t.having("amount", "integer", "date", "category"))
    c = d.where(t, alias=True, avoid=(x.name,)) if d.chance(0.6) else d.where(p, alias=True)
    on_child = c.sql.partition(".")[0].endswith(t.alias) and c.column in [y.name for y in t.columns]
    name = f"{p.alias}.{p.label.name}"
    fields = dict(x=x.one, xs=x.many, rows=t.many, row=t.one, one=p.label.one, many=p.label.many, parent=p.one,
                  parents=p.many, c=c.text, link=k.says[0])
    if on_child:
        question = d.say(
            "@show the {xs} of {rows} {c}, [along with|together with] the {parent} {many}",
            "For {rows} {c}, [show|list|give] the {x} and the {parent} {one}",
            "[List|Show] the {x} and the {one} of the {parent} for @each {row} among the {rows} {c}",
            **fields,
        )
    else:
        question = d.say(
            "@show the {xs} of {rows} {link} {parents} {c}, [along with|together with] the {parent} {many}",
            "For {rows} {link} {parents} {c}, [show|list|give] the {x} and the {parent} {one}",
            "[List|Show] the {x} and the {parent} {one} for all {rows} {link} {parents} {c}",
            **fields,
        )
    return question, f"SELECT {t.alias}.{x.name}, {name} FROM {source(t, k, p)} WHERE {c.sql}", False


@form("table_join", 1.3)
def count_of_named_parent(d: Draw) -> Made:
    t, k, p = d.link()
    assert p.label is not None
    name = d.name_of(p)
    c = d.where(t, alias=True) if d.chance(0.5) else None
    question = d.say(
        "How many {rows} {c} are {link} the {parent} {name}",
        "Count the {rows} {c} {link} the {parent} {name}",
        "@is the @count of {rows} {c} {link} the {parent} {name}",
        "How many {rows} {c} {link} the {parent} {name} are there",
        rows=t.many, link=k.says[0], parent=p.one, name=name, c=c.text if c else "",
    )
    sql = f"SELECT COUNT(*) FROM {source(t, k, p)} WHERE {p.alias}.{p.label.name} = '{name}'"
    return question, sql + (f" AND {c.sql}" if c else ""), False


@form("table_join", 1.2)
def aggregate_of_named_parent(d: Draw) -> Made:
    t, k, p = d.link(("number",))
    assert p.label is not None
    name = d.name_of(p)
    function, word, x = d.aggregate(t)
    question = d.say(
        "What is the {word} {x} of {rows} {link} the {parent} {name}",
        "[Find|Show|Compute] the {word} {x} of [all |]{rows} {link} the {parent} {name}",
        "For {rows} {link} the {parent} {name}, what is the {word} {x}",
        "[Give me|Return] the {word} {x} [among|over] {rows} {link} the {parent} {name}",
        word=word, x=x.one, rows=t.many, link=k.says[0], parent=p.one, name=name,
    )
    sql = f"SELECT {function}({t.alias}.{x.name}) FROM {source(t, k, p)} WHERE {p.alias}.{p.label.name} = '{name}'"
    return question, sql, False


@form("table_join", 1.2)
def aggregate_by_parent_condition(d: Draw) -> Made:
    t, k, p = d.link(("number",), named=False)
    function, word, x = d.aggregate(t)
    c = d.where(p, alias=True)
    question = d.say(
        "What is the {word} {x} of {rows} {link} {parents} {c}",
        "[Find|Show|Compute] the {word} {x} of [all |]{rows} {link} {parents} {c}",
        "For {rows} {link} {parents} {c}, what is the {word} {x}",
        "[Give me|Return] the {word} {x} [among|over] {rows} {link} {parents} {c}",
        word=word, x=x.one, rows=t.many, link=k.says[0], parents=p.many, c=c.text,
    )
    return question, f"SELECT {function}({t.alias}.{x.name}) FROM {source(t, k, p)} WHERE {c.sql}", False


@form("table_join", 1.3)
def measure_per_parent(d: Draw) -> Made:
    """Each parent by name with a count or aggregate of its children."""
    t, k, p = d.link(("number",))
    assert p.label is not None
    if d.chance(0.45):
        measure, what = "COUNT(*)", d.say("@count of {r}", r=t.many)[:-1]
    else:
        function, word, x = d.aggregate(t)
        measure, what = f"{function}({t.alias}.{x.name})", f"{word} {x.one} of {t.many}"
    c = d.where(t, alias=True) if d.chance(0.4) else None
    name = f"{p.alias}.{p.label.name}"
    question = d.say(
        "What is the {what} {c} for each {parent}? Show the {parent} {one} too",
        "[Show|List] the {one} of each {parent} [with|and] the {what} {c}",
        "For @each {parent} that has any, [show|give] the {one} and the {what} {c}",
        "@show the {parent} {many} and the {what} {c} per {parent}",
        what=what, parent=p.one, one=p.label.one, many=p.label.many, c=c.text if c else "",
    )
    middle = f" WHERE {c.sql}" if c else ""
    return question, f"SELECT {name}, {measure} FROM {source(t, k, p)}{middle} GROUP BY {name}", False


@form("table_join")
def measure_per_parent_category(d: Draw) -> Made:
    t, k, p = d.link(("number",), ("category",), named=False)
    g = d.column(p, "category")
    if d.chance(0.45):
        measure, what = "COUNT(*)", f"number of {t.many}"
    else:
        function, word, x = d.aggregate(t)
        measure, what = f"{function}({t.alias}.{x.name})", f"{word} {x.one} of {t.many}"
    c = d.where(t, alias=True) if d.chance(0.35) else None
    name = f"{p.alias}.{g.name}"
    question = d.say(
        "What is the {what} {c} for each {parent} {g}? Show the {g} too",
        "[Show|List] each {parent} {g} and the {what} {c}",
        "For @each {g} of {parents}, [show|give] the {g} and the {what} {c}",
        "@show the {g} of the {parent} and the {what} {c} per {parent} {g}",
        what=what, parent=p.one, parents=p.many, g=g.one, c=c.text if c else "",
    )
    middle = f" WHERE {c.sql}" if c else ""
    return question, f"SELECT {name}, {measure} FROM {source(t, k, p)}{middle} GROUP BY {name}", False


@form("table_join")
def parents_having(d: Draw) -> Made:
    t, k, p = d.link(("number",))
    assert p.label is not None
    name = f"{p.alias}.{p.label.name}"
    fields = dict(many=p.label.many, parents=p.many, rows=t.many)
    if d.chance(0.5):
        n = d.rng.randint(2, max(2, round(1.5 * t.size / p.size)))
        sign, words = d.pick([(">", "more than"), (">=", "at least"), ("=", "exactly")])
        having = f"COUNT(*) {sign} {n}"
        question = d.say(
            "@show the {many} of {parents} with {words} {n} {rows}",
            "Which {parents} have {words} {n} {rows}? [Show|List] their {many}",
            "[List|Find] {parents} that have {words} {n} {rows}, giving their {many}",
            n=n, words=words, **fields,
        )
    else:
        x = d.measure(t)
        n = d.threshold(t, x)
        function, word = d.pick([("AVG", "average"), ("MAX", "highest"), ("MIN", "lowest")])
        sign, words = d.pick([(">", "above"), ("<", "below")])
        having = f"{function}({t.alias}.{x.name}) {sign} {n}"
        question = d.say(
            "@show the {many} of {parents} whose {rows} have {a} {word} {x} {words} {n}",
            "Which {parents} have {a} {word} {x} of {rows} {words} {n}? [Show|List] their {many}",
            "[List|Find] {parents} with {a} {word} {x} of {rows} {words} {n}, giving their {many}",
            n=n, word=word, words=words, x=x.one, a="an" if word == "average" else "a", **fields,
        )
    return question, f"SELECT {name} FROM {source(t, k, p)} GROUP BY {name} HAVING {having}", False


@form("table_join")
def best_parent(d: Draw) -> Made:
    t, k, p = d.link(("number",))
    assert p.label is not None
    down = d.chance(0.75)
    if d.chance(0.4):
        measure, what = "COUNT(*)", f"{'most' if down else 'fewest'} {t.many}"
    else:
        function = d.pick(["SUM", "AVG", "MAX"])
        x = d.measure(t, adds=function == "SUM")
        measure = f"{function}({t.alias}.{x.name})"
        what = f"{'highest' if down else 'lowest'} {d.pick(AGGREGATES[function][:2])} {x.one} of {t.many}"
    c = d.where(t, alias=True) if d.chance(0.35) else None
    k_top = 1 if d.chance(0.6) else d.pick([2, 3, 5])
    fields = dict(one=p.label.one, many=p.label.many, parent=p.one, parents=p.many, what=what, k=k_top)
    fields["c"] = c.text if c else ""
    if k_top == 1:
        question = d.say(
            "Which {parent} has the {what} {c}? [Show|Give] the {one}",
            "What is the {one} of the {parent} with the {what} {c}",
            "[Find|Show|Give me] the {one} of the {parent} that has the {what} {c}",
            **fields,
        )
    else:
        question = d.say(
            "Which {k} {parents} have the {what} {c}? [Show|List] their {many} in that order",
            "[List|Show] the {many} of the {k} {parents} with the {what} {c}, in order of that figure",
            "@show, in order, the {many} of the top {k} {parents} with the {what} {c}",
            **fields,
        )
    name = f"{p.alias}.{p.label.name}"
    middle = f" WHERE {c.sql}" if c else ""
    sql = f"SELECT {name} FROM {source(t, k, p)}{middle} GROUP BY {name} ORDER BY {measure}{' DESC' if down else ''}"
    return question, f"{sql} LIMIT {k_top}", k_top > 1

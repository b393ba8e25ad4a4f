"""Forms of the category ``table_join``: parents and children over two to four tables.

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


def chain(d: Draw, named: bool = True) -> tuple[Table, Column, Table, Column, Table]:
    """Grandchild, its key, child, its key, parent."""
    edges = d.database.edges
    return d.pick([(g, gk, c, ck, p) for g, gk, c in edges for c2, ck, p in edges
                   if c2 is c and (p.label or not named)])


def fork(d: Draw) -> tuple[Table, Column, Table, Column, Table]:
    """A child, and two of its parents in the order of the keys, each with its key."""
    forks = []
    for t in d.database.tables:
        links = [(k, d.database.by_name[k.target]) for k in t.links]
        forks += [(t, a, p, b, q) for i, (a, p) in enumerate(links) for b, q in links[i + 1 :] if p.label and q.label]
    return d.pick(forks)


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


@form("table_join", 1.1)
def linked_names(d: Draw) -> Made:
    """Names on one side of a many-to-many link, by a name or condition on the other side."""
    t, a, p, b, q = fork(d)
    if d.chance(0.5):
        (wanted, given) = (p, q)
    else:
        (wanted, given) = (q, p)
    assert wanted.label is not None and given.label is not None
    if d.chance(0.5):
        name = d.name_of(given)
        condition, text = f"{given.alias}.{given.label.name} = '{name}'", f"the {given.one} {name}"
    else:
        c = d.where(given, alias=True)
        condition, text = c.sql, f"{given.many} {c.text}"
    question = d.say(
        "@show the [different|distinct] {many} of {wanted} that have {rows} {link} {text}",
        "Which {wanted} have {rows} {link} {text}? [List|Show] each {one} once",
        "[List|Find] the {many} of {wanted} with any {row} {link} {text}, without duplicates",
        many=wanted.label.many, one=wanted.label.one, wanted=wanted.many, rows=t.many, row=t.one, text=text,
        link=(b if wanted is p else a).says[0],
    )
    sql = (f"SELECT DISTINCT {wanted.alias}.{wanted.label.name} FROM {source(t, a, p)}{join(t, b, q)} "
           f"WHERE {condition}")
    return question, sql, False


@form("table_join")
def two_parents(d: Draw) -> Made:
    """Each pair of parents' names with a condition on the child."""
    t, a, p, b, q = fork(d)
    assert p.label is not None and q.label is not None
    c = d.where(t, alias=True)
    question = d.say(
        "For {rows} {c}, [show|list|give] the {p} {pn} and the {q} {qn}",
        "@show the {p} {pns} and {q} {qns} of {rows} {c}",
        "[List|Show] the {pn} of the {p} and the {qn} of the {q} for all {rows} {c}",
        rows=t.many, p=p.one, pn=p.label.one, pns=p.label.many, q=q.one, qn=q.label.one, qns=q.label.many, c=c.text,
    )
    sql = (f"SELECT {p.alias}.{p.label.name}, {q.alias}.{q.label.name} FROM {source(t, a, p)}{join(t, b, q)} "
           f"WHERE {c.sql}")
    return question, sql, False


@form("table_join", 1.1)
def grandchildren(d: Draw) -> Made:
    """Count or aggregate over a chain of three tables."""
    g, gk, t, k, p = chain(d, named=False)
    if d.chance(0.4) or not g.having("amount", "integer"):
        measure, what = "COUNT(*)", f"number of {g.many}"
    else:
        function, word, x = d.aggregate(g)
        measure, what = f"{function}({g.alias}.{x.name})", f"{word} {x.one} of {g.many}"
    tables = f"{source(g, gk, t)}{join(t, k, p)}"
    if d.chance(0.5):
        c = d.where(p, alias=True)
        question = d.say(
            "What is the {what} {l1} {ts} {l2} {ps} {c}",
            "[Find|Show|Compute] the {what} {l1} {ts} {l2} {ps} {c}",
            "Considering only {ps} {c}, what is the {what} {l1} {ts} {l2} these {ps}",
            what=what, l1=gk.says[0], ts=t.many, l2=k.says[0], ps=p.many, c=c.text,
        )
        return question, f"SELECT {measure} FROM {tables} WHERE {c.sql}", False
    x = p.label or d.column(p, "category")
    question = d.say(
        "What is the {what} {l1} {ts} {l2} each {p}? Show the {p} {x} too" if p.label else
        "What is the {what} {l1} {ts} {l2} {ps} of each {x}? Show the {p} {x} too",
        "[Show|List] each {p} {x} and the {what} {l1} {ts} {l2} [those|such] {ps}",
        "For each {p} {x}, [show|give] the {x} and the {what} {l1} {ts} {l2} those {ps}",
        what=what, l1=gk.says[0], ts=t.many, l2=k.says[0], p=p.one, ps=p.many, x=x.one,
    )
    name = f"{p.alias}.{x.name}"
    return question, f"SELECT {name}, {measure} FROM {tables} GROUP BY {name}", False


@form("table_join", 0.7)
def four_tables(d: Draw) -> Made:
    """A chain of three tables and the child's other parent."""
    found = [(g, gk, t, a, p, b, q) for g, gk, t in d.database.edges if len(t.links) > 1
             for a, b in [t.links[:2]] for p, q in [(d.database.by_name[a.target], d.database.by_name[b.target])]]
    g, gk, t, a, p, b, q = d.pick(found)
    c1, c2 = d.where(p, alias=True, kinds="category amount integer"), d.where(q, alias=True)
    question = d.say(
        "How many {gs} {l1} {ts} {la} {ps} {c1} and {lb} {qs} {c2} are there",
        "Count the {gs} {l1} {ts} {la} {ps} {c1} and {lb} {qs} {c2}",
        "@is the @count of {gs} {l1} {ts} {la} {ps} {c1} and {lb} {qs} {c2}",
        gs=g.many, l1=gk.says[0], ts=t.many, la=a.says[0], lb=b.says[0], ps=p.many, qs=q.many, c1=c1.text, c2=c2.text,
    )
    sql = f"SELECT COUNT(*) FROM {source(g, gk, t)}{join(t, a, p)}{join(t, b, q)} WHERE {c1.sql} AND {c2.sql}"
    return question, sql, False

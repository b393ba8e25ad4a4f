"""Forms of the category ``table_join`` over three and four tables: two parents of a child, and parents of parents.

The child comes first in FROM, its parents follow, the nearest first; over two tables, see ``forms_join.py``.
"""

# ruff: noqa: S608 - SQL is text here, from our own schemas alone

from __future__ import annotations

from workbench.nano.columns import Column, Table
from workbench.nano.draw import Draw, Made
from workbench.nano.forms import form
from workbench.nano.forms_join import join, source


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

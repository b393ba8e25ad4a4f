"""Forms of the category ``ratio``: shares, percentages and quotients; the numerator is always cast to float."""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from workbench.nano.columns import Column, Table
from workbench.nano.draw import Draw, Made, NoFit
from workbench.nano.forms import form


def share(d: Draw, condition: str) -> tuple[str, str]:
    """(words, SQL) of the part of rows that fulfil a condition, as a fraction or a percentage."""
    count = f"COUNT(*) FILTER (WHERE {condition})::float"
    if d.chance(0.5):
        return d.pick(["percentage", "percent share"]), f"{count} * 100 / COUNT(*)"
    return d.pick(["proportion", "fraction", "ratio"]), f"{count} / COUNT(*)"


@form("ratio", 1.5)
def share_of_rows(d: Draw) -> Made:
    t = d.table()
    c = d.where(t)
    word, sql = share(d, c.sql)
    question = d.say(
        "What {word} of [all |the |]{rows} are {rows} {c}",
        "@is the {word} of {rows} {c} [among|out of] all {rows}",
        "[Among|Out of] all {rows}, what is the {word} of those {c}",
        "Compute the {word} of {rows} {c} [relative to|over] all {rows}",
        word=word, rows=t.many, c=c.text,
    )
    return question, f"SELECT {sql} FROM {t.name}", False


@form("ratio", 1.3)
def share_among(d: Draw) -> Made:
    t = d.table()
    c, base = d.two(t)
    word, sql = share(d, c.sql)
    question = d.say(
        "Among {rows} {base}, what is the {word} of those {c}",
        "For {rows} {base}, what {word} are {rows} {c}",
        "Out of the {rows} {base}, @compute the {word} of {rows} {c}".replace("@compute", "[compute|show|find]"),
        "Considering only {rows} {base}, what is the {word} of {rows} {c}",
        word=word, rows=t.many, c=c.text, base=base.text,
    )
    return question, f"SELECT {sql} FROM {t.name} WHERE {base.sql}", False


def two_values(d: Draw, table: Table, column: Column) -> tuple[str, str]:
    first = d.value(table, column)
    return first, d.pick([v for v in column.values if v != first])


@form("ratio", 1.2)
def ratio_of_counts(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    a, b = two_values(d, t, x)
    base = d.where(t, avoid=(x.name,)) if d.chance(0.35) else None
    question = d.say(
        "What is the ratio of {rows} with {x} {a} to {rows} with {x} {b} {base}",
        "@is the ratio between the number of {rows} whose {x} is {a} and those whose {x} is {b} {base}",
        "[Compute|Find] the number of {rows} with {x} {a} divided by the number with {x} {b} {base}",
        "How many {rows} with {x} {a} are there per {row} with {x} {b} {base}",
        rows=t.many, row=t.one, x=x.one, a=a, b=b, base=f", counting only {t.many} {base.text}" if base else "",
    ).replace(" ,", ",")
    sql = (f"SELECT COUNT(*) FILTER (WHERE {x.name} = '{a}')::float / "
           f"NULLIF(COUNT(*) FILTER (WHERE {x.name} = '{b}'), 0) FROM {t.name}")
    return question, sql + (f" WHERE {base.sql}" if base else ""), False


@form("ratio", 1.1)
def share_of_sum(d: Draw) -> Made:
    t = d.table("number")
    x = d.measure(t, adds=True)
    c = d.where(t, avoid=(x.name,))
    percent = d.chance(0.5)
    question = d.say(
        "What {word} of the total {x} comes from {rows} {c}",
        "@is the {word} of the total {x} of all {rows} that comes from {rows} {c}",
        "[Compute|Find] the {word} that {rows} {c} contribute to the total {x}",
        "Which {word} of the total {x} of {rows} is due to {rows} {c}",
        word=d.pick(["percentage", "percent share"] if percent else ["fraction", "proportion"]), x=x.one,
        rows=t.many, c=c.text,
    )
    part = f"SUM({x.name}) FILTER (WHERE {c.sql})::float{' * 100' if percent else ''}"
    sql = f"SELECT {part} / SUM({x.name}) FROM {t.name}"
    return question, sql, False


@form("ratio", 1.2)
def share_per_category(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    c = d.where(t, avoid=(x.name,))
    word, sql = share(d, c.sql)
    question = d.say(
        "For @each {x}, [show|give] the {x} and the {word} of its {rows} that are {rows} {c}",
        "What is the {word} of {rows} {c} [within|for] each {x}? Show the {x} too",
        "[Show|List] each {x} and the {word} of {rows} {c} among its {rows}",
        "[Compute|Find] the {word} of {rows} {c} @per {x}, showing the {x} first",
        x=x.one, word=word, rows=t.many, c=c.text,
    )
    return question, f"SELECT {x.name}, {sql} FROM {t.name} GROUP BY {x.name}", False


@form("ratio", 1.2)
def share_of_each_category(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    percent = d.chance(0.5)
    c = d.where(t, avoid=(x.name,)) if d.chance(0.3) else None
    question = d.say(
        "What {word} of all {rows} {c} does each {x} make up? Show the {x} and the {word}",
        "[Show|List] each {x} and its {word} of all {rows} {c}",
        "For @each {x}, [show|give] the {x} and its {word} among all {rows} {c}",
        "@is the {word} that each {x} has of all {rows} {c}, with the {x}",
        x=x.one, rows=t.many, c=c.text if c else "",
        word=d.pick(["percentage", "percent share"] if percent else ["fraction", "proportion"]),
    )
    where = f" WHERE {c.sql}" if c else ""
    part = f"COUNT(*)::float{' * 100' if percent else ''}"
    total = f"(SELECT COUNT(*) FROM {t.name}{where})"
    return question, f"SELECT {x.name}, {part} / {total} FROM {t.name}{where} GROUP BY {x.name}", False


@form("ratio")
def ratio_of_sums(d: Draw) -> Made:
    t = d.table("number", "number")
    columns = [c for c in t.having("amount", "integer") if c.adds]
    if len(columns) < 2:
        raise NoFit
    x = d.pick(columns)
    y = d.pick([c for c in columns if c.name != x.name])
    c = d.where(t, avoid=(x.name, y.name)) if d.chance(0.6) else None
    grouped = d.chance(0.4) and bool([g for g in t.having("category")])
    fields = dict(x=x.one, y=y.one, rows=t.many, c=c.text if c else "")
    where = f" WHERE {c.sql}" if c else ""
    quotient = f"SUM({x.name})::float / NULLIF(SUM({y.name}), 0)"
    if not grouped:
        question = d.say(
            "What is the ratio of total {x} to total {y} of {rows} {c}",
            "@is the total {x} divided by the total {y} of {rows} {c}",
            "[Compute|Find] the ratio between the total {x} and the total {y} [of|for] {rows} {c}",
            "Over all {rows} {c}, what is the ratio of the total {x} to the total {y}",
            **fields,
        )
        return question, f"SELECT {quotient} FROM {t.name}{where}", False
    g = d.column(t, "category")
    question = d.say(
        "For @each {g}, [show|give] the {g} and the ratio of total {x} to total {y} of {rows} {c}",
        "[Show|List] each {g} with the total {x} divided by the total {y} of {rows} {c}",
        "What is the ratio of total {x} to total {y} of {rows} {c} for each {g}? Show the {g} too",
        g=g.one, **fields,
    )
    return question, f"SELECT {g.name}, {quotient} FROM {t.name}{where} GROUP BY {g.name}", False


@form("ratio")
def children_per_parent(d: Draw) -> Made:
    t, k, p = d.link(named=False)
    c = d.where(t) if d.chance(0.6) else None
    question = d.say(
        "What is the number of {rows} {c} divided by the number of different {parents} they belong to",
        "@is the ratio of {rows} {c} to the distinct {parents} they refer to",
        "How many {rows} {c} are there per distinct {parent}, as a ratio",
        "[Compute|Find] the ratio of the number of {rows} {c} to the number of distinct {parents} among them",
        rows=t.many, parents=p.many, parent=p.one, c=c.text if c else "",
    )
    sql = f"SELECT COUNT(*)::float / COUNT(DISTINCT {k.name}) FROM {t.name}" + (f" WHERE {c.sql}" if c else "")
    return question, sql, False


@form("ratio", 1.2)
def share_by_parent(d: Draw) -> Made:
    """The part of child rows whose parent fulfils a condition."""
    t, k, p = d.link(named=False)
    c = d.where(p, alias=True)
    base = d.where(t, alias=True) if d.chance(0.4) else None
    word, sql = share(d, c.sql)
    question = d.say(
        "What {word} of {rows} {base} are {link} {parents} {c}",
        "@is the {word} of {rows} {base} that are {link} {parents} {c}",
        "Among {all} {rows} {base}, what is the {word} {link} {parents} {c}",
        "[Compute|Find] the {word} of {rows} {base} which are {link} {parents} {c}",
        word=word, rows=t.many, parents=p.many, link=k.says[0], c=c.text, base=base.text if base else "",
        all="" if base else "all",
    )
    joined = f"{t.name} {t.alias} JOIN {p.name} {p.alias} ON {t.alias}.{k.name} = {p.alias}.{p.key.name}"
    return question, f"SELECT {sql} FROM {joined}" + (f" WHERE {base.sql}" if base else ""), False


@form("ratio", 0.9)
def share_per_parent(d: Draw) -> Made:
    """For each parent by name, the part of its children that fulfil a condition."""
    t, k, p = d.link()
    assert p.label is not None
    c = d.where(t, alias=True)
    word, sql = share(d, c.sql)
    question = d.say(
        "For each {parent} with {rows}, [show|give] the {one} and the {word} of its {rows} that are {rows} {c}",
        "What is the {word} of {rows} {c} among the {rows} of each {parent}? Show the {parent} {one} too",
        "[Show|List] the {one} of each {parent} and the {word} of {rows} {c} among its {rows}",
        parent=p.one, one=p.label.one, rows=t.many, word=word, c=c.text,
    )
    joined = f"{t.name} {t.alias} JOIN {p.name} {p.alias} ON {t.alias}.{k.name} = {p.alias}.{p.key.name}"
    name = f"{p.alias}.{p.label.name}"
    return question, f"SELECT {name}, {sql} FROM {joined} GROUP BY {name}", False


@form("ratio", 0.9)
def parents_with_children(d: Draw) -> Made:
    """The part of the parents that appear in the child table."""
    t, k, p = d.link(named=False)
    c = d.where(t) if d.chance(0.5) else None
    percent = d.chance(0.5)
    question = d.say(
        "What {word} of all {parents} have at least one {row} {c}",
        "@is the {word} of {parents} that have any {rows} {c}",
        "Out of all {parents}, what is the {word} with at least one {row} {c}",
        word=d.pick(["percentage", "percent share"] if percent else ["fraction", "proportion"]),
        parents=p.many, row=t.one, rows=t.many, c=c.text if c else "",
    )
    where = f" WHERE {c.sql}" if c else ""
    part = f"COUNT(DISTINCT {k.name})::float{' * 100' if percent else ''}"
    return question, f"SELECT {part} / (SELECT COUNT(*) FROM {p.name}) FROM {t.name}{where}", False

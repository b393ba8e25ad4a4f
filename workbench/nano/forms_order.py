"""Forms of the category ``order_by``: sorted lists, top-k, extremes, ranks."""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from workbench.nano.columns import Column, Table
from workbench.nano.draw import AGGREGATES, Draw, Made
from workbench.nano.forms import form

DOWN = ("from highest to lowest", "in descending order", "with the highest first", "starting with the highest")
UP = ("from lowest to highest", "in ascending order", "with the lowest first", "starting with the lowest")
LATE = ("from latest to earliest", "with the most recent first", "starting with the latest")
EARLY = ("from earliest to latest", "with the earliest first", "starting with the earliest")


def direction(d: Draw, column: Column) -> tuple[str, str]:
    """(SQL direction, words) for sorting by a number or date; ASC is the default and not written."""
    down = d.chance(0.6)
    if column.role == "date":
        return (" DESC", d.pick(LATE)) if down else ("", d.pick(EARLY))
    return (" DESC", d.pick(DOWN)) if down else ("", d.pick(UP))


def sortable(d: Draw, table: Table) -> Column:
    return d.pick([c for c in table.having("amount", "integer", "date")])


@form("order_by", 1.2)
def sorted_list(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), sortable(d, t)
    order, words = direction(d, x)
    question = d.say(
        "[List|Show|Give me] the {many} of all {rows}, [sorted|ordered] by {x} {words}",
        "@show the {many} of all {rows} [ordered|sorted] by {x} {words}",
        "[Sort|Order] all {rows} by {x} {words} and [show|give] their {many}",
        "What are the {many} of all {rows} when [sorted|ordered] by {x} {words}",
        many=s.many, rows=t.many, x=x.one, words=words,
    )
    return question, f"SELECT {s.name} FROM {t.name} ORDER BY {x.name}{order}", True


@form("order_by", 1.3)
def sorted_list_where(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), sortable(d, t)
    c = d.where(t, avoid=(x.name,))
    order, words = direction(d, x)
    both = d.chance(0.5)
    question = d.say(
        "[List|Show|Give me] the {many} {also} of {rows} {c}, [sorted|ordered] by {x} {words}",
        "[Sort|Order] the {rows} {c} by {x} {words} and [show|give] their {many} {also}",
        "What are the {many} {also} of {rows} {c}, [sorted|ordered] by {x} {words}",
        "For {rows} {c}, [list|show] the {many} {also} [sorted|ordered] by {x} {words}",
        many=s.many, also=f"and {x.many}" if both else "", rows=t.many, c=c.text, x=x.one, words=words,
    )
    head = f"{s.name}, {x.name}" if both else s.name
    return question, f"SELECT {head} FROM {t.name} WHERE {c.sql} ORDER BY {x.name}{order}", True


@form("order_by")
def alphabetical(d: Draw) -> Made:
    t = d.table("name")
    s = d.shown(t)
    c = d.where(t)
    down = d.chance(0.35)
    forward = "[in alphabetical order|alphabetically|from A to Z]"
    words = "[in reverse alphabetical order|from Z to A]" if down else forward
    question = d.say(
        "[List|Show|Give me] the {many} of {rows} {c} " + words,
        "What are the {many} of {rows} {c}, listed " + words,
        "[List|Show] all {rows} {c} by {one} " + words + ", giving only the {one}",
        "For {rows} {c}, [list|show] the {many} " + words,
        many=s.many, one=s.one, rows=t.many, c=c.text,
    )
    return question, f"SELECT {s.name} FROM {t.name} WHERE {c.sql} ORDER BY {s.name}{' DESC' if down else ''}", True


def top_words(d: Draw, column: Column) -> tuple[str, str]:
    """(SQL direction, superlative) of a top-k."""
    down = d.chance(0.65)
    if column.role == "date":
        return (" DESC", d.pick(["latest", "most recent"])) if down else ("", "earliest")
    return (" DESC", d.pick(["highest", "largest"])) if down else ("", d.pick(["lowest", "smallest"]))


@form("order_by", 1.3)
def top_rows(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), sortable(d, t)
    order, word = top_words(d, x)
    k = d.pick([2, 3, 4, 5, 6, 7, 8, 10])
    c = d.where(t, avoid=(x.name,)) if d.chance(0.45) else None
    question = d.say(
        "What are the {many} of the {k} {rows} {c} with the {word} {x}, [sorted|ordered] from {word}",
        "[List|Show|Give me] the {many} of the {k} {rows} {c} {sep} with the {word} {x}, starting with the {word}",
        "@show the top {k} {rows} {c} by {word} {x}, [giving|showing] their {many} with the {word} first",
        "Among {all} {rows} {c}, which {k} have the {word} {x}? [List|Show] their {many} starting with the {word}",
        many=s.many, rows=t.many, x=x.one, k=k, word=word, c=c.text if c else "", sep="and" if c else "",
        all="" if c else "all",
    )
    middle = f" WHERE {c.sql}" if c else ""
    return question, f"SELECT {s.name} FROM {t.name}{middle} ORDER BY {x.name}{order} LIMIT {k}", True


@form("order_by", 1.3)
def top_one(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), sortable(d, t)
    order, word = top_words(d, x)
    c = d.where(t, avoid=(x.name,)) if d.chance(0.5) else None
    both = d.chance(0.3)
    question = d.say(
        "What is the {one} {also} of the {row} {c} with the {word} {x}",
        "Which {row} {c} has the {word} {x}? [Show|Give] its {one} {also}",
        "[Find|Show|Give me] the {one} {also} of the {row} {c} {sep} with the {word} {x}",
        "Among {all} {rows} {c}, [show|find] the {one} {also} of the one with the {word} {x}",
        one=s.one, also=f"and the {x.one}" if both else "", row=t.one, rows=t.many, x=x.one, word=word,
        c=c.text if c else "", sep="and" if c else "",
        all="" if c else "all",
    )
    middle = f" WHERE {c.sql}" if c else ""
    head = f"{s.name}, {x.name}" if both else s.name
    return question, f"SELECT {head} FROM {t.name}{middle} ORDER BY {x.name}{order} LIMIT 1", False


@form("order_by", 0.8)
def nth_row(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), sortable(d, t)
    order, word = top_words(d, x)
    offset, nth = d.pick([(1, "second"), (2, "third"), (3, "fourth")])
    word = {"largest": "highest", "smallest": "lowest", "most recent": "latest"}.get(word, word)
    question = d.say(
        "What is the {one} of the {row} with the {nth} {word} {x}",
        "Which {row} has the {nth} {word} {x}? [Show|Give] its {one}",
        "[Find|Show|Give me] the {one} of the {row} with the {nth} {word} {x}",
        "Sorting {rows} from the {word} {x}, what is the {one} of the {nth} one",
        one=s.one, row=t.one, rows=t.many, x=x.one, nth=nth, word=word,
    )
    return question, f"SELECT {s.name} FROM {t.name} ORDER BY {x.name}{order} LIMIT 1 OFFSET {offset}", False


@form("order_by", 1.1)
def groups_by_size(d: Draw) -> Made:
    """Categories with their counts or aggregates, sorted."""
    t = d.table("category", "number")
    x = d.column(t, "category")
    if d.chance(0.5):
        measure, what = "COUNT(*)", d.say("@count of {r}", r=t.many)[:-1]
    else:
        function, word, y = d.aggregate(t)
        measure, what = f"{function}({y.name})", f"{word} {y.one} of {t.many}"
    c = d.where(t, avoid=(x.name,)) if d.chance(0.35) else None
    down = d.chance(0.6)
    question = d.say(
        "[List|Show] each {x} and the {what} {c}, [sorted|ordered] by the {what} {words}",
        "For @each {x}, [show|give] the {x} and the {what} {c}, {words}",
        "@show the {x} and the {what} {c} @per {x}, [sorted|ordered] {words}",
        "What is the {what} {c} for each {x}? Show both, {words}",
        x=x.one, what=what, c=c.text if c else "", words=d.pick(DOWN if down else UP),
    )
    middle = f" WHERE {c.sql}" if c else ""
    sql = f"SELECT {x.name}, {measure} FROM {t.name}{middle} GROUP BY {x.name} ORDER BY {measure}"
    return question, sql + (" DESC" if down else ""), True


@form("order_by", 1.1)
def best_group(d: Draw) -> Made:
    t = d.table("category", "number")
    x = d.column(t, "category")
    down = d.chance(0.65)
    c = d.where(t, avoid=(x.name,)) if d.chance(0.3) else None
    fields = dict(x=x.one, rows=t.many, c=c.text if c else "", word="highest" if down else "lowest")
    if d.chance(0.5):
        measure = "COUNT(*)"
        question = d.say(
            "Which {x} has the {most} {rows} {c}? Show only the {x}",
            "[Find|Show|Give me] the {x} with the {most} {rows} {c}",
            "What is the {x} with the {word} number of {rows} {c}",
            most="most" if down else "fewest", **fields,
        )
    else:
        function = d.pick(["AVG", "SUM", "MAX"])
        y = d.measure(t, adds=function == "SUM")
        measure = f"{function}({y.name})"
        word = d.pick(AGGREGATES[function])
        question = d.say(
            "Which {x} has the {word} {what} of {rows} {c}? Show only the {x}",
            "[Find|Show|Give me] the {x} with the {word} {what} of {rows} {c}",
            "What is the {x} with the {word} {what} of {rows} {c}",
            what=f"{word} {y.one}", **fields,
        )
    middle = f" WHERE {c.sql}" if c else ""
    sql = f"SELECT {x.name} FROM {t.name}{middle} GROUP BY {x.name} ORDER BY {measure}{' DESC' if down else ''} LIMIT 1"
    return question, sql, False


@form("order_by", 0.9)
def ranked(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), d.measure(t)
    down = d.chance(0.7)
    c = d.where(t, avoid=(x.name,)) if d.chance(0.5) else None
    question = d.say(
        "[Show|List] the {one} of each {row} {c} and its rank by {x}, rank 1 being the {word}",
        "Rank the {rows} {c} by {x} with the {word} as rank 1, [showing|giving] the {one} and the rank",
        "For each {row} {c}, [show|give] the {one} and the rank of its {x}, the {word} being 1",
        "@show the {many} of {rows} {c} and their ranks by {x}, counting from the {word}",
        one=s.one, many=s.many, row=t.one, rows=t.many, x=x.one, c=c.text if c else "",
        word="highest" if down else "lowest",
    )
    middle = f" WHERE {c.sql}" if c else ""
    window = f"RANK() OVER (ORDER BY {x.name}{' DESC' if down else ''})"
    return question, f"SELECT {s.name}, {window} FROM {t.name}{middle}", False


@form("order_by", 0.9)
def rank_within(d: Draw) -> Made:
    """A rank inside each category, or only its first rows."""
    t = d.table("number", "category")
    s, x, y = d.shown(t), d.column(t, "category"), d.measure(t)
    down, k = d.chance(0.7), d.pick([1, 1, 2, 3])
    word = "highest" if down else "lowest"
    question = d.say(
        "For each {x}, [show|give] the {x} and the {one} of the {row} ranked {upto} by {word} {y}",
        "[Show|List] the {x} and the {one} of every {row} ranked {upto} within its {x} by {word} {y}",
        "@show, for each {x}, the {x} and the {many} of {rows} ranked {upto} by {word} {y}, ties included",
        "Within each {x}, rank {rows} from the {word} {y} and [show|list] {x} and {one} of those ranked {upto}",
        x=x.one, one=s.one, many=s.many, row=t.one, rows=t.many, y=y.one, word=word,
        upto="first" if k == 1 else f"up to {k}",
    )
    inner = (f"SELECT {x.name}, {s.name}, RANK() OVER (PARTITION BY {x.name} ORDER BY {y.name}"
             f"{' DESC' if down else ''}) AS r FROM {t.name}")
    return question, f"WITH x AS ({inner}) SELECT {x.name}, {s.name} FROM x WHERE r <= {k}", False

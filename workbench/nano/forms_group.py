"""Forms of the category ``group_by``: one row per category, with counts, aggregates and HAVING."""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from workbench.nano.draw import AGGREGATES, Draw, Made
from workbench.nano.forms import form


@form("group_by", 1.3)
def count_per_category(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    question = d.say(
        "How many {rows} are there for each {x}? Show the {x} and the @count",
        "[Show|List|Give] each {x} and the @count of {rows} with it",
        "@is the @count of {rows} @per {x}, together with the {x}",
        "For @each {x}, [show|give|return] the {x} and the @count of {rows}",
        "Count the {rows} @per {x}, showing the {x} too",
        rows=t.many, x=x.one,
    )
    return question, f"SELECT {x.name}, COUNT(*) FROM {t.name} GROUP BY {x.name}", False


@form("group_by", 1.3)
def aggregate_per_category(d: Draw) -> Made:
    t = d.table("category", "number")
    x = d.column(t, "category")
    function, word, y = d.aggregate(t)
    question = d.say(
        "What is the {word} {y} of {rows} for each {x}? Show the {x} and the {word} {y}",
        "[Show|List|Give] each {x} with the {word} {y} of its {rows}",
        "For @each {x}, [show|give|return] the {x} and the {word} {y} of the {rows}",
        "[Find|Compute|Show] the {x} and the {word} {y} of {rows} @per {x}",
        rows=t.many, x=x.one, y=y.one, word=word,
    )
    return question, f"SELECT {x.name}, {function}({y.name}) FROM {t.name} GROUP BY {x.name}", False


@form("group_by")
def count_and_aggregate(d: Draw) -> Made:
    t = d.table("category", "number")
    x = d.column(t, "category")
    function, word, y = d.aggregate(t)
    question = d.say(
        "For @each {x}, [show|give|return] the {x}, the @count of {rows} and the {word} {y}",
        "[Show|List] each {x} with the @count of {rows} and their {word} {y}",
        "How many {rows} are there and what is their {word} {y} for each {x}? Show the {x} first",
        "@show the {x}, the @count of {rows} and the {word} {y} of {rows} @per {x}",
        rows=t.many, x=x.one, y=y.one, word=word,
    )
    return question, f"SELECT {x.name}, COUNT(*), {function}({y.name}) FROM {t.name} GROUP BY {x.name}", False


@form("group_by", 1.2)
def count_per_category_where(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    c = d.where(t, avoid=(x.name,))
    question = d.say(
        "For {rows} {c}, [show|give|list] each {x} and the @count of {rows}",
        "How many {rows} {c} are there for each {x}? Show the {x} and the @count",
        "@is the @count of {rows} {c} @per {x}, together with the {x}",
        "[Show|List] each {x} and the @count of {rows} {c}",
        rows=t.many, x=x.one, c=c.text,
    )
    return question, f"SELECT {x.name}, COUNT(*) FROM {t.name} WHERE {c.sql} GROUP BY {x.name}", False


@form("group_by", 1.2)
def aggregate_per_category_where(d: Draw) -> Made:
    t = d.table("category", "number")
    x = d.column(t, "category")
    function, word, y = d.aggregate(t)
    c = d.where(t, avoid=(x.name, y.name))
    question = d.say(
        "For {rows} {c}, [show|give|list] each {x} and the {word} {y}",
        "What is the {word} {y} of {rows} {c} for each {x}? Show the {x} as well",
        "[Find|Compute|Show] the {x} and the {word} {y} of {rows} {c} @per {x}",
        "[Show|List] each {x} with the {word} {y} of {rows} {c}",
        rows=t.many, x=x.one, y=y.one, word=word, c=c.text,
    )
    sql = f"SELECT {x.name}, {function}({y.name}) FROM {t.name} WHERE {c.sql} GROUP BY {x.name}"
    return question, sql, False


@form("group_by", 1.2)
def having_count(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    n = max(2, round(t.size / len(x.values) * d.rng.uniform(0.6, 1.4)))
    sign, words = d.pick([(">", "more than"), ("<", "fewer than"), (">=", "at least"), ("<=", "at most")])
    c = d.where(t, avoid=(x.name,)) if d.chance(0.25) else None
    n = max(2, n // 2) if c else n
    question = d.say(
        "Which {xs} have {words} {n} {rows} {c}? Show only the {x}",
        "@show the {xs} that have {words} {n} {rows} {c}",
        "[Find|List] every {x} with {words} {n} {rows} {c}",
        "For which {xs} are there {words} {n} {rows} {c}",
        rows=t.many, x=x.one, xs=x.many, n=n, words=words, c=c.text if c else "",
    )
    middle = f" WHERE {c.sql}" if c else ""
    return question, f"SELECT {x.name} FROM {t.name}{middle} GROUP BY {x.name} HAVING COUNT(*) {sign} {n}", False


@form("group_by")
def having_aggregate(d: Draw) -> Made:
    t = d.table("category", "number")
    x, y = d.column(t, "category"), d.measure(t)
    function = d.pick(["AVG", "MAX", "MIN"])
    word, n = d.pick(AGGREGATES[function]), d.threshold(t, y)
    sign, words = d.pick([(">", "[greater than|above|over]"), ("<", "[less than|below|under]")])
    both = d.chance(0.5)
    heads = (
        ["@show each {x} and its {word} {y} of {rows}, but only where the {word} {y} is " + words + " {n}",
         "Which {xs} of {rows} have {aword} {y} " + words + " {n}? Show the {x} and the {word} {y}",
         "For {xs} of {rows} whose {word} {y} is " + words + " {n}, [show|list] the {x} and the {word} {y}"] if both
        else ["@show the {xs} whose {rows} have {aword} {y} " + words + " {n}",
              "Which {xs} of {rows} have {aword} {y} " + words + " {n}? Show only the {x}",
              "[Find|List] every {x} whose {rows} have {aword} {y} " + words + " {n}"]
    )
    aword = f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    question = d.say(*heads, rows=t.many, x=x.one, xs=x.many, y=y.one, word=word, aword=aword, n=n)
    head = f"{x.name}, {function}({y.name})" if both else x.name
    return question, f"SELECT {head} FROM {t.name} GROUP BY {x.name} HAVING {function}({y.name}) {sign} {n}", False


@form("group_by", 0.7)
def per_two_columns(d: Draw) -> Made:
    t = d.table("category", "category") if d.chance(0.5) else d.table("category", "boolean")
    x = d.column(t, "category")
    second = [c for c in t.having("category", "boolean") if c.name != x.name]
    y = d.pick(second)
    other = y.one or y.name.replace("_", " ")
    question = d.say(
        "How many {rows} are there for each combination of {x} and {other}? Show the {x}, the {other} and the @count",
        "For @each {x} and {other}, [show|give] the {x}, the {other} and the @count of {rows}",
        "@show the {x}, the {other} and the @count of {rows} @per {x} and {other}",
        "Count the {rows} @per {x} and {other}, showing the {x} and the {other} too",
        rows=t.many, x=x.one, other=other,
    )
    return question, f"SELECT {x.name}, {y.name}, COUNT(*) FROM {t.name} GROUP BY {x.name}, {y.name}", False


@form("group_by", 0.9)
def distinct_per_category(d: Draw) -> Made:
    """How many different parents each category of the child has."""
    t, k, p = d.link(("category",), named=False)
    x = d.column(t, "category")
    question = d.say(
        "How many [different|distinct] {parents} are there in {rows} for each {x}? Show the {x} and the @count",
        "For @each {x} of {rows}, [show|give] the {x} and the number of [different|distinct] {parents}",
        "[Show|List] each {x} of {rows} with the @count of [distinct|different] {parents}",
        "Count the [distinct|different] {parents} of {rows} @per {x}, showing the {x} too",
        rows=t.many, parents=p.many, x=x.one,
    )
    return question, f"SELECT {x.name}, COUNT(DISTINCT {k.name}) FROM {t.name} GROUP BY {x.name}", False


@form("group_by", 0.8)
def range_per_category(d: Draw) -> Made:
    t = d.table("category", "number")
    x, y = d.column(t, "category"), d.measure(t)
    question = d.say(
        "For @each {x}, [show|give] the {x} and the difference between the highest and the lowest {y} of {rows}",
        "[Show|List] each {x} and by how much the maximum {y} of its {rows} exceeds the minimum {y}",
        "What is the difference between the maximum and minimum {y} of {rows} for each {x}? Show the {x} too",
        "@show the {x} and the spread between maximum and minimum {y} of {rows} @per {x}",
        rows=t.many, x=x.one, y=y.one,
    )
    return question, f"SELECT {x.name}, MAX({y.name}) - MIN({y.name}) FROM {t.name} GROUP BY {x.name}", False


@form("group_by", 0.9)
def categories_above_overall(d: Draw) -> Made:
    """Groups whose average beats the average of all rows."""
    t = d.table("category", "number")
    x, y = d.column(t, "category"), d.measure(t)
    more = d.chance(0.6)
    words = "[above|higher than|greater than]" if more else "[below|lower than|less than]"
    question = d.say(
        "Which {xs} have an average {y} of {rows} " + words + " the average {y} of all {rows}? Show only the {x}",
        "@show the {xs} of {rows} whose average {y} is " + words + " the overall average {y}",
        "[Find|List] every {x} of {rows} with an average {y} " + words + " the overall average {y}",
        rows=t.many, x=x.one, xs=x.many, y=y.one,
    )
    sql = (f"SELECT {x.name} FROM {t.name} GROUP BY {x.name} "
           f"HAVING AVG({y.name}) {'>' if more else '<'} (SELECT AVG({y.name}) FROM {t.name})")
    return question, sql, False


@form("group_by", 0.9)
def average_group_size(d: Draw) -> Made:
    """A derived table: the average, highest or lowest count of rows per category or parent."""
    t, k, p = d.link(named=False)
    if d.chance(0.4) and t.having("category"):
        x = d.column(t, "category")
        group, per = x.name, x.one
    else:
        group, per = k.name, p.one
    function = d.pick(["AVG", "MAX", "MIN"])
    c = d.where(t, avoid=(group,)) if d.chance(0.3) else None
    question = d.say(
        "What is the {word} number of {rows} {c} per {per} [that has any|having any]",
        "@is the {word} number of {rows} {c} per {per}, over {per} groups with at least one",
        "Count the {rows} {c} of each {per}; what is the {word} of these counts",
        word=d.pick(AGGREGATES[function]), rows=t.many, per=per, c=c.text if c else "",
    )
    middle = f" WHERE {c.sql}" if c else ""
    sql = f"SELECT {function}(n) FROM (SELECT COUNT(*) AS n FROM {t.name}{middle} GROUP BY {group}) AS x"
    return question, sql, False

"""The registry of question forms, and the forms about one table's rows: category ``where``.

A form is declared by ``@form(category)``; its name is the function's. Each has several wordings; what the
question wants back is always said (names, ids, a count), for the answers are compared strictly.
"""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.nano.draw import Draw, Made, NoFit, article


@dataclass(frozen=True)
class Form:
    """One kind of question."""

    name: str
    category: str
    weight: float
    make: Callable[[Draw], Made]


FORMS: list[Form] = []


def form(category: str, weight: float = 1.0) -> Callable[[Callable[[Draw], Made]], Callable[[Draw], Made]]:
    """Register a form under a sql-eval category."""

    def register(make: Callable[[Draw], Made]) -> Callable[[Draw], Made]:
        FORMS.append(Form(make.__name__, category, weight, make))
        return make

    return register


@form("where", 1.5)
def list_rows(d: Draw) -> Made:
    t = d.table()
    c, s = d.where(t), d.shown(t)
    question = d.say(
        "@show the {many} of [all |the |]{rows} {c}",
        "[List|Show|Find|Get] all {rows} {c}, giving [only |]their {many}",
        "Which {rows} {c} are there? [Show|Give|List] [their|the] {many}",
        "For all {rows} {c}, [show|list|give] the {one}",
        many=s.many, one=s.one, rows=t.many, c=c.text,
    )
    return question, f"SELECT {s.name} FROM {t.name} WHERE {c.sql}", False


@form("where", 1.2)
def list_two_columns(d: Draw) -> Made:
    t = d.table()
    s = d.shown(t)
    x = d.pick([x for x in t.columns if x.role in ("category", "amount", "integer", "date")])
    c = d.where(t, avoid=(x.name,))
    question = d.say(
        "@show the {many} and {xs} of [all |the |]{rows} {c}",
        "[List|Show|Find] the {one} and {x} of @each {row} among the {rows} {c}",
        "For all {rows} {c}, [show|list|give] the {one} and the {x}",
        "[List|Show] all {rows} {c} with their {many} and {xs}",
        many=s.many, one=s.one, rows=t.many, row=t.one, x=x.one, xs=x.many, c=c.text,
    )
    return question, f"SELECT {s.name}, {x.name} FROM {t.name} WHERE {c.sql}", False


@form("where", 1.5)
def count_rows(d: Draw) -> Made:
    t = d.table()
    c = d.where(t)
    question = d.say(
        "How many {rows} {c} are there",
        "[Count|Count all|Count the] {rows} {c}",
        "@is the @count of {rows} {c}",
        "What is the total number of {rows} {c}",
        "How many {rows} {c} [do we have|exist|are in the database]",
        rows=t.many, c=c.text,
    )
    return question, f"SELECT COUNT(*) FROM {t.name} WHERE {c.sql}", False


@form("where")
def count_two_conditions(d: Draw) -> Made:
    t = d.table()
    a, b = d.two(t)
    question = d.say(
        "How many {rows} {a} and {b} are there",
        "Count the {rows} {a} and {b}",
        "@is the @count of {rows} {a} and {b}",
        "How many {rows} {a} [that are also|and also] {b} [exist|do we have]",
        rows=t.many, a=a.text, b=b.text,
    ).replace("that are also that are", "that also are").replace("that are also who", "and also who")
    return question, f"SELECT COUNT(*) FROM {t.name} WHERE {a.sql} AND {b.sql}", False


@form("where")
def list_two_conditions(d: Draw) -> Made:
    t = d.table()
    s = d.shown(t)
    a, b = d.two(t)
    word = "OR" if d.chance(0.4) else "AND"
    question = d.say(
        "@show the {many} of {rows} {a} {word} {b}",
        "[List|Find] all {rows} {a} {word} {b}, giving their {many}",
        "Which {rows} {a} {word} {b} are there? [Show|Give] their {many}",
        "For {rows} {a} {word} {b}, [show|list] the {one}",
        many=s.many, one=s.one, rows=t.many, a=a.text, b=b.text, word=word.lower(),
    )
    return question, f"SELECT {s.name} FROM {t.name} WHERE {a.sql} {word} {b.sql}", False


@form("where", 1.3)
def aggregate_where(d: Draw) -> Made:
    t = d.table("number")
    function, word, x = d.aggregate(t)
    c = d.where(t, avoid=(x.name,))
    question = d.say(
        "What is the {word} {x} of {rows} {c}",
        "[Find|Show|Compute|Return|Give me] the {word} {x} of [all |the |]{rows} {c}",
        "What is the {word} {x} [among|over all] {rows} {c}",
        "For {rows} {c}, what is the {word} {x}",
        word=word, x=x.one, rows=t.many, c=c.text,
    )
    return question, f"SELECT {function}({x.name}) FROM {t.name} WHERE {c.sql}", False


@form("where", 0.6)
def two_aggregates(d: Draw) -> Made:
    t = d.table("number")
    x = d.measure(t)
    low, high = d.pick([("MIN", "MAX"), ("AVG", "MAX"), ("MIN", "AVG")])
    words = {"MIN": "minimum", "MAX": "maximum", "AVG": "average"}
    c = d.where(t, avoid=(x.name,))
    question = d.say(
        "What are the {low} and {high} {x} of {rows} {c}",
        "[Find|Show|Compute] the {low} and the {high} {x} of [all |]{rows} {c}",
        "For {rows} {c}, what are the {low} and {high} {x}",
        "[Give me|Return] both the {low} and the {high} {x} [among|of] {rows} {c}",
        low=words[low], high=words[high], x=x.one, rows=t.many, c=c.text,
    )
    return question, f"SELECT {low}({x.name}), {high}({x.name}) FROM {t.name} WHERE {c.sql}", False


@form("where", 0.8)
def missing_value(d: Draw) -> Made:
    t = d.pick([t for t in d.database.tables if t.having("category", "date", null=True)])
    x = d.pick(t.having("category", "date", null=True))
    s, absent, count = d.shown(t), d.chance(0.6), d.chance(0.4)
    c = (f"[without {article(x.one)}|with no {x.one}|whose {x.one} is [missing|unknown|not known]]" if absent else
         f"[that have {article(x.one)}|whose {x.one} is known|with a known {x.one}]")
    # Choices do not nest: keep the outer brackets and settle the inner one here.
    c = c.replace("[missing|unknown|not known]", d.pick(["missing", "unknown", "not known"]))
    extra = d.where(t, avoid=(x.name,)) if d.chance(0.35) else None
    tail = f" and {extra.text}" if extra else ""
    heads = (
        ["How many {rows} " + c + "{e} are there", "Count the {rows} " + c + "{e}",
         "@is the @count of {rows} " + c + "{e}"] if count else
        ["@show the {many} of [all |the |]{rows} " + c + "{e}", "[List|Find] {rows} " + c + "{e}, giving their {many}",
         "Which {rows} " + c + "{e} are there? Show their {many}"]
    )
    question = d.say(*heads, rows=t.many, many=s.many, e=tail)
    sql = f"SELECT {'COUNT(*)' if count else s.name} FROM {t.name} WHERE {x.name} IS {'' if absent else 'NOT '}NULL"
    return question, sql + (f" AND {extra.sql}" if extra else ""), False


@form("where", 0.8)
def name_pattern(d: Draw) -> Made:
    t = d.table("name")
    s = d.shown(t)
    name = d.name_of(t)
    kind = d.pick(["start", "end", "inside"])
    at = d.rng.randrange(1, max(2, len(name) - 3))
    part = {"start": name[: d.pick([1, 1, 2])], "end": name[-d.pick([1, 2, 3]) :], "inside": name[at : at + 2]}[kind]
    if part != part.strip():
        raise NoFit
    count = d.chance(0.4)
    words = {
        "start": "[starts|begins] with",
        "end": "ends [with|in]",
        "inside": "contains [the text |]",
    }[kind]
    pattern = {"start": f"{part}%", "end": f"%{part}", "inside": f"%{part}%"}[kind]
    heads = (
        ["How many {rows} have a {one} that " + words + " '{p}'", "Count the {rows} whose {one} " + words + " '{p}'",
         "@is the @count of {rows} whose {one} " + words + " '{p}'"] if count else
        ["@show the {many} of {rows} whose {one} " + words + " '{p}'",
         "[List|Show] all {row} {many} where the {one} " + words + " '{p}'",
         "Which {row} {many} are there whose {one} " + words + " '{p}'"]
    )
    question = d.say(*heads, rows=t.many, row=t.one, one=s.one, many=s.many, p=part)
    sql = f"SELECT {'COUNT(*)' if count else s.name} FROM {t.name} WHERE {s.name} LIKE '{pattern}'"
    return question, sql, False


@form("where")
def against_average(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), d.measure(t)
    more = d.chance(0.6)
    words = "[above|greater than|higher than|over]" if more else "[below|less than|lower than|under]"
    count = d.chance(0.3)
    heads = (
        ["How many {rows} have {ax} " + words + " the average {x} of all {rows}",
         "Count the {rows} whose {x} is " + words + " the average {x}"] if count else
        ["@show the {many} of {rows} whose {x} is " + words + " the average {x}",
         "Which {rows} have {ax} " + words + " [average|the average of all {rows}]? Show their {many}",
         "[List|Find] {rows} with {ax} " + words + " the average {x}, giving their {many}"]
    )
    question = d.say(*heads, rows=t.many, many=s.many, x=x.one, ax=article(x.one))
    head = "COUNT(*)" if count else s.name
    sql = f"SELECT {head} FROM {t.name} WHERE {x.name} {'>' if more else '<'} (SELECT AVG({x.name}) FROM {t.name})"
    return question, sql, False


@form("where", 0.8)
def at_extreme(d: Draw) -> Made:
    t = d.table("number")
    s, x = d.shown(t), d.measure(t)
    function = d.pick(["MAX", "MIN"])
    c = d.where(t, avoid=(x.name,)) if d.chance(0.4) else None
    question = d.say(
        "@show the {many} of all {rows} {c} {sep} whose {x} equals the {word} {x} of {them}",
        "Which {of} {rows} {c} have {ax} equal to the {word} {x} of {them}? Show their {many}",
        "[List|Find] the {many} of every {row} {c} {sep} whose {x} is equal to the {word} {x} of {them}",
        many=s.many, rows=t.many, row=t.one, x=x.one, ax=article(x.one), of="of the" if c else "",
        word={"MAX": "maximum", "MIN": "minimum"}[function],
        c=c.text if c else "", sep="and" if c else "", them="these " + t.many if c else "all " + t.many,
    )
    tail = f" WHERE {c.sql}" if c else ""
    front = f"{c.sql} AND " if c else ""
    sql = f"SELECT {s.name} FROM {t.name} WHERE {front}{x.name} = (SELECT {function}({x.name}) FROM {t.name}{tail})"
    return question, sql, False


@form("where", 0.9)
def distinct_values(d: Draw) -> Made:
    t = d.table("category")
    x = d.column(t, "category")
    c = d.where(t, avoid=(x.name,)) if d.chance(0.7) else None
    count = d.chance(0.4)
    fields = dict(xs=x.many, x=x.one, rows=t.many, c=c.text if c else "")
    if count:
        question = d.say(
            "How many [different|distinct|unique] {xs} do [the |]{rows} {c} have",
            "Count the [different|distinct|unique] {xs} of {rows} {c}",
            "@is the @count of [different|distinct] {xs} among {rows} {c}",
            **fields,
        )
    else:
        question = d.say(
            "@show the [different|distinct|unique] {xs} of {rows} {c}",
            "Which [different|distinct] {xs} do [the |]{rows} {c} have",
            "[List|Show] every {x} found among {rows} {c}, without duplicates",
            **fields,
        )
    head = f"COUNT(DISTINCT {x.name})" if count else f"DISTINCT {x.name}"
    return question, f"SELECT {head} FROM {t.name}" + (f" WHERE {c.sql}" if c else ""), False


@form("where", 0.7)
def nested_parent(d: Draw) -> Made:
    """Rows whose parent fulfils a condition, by IN (subquery)."""
    t, k, p = d.link(named=False)
    s, c = d.shown(t), d.where(p)
    count = d.chance(0.5)
    fields = dict(many=s.many, rows=t.many, link=k.says[0], parents=p.many, c=c.text)
    if count:
        question = d.say(
            "How many {rows} {link} {parents} {c} are there",
            "Count the {rows} {link} {parents} {c}",
            "@is the @count of {rows} {link} {parents} {c}",
            **fields,
        )
    else:
        question = d.say(
            "@show the {many} of {rows} {link} {parents} {c}",
            "Which {rows} are {link} {parents} {c}? Show their {many}",
            "[List|Find] all {rows} {link} {parents} {c}, giving their {many}",
            **fields,
        )
    head = "COUNT(*)" if count else s.name
    sql = f"SELECT {head} FROM {t.name} WHERE {k.name} IN (SELECT {p.key.name} FROM {p.name} WHERE {c.sql})"
    return question, sql, False

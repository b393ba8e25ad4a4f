"""Forms of the category ``date``: ranges, truncation, parts, intervals, series."""

# ruff: noqa: D103, S608 - a form is named by its function; its SQL is text, from our own schemas alone

from __future__ import annotations

from datetime import timedelta

from workbench.nano.columns import Column, Table
from workbench.nano.draw import MONTHS, QUARTERS, Draw, Made, NoFit, column_values, say_date
from workbench.nano.forms import form

UNITS = ("month", "quarter", "year")


def dated(d: Draw, *roles: str) -> tuple[Table, Column]:
    t = d.table("date", *roles)
    return t, d.column(t, "date")


def bare(column: Column) -> str:
    """The date's verb without its pronoun: who joined -> joined."""
    return column.says[0].removeprefix("who ")


@form("date", 1.3)
def count_in_period(d: Draw) -> Made:
    t, _ = dated(d)
    c = d.where(t, kinds="date")
    extra = d.where(t, kinds="category amount integer boolean", avoid=(c.column,)) if d.chance(0.4) else None
    question = d.say(
        "How many {rows} {c} {e} are there",
        "Count the {rows} {c} {e}",
        "@is the @count of {rows} {c} {e}",
        "How many {rows} {c} {e} [do we have|are in the database]",
        rows=t.many, c=c.text, e=f"and {extra.text}" if extra else "",
    )
    sql = f"SELECT COUNT(*) FROM {t.name} WHERE {c.sql}" + (f" AND {extra.sql}" if extra else "")
    return question, sql, False


@form("date", 1.2)
def count_per_unit(d: Draw) -> Made:
    """A time series of counts or aggregates by DATE_TRUNC."""
    t, x = dated(d)
    unit = d.pick(UNITS)
    if d.chance(0.5) or not t.having("amount", "integer"):
        measure, what = "COUNT(*)", f"number of {t.many}"
    else:
        function, word, y = d.aggregate(t, "AVG", "SUM", "MAX")
        measure, what = f"{function}({y.name})", f"{word} {y.one} of {t.many}"
    c = d.where(t, kinds="category boolean amount integer") if d.chance(0.35) else None
    question = d.say(
        "What is the {what} {c} [for|in] each {unit} of the {x}? Show the [first day of the |]{unit} too",
        "[Show|List] each {unit} of the {x} and the {what} {c} [in it|in that {unit}]",
        "For @each {unit} of the {x}, [show|give] the {unit} and the {what} {c}",
        "@is the {what} {c} @per {unit} of the {x}, together with the {unit}",
        what=what, unit=unit, x=x.one, c=c.text if c else "",
    )
    period = f"DATE_TRUNC('{unit}', {x.name})"
    middle = f" WHERE {c.sql}" if c else ""
    return question, f"SELECT {period}, {measure} FROM {t.name}{middle} GROUP BY {period}", False


@form("date", 1.1)
def count_per_part(d: Draw) -> Made:
    """Counts by a part of the date: the year as a number, the month number, the weekday number."""
    t, x = dated(d)
    part, words = d.pick([("YEAR", "year number"), ("MONTH", "month number"), ("DOW", "weekday number")])
    c = d.where(t, avoid=(x.name,)) if d.chance(0.4) else None
    note = " (0 is Sunday)" if part == "DOW" else ""
    question = d.say(
        "How many {rows} {c} are there for each {words} of the {x}{note}? Show the {words} and the @count",
        "[Show|List] each {words} of the {x}{note} and the @count of {rows} {c}",
        "For @each {words} of the {x}{note}, [show|give] the {words} and the @count of {rows} {c}",
        "Count the {rows} {c} @per {words} of the {x}{note}, showing the {words} too",
        rows=t.many, words=words, x=x.one, note=note, c=c.text if c else "",
    )
    period = f"EXTRACT({part} FROM {x.name})"
    middle = f" WHERE {c.sql}" if c else ""
    return question, f"SELECT {period}, COUNT(*) FROM {t.name}{middle} GROUP BY {period}", False


@form("date", 1.1)
def first_or_last(d: Draw) -> Made:
    t, x = dated(d)
    late = d.chance(0.5)
    c = d.where(t, avoid=(x.name,)) if d.chance(0.75) else None
    question = d.say(
        "What is the {word} {x} of {all} {rows} {c}",
        "[Find|Show|Return] the {word} {x} among {all} {rows} {c}",
        "When was the {word} {x} of {all} {rows} {c}",
        "For {all} {rows} {c}, what is the {word} {x}",
        word=d.pick(["latest", "most recent"]) if late else d.pick(["earliest", "first"]), x=x.one, rows=t.many,
        c=c.text if c else "", all="" if c else "all",
    )
    sql = f"SELECT {'MAX' if late else 'MIN'}({x.name}) FROM {t.name}" + (f" WHERE {c.sql}" if c else "")
    return question, sql, False


@form("date", 1.1)
def rows_in_quarter(d: Draw) -> Made:
    t, x = dated(d)
    s, day = d.shown(t), d.value(t, x)
    q, year = (day.month - 1) // 3, day.year
    count = d.chance(0.5)
    fields = dict(rows=t.many, many=s.many, verb=x.says[0], q=QUARTERS[q], year=year)
    if count:
        question = d.say(
            "How many {rows} {verb} in the {q} quarter of {year} are there",
            "Count the {rows} {verb} in the {q} quarter of {year}",
            "@is the @count of {rows} {verb} in the {q} quarter of {year}",
            **fields,
        )
    else:
        question = d.say(
            "@show the {many} of {rows} {verb} in the {q} quarter of {year}",
            "[List|Find] all {rows} {verb} in the {q} quarter of {year}, giving their {many}",
            "For {rows} {verb} in the {q} quarter of {year}, [list|show] the {many}",
            **fields,
        )
    head = "COUNT(*)" if count else s.name
    sql = f"SELECT {head} FROM {t.name} WHERE DATE_TRUNC('quarter', {x.name}) = '{year}-{q * 3 + 1:02d}-01'"
    return question, sql, False


@form("date", 1.1)
def rows_in_interval(d: Draw) -> Made:
    """A window of days, weeks or months after a date, by INTERVAL."""
    t, x = dated(d)
    s, day = d.shown(t), d.value(t, x)
    size, unit = d.pick([(30, "days"), (60, "days"), (90, "days"), (2, "months"), (3, "months"), (6, "months")])
    shown = day.isoformat() if d.chance(0.5) else say_date(day)
    count = d.chance(0.5)
    words = "[in|within] the {size} {unit} starting on {day}"
    heads = (
        ["How many {rows} {verb} " + words + " are there", "Count the {rows} {verb} " + words,
         "@is the @count of {rows} {verb} " + words] if count else
        ["@show the {many} of {rows} {verb} " + words, "[List|Find] {rows} {verb} " + words + ", giving their {many}",
         "For {rows} {verb} " + words + ", [list|show] the {many}"]
    )
    question = d.say(*heads, rows=t.many, many=s.many, verb=x.says[0], size=size, unit=unit, day=shown)
    head = "COUNT(*)" if count else s.name
    start = f"'{day}'"
    sql = (f"SELECT {head} FROM {t.name} WHERE {x.name} >= {start} "
           f"AND {x.name} < DATE {start} + INTERVAL '{size} {unit}'")
    return question, sql, False


@form("date", 1.0)
def weekday_or_month(d: Draw) -> Made:
    """Rows in a month of any year, or on a weekday or weekend."""
    t, x = dated(d)
    s, count = d.shown(t), d.chance(0.6)
    days = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
    kind = d.rng.randrange(3)
    if kind == 0:
        month = d.rng.randrange(12)
        words, sql = f"in {MONTHS[month]} of any year", f"EXTRACT(MONTH FROM {x.name}) = {month + 1}"
    elif kind == 1:
        number = d.rng.randrange(7)
        words, sql = f"on a {days[number]}", f"EXTRACT(DOW FROM {x.name}) = {number}"
    else:
        words, sql = "on a weekend", f"EXTRACT(DOW FROM {x.name}) IN (0, 6)"
    c = d.where(t, kinds="category boolean amount integer") if d.chance(0.35) else None
    heads = (
        ["How many {rows} {verb} {words} {e} are there", "Count the {rows} {verb} {words} {e}",
         "@is the @count of {rows} {verb} {words} {e}"] if count else
        ["@show the {many} of {rows} {verb} {words} {e}", "[List|Find] {rows} {verb} {words} {e}, giving their {many}"]
    )
    question = d.say(*heads, rows=t.many, many=s.many, verb=x.says[0], words=words, e=f"and {c.text}" if c else "")
    tail = f" AND {c.sql}" if c else ""
    return question, f"SELECT {'COUNT(*)' if count else s.name} FROM {t.name} WHERE {sql}{tail}", False


def span(d: Draw) -> tuple[Table, Column, Column]:
    """A table with a date that follows another."""
    pairs = [(t, t_by[c.target], c) for t in d.database.tables for t_by in [{c.name: c for c in t.columns}]
             for c in t.columns if c.role == "date" and c.target]
    return d.pick(pairs)


@form("date", 1.3)
def days_between(d: Draw) -> Made:
    t, a, b = span(d)
    function, word = d.pick([("AVG", "average"), ("AVG", "mean"), ("MAX", "maximum"), ("MIN", "minimum")])
    gap = f"{b.name} - {a.name}"
    kind = d.rng.randrange(3)
    fields = dict(rows=t.many, a=a.one, b=b.one, word=word)
    if kind == 0:
        c = d.where(t, avoid=(a.name, b.name))
        question = d.say(
            "What is the {word} number of days between {a} and {b} of {rows} {c}",
            "[Find|Show|Compute] the {word} number of days from {a} to {b} for {rows} {c}",
            "For {rows} {c}, what is the {word} number of days between the {a} and the {b}",
            c=c.text, **fields,
        )
        return question, f"SELECT {function}({gap}) FROM {t.name} WHERE {c.sql}", False
    if kind == 1:
        s, n = d.shown(t), d.rng.randint(int(b.lo) + 1, max(int(b.lo) + 1, int(b.hi * 0.8)))
        sign, than = d.pick([(">", "more than"), ("<", "less than")])
        question = d.say(
            "@show the {many} of {rows} with {than} {n} days between {a} and {b}",
            "[List|Find] the {many} of {rows} where {a} and {b} are {than} {n} days apart",
            "Which {rows} have {than} {n} days from {a} to {b}? Show their {many}",
            many=s.many, than=than, n=n, **fields,
        )
        return question, f"SELECT {s.name} FROM {t.name} WHERE {gap} {sign} {n}", False
    unit = d.pick(["month", "quarter", "year"])
    question = d.say(
        "For @each {unit} of the {a}, [show|give] the {unit} and the {word} number of days from {a} to {b} of {rows}",
        "[Show|List] each {unit} of the {a} with the {word} number of days between {a} and {b} of {rows}",
        unit=unit, **fields,
    )
    period = f"DATE_TRUNC('{unit}', {a.name})"
    return question, f"SELECT {period}, {function}({gap}) FROM {t.name} GROUP BY {period}", False


@form("date")
def busiest_period(d: Draw) -> Made:
    t, x = dated(d)
    unit = d.pick(UNITS)
    if d.chance(0.5) or not [c for c in t.having("amount", "integer") if c.adds]:
        measure, what = "COUNT(*)", f"number of {t.many}"
    else:
        y = d.measure(t, adds=True)
        measure, what = f"SUM({y.name})", f"total {y.one} of {t.many}"
    c = d.where(t, kinds="category boolean") if d.chance(0.35) and t.having("category", "boolean") else None
    question = d.say(
        "In which {unit} of the {x} was the {what} {c} the highest? Show only the {unit}",
        "Which {unit} of the {x} has the highest {what} {c}? Show only the {unit}",
        "[Find|Show|Give me] the {unit} of the {x} with the highest {what} {c}",
        unit=unit, x=x.one, what=what, c=c.text if c else "",
    )
    period = f"DATE_TRUNC('{unit}', {x.name})"
    middle = f" WHERE {c.sql}" if c else ""
    sql = f"SELECT {period} FROM {t.name}{middle} GROUP BY {period} ORDER BY {measure} DESC LIMIT 1"
    return question, sql, False


def series(d: Draw) -> tuple[str, str, str, str]:
    """(CTE text, unit, what is counted, date's words): a count or sum per period, named p and n."""
    t, x = dated(d)
    unit = d.pick(["month", "year"])
    if d.chance(0.5) or not [c for c in t.having("amount", "integer") if c.adds]:
        measure, what = "COUNT(*)", f"number of {t.many}"
    else:
        y = d.measure(t, adds=True)
        measure, what = f"SUM({y.name})", f"total {y.one} of {t.many}"
    period = f"DATE_TRUNC('{unit}', {x.name})"
    return f"WITH x AS (SELECT {period} AS p, {measure} AS n FROM {t.name} GROUP BY p)", unit, what, x.one


@form("date", 0.9)
def running_total(d: Draw) -> Made:
    cte, unit, what, x = series(d)
    question = d.say(
        "[Show|List] each {unit} of the {x} and the running total of the {what} up to that {unit}",
        "For @each {unit} of the {x}, [show|give] the {unit} and the cumulative {what}",
        "@is the cumulative {what} @per {unit} of the {x}, together with the {unit}",
        unit=unit, what=what, x=x,
    )
    return question, f"{cte} SELECT p, SUM(n) OVER (ORDER BY p) FROM x", False


@form("date", 0.9)
def change_to_previous(d: Draw) -> Made:
    cte, unit, what, x = series(d)
    question = d.say(
        "[Show|List] each {unit} of the {x} and the change of the {what} from the previous listed {unit}",
        "For @each {unit} of the {x}, [show|give] the {unit} and the difference of the {what} "
        "to the previous listed {unit}",
        "By how much did the {what} change from one listed {unit} of the {x} to the next? "
        "Show each {unit} and the change",
        unit=unit, what=what, x=x,
    )
    return question, f"{cte} SELECT p, n - LAG(n) OVER (ORDER BY p) FROM x", False


@form("date", 0.9)
def after_mean_or_same(d: Draw) -> Made:
    """Rows within some days of the newest row."""
    t, x = dated(d)
    s, n = d.shown(t), d.pick([30, 60, 90, 120, 180])
    values = column_values(d.database, t, x)
    if values[0] > values[-1] - timedelta(days=n):
        raise NoFit
    count = d.chance(0.5)
    words = "in the {n} days before the latest {x} of all {rows}, including that day"
    heads = (
        ["How many {rows} have {ax} " + words, "Count the {rows} with {ax} " + words] if count else
        ["@show the {many} of {rows} with {ax} " + words, "Which {rows} have {ax} " + words + "? Show their {many}"]
    )
    ax = f"{'an' if x.one[0] in 'aeiou' else 'a'} {x.one}"
    question = d.say(*heads, rows=t.many, many=s.many, n=n, x=x.one, ax=ax)
    head = "COUNT(*)" if count else s.name
    sql = f"SELECT {head} FROM {t.name} WHERE {x.name} >= (SELECT MAX({x.name}) FROM {t.name}) - {n}"
    return question, sql, False

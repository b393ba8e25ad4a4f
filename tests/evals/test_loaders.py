"""Every kind of value comes out of Postgres without ending the run, and equals itself."""

import pytest

from workbench.evals.cells import Json, Typed, canonical

ODD = [
    "'infinity'::date",
    "date '4713-01-01 BC'",
    "timestamptz '20000-01-01'",
    "time '24:00'",
    "interval '100000000 years'",
    "daterange('-infinity', 'infinity')",
    "tstzrange('0044-01-01 BC', '20000-01-01')",
    "'empty'::int4range",
    "ARRAY['infinity'::date, '2020-01-01']",
    "ARRAY[daterange('-infinity', 'infinity')]",
    "ROW(1, NULL, 'a b', '\"')",
    "'[1e99999999999999999999999]'::json",
    "('[' || repeat('9', 5000) || ']')::json",
    "'\"\\ud83d\"'::json",
    "(repeat('[', 3000) || repeat(']', 3000))::json",
    "1e131071::numeric",
    "'NaN'::float4",
    "'[-1:0]={1,2}'::int[]",
    "'\\x00ff'::bytea",
    "B'1010'",
    "inet '10.0.0.1/8'",
    "point(1, 'NaN')",
    "pg_current_snapshot()",
]


@pytest.mark.parametrize("value", ODD)
def test_odd_values_load_and_equal_themselves(shop, value):
    sql = f"SELECT {value}"
    ((one,),), ((other,),) = (shop.run(sql, timeout_s=5, max_rows=1).rows for _ in range(2))
    assert canonical(one) == canonical(other)
    assert hash(canonical(one)) == hash(canonical(other))


def test_kinds_that_text_alone_would_not_tell(shop):
    sql = "SELECT 'infinity'::date, 'ab'::char(5), '{\"a\": 1.50}'::jsonb, 'infinity'"
    ((moment, padded, json, text),) = shop.run(sql, timeout_s=5, max_rows=1).rows
    assert (type(moment), moment.kind, str(moment)) == (Typed, "moment", "infinity")
    assert (padded.kind, str(padded)) == ("padded", "ab   ")
    assert isinstance(json, Json)
    assert canonical(moment) != canonical(text)

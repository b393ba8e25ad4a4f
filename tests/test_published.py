"""Published figures: their counts add up, their intervals are Wilson's, and they say that they are not measured."""

import pytest

from workbench.published import published, published_table

ROWS = published()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model}-{row.date}")
def test_every_row_says_when_how_many_and_where_from(row):
    assert row.date[:2] == "20" and row.source
    assert row.label == f"published, sql-eval, {row.date}, n={row.overall.total}"


@pytest.mark.parametrize("row", [row for row in ROWS if row.categories], ids=lambda row: f"{row.model}-{row.date}")
def test_categories_add_up_to_the_whole(row):
    assert sum(score.total for score in row.categories.values()) == row.overall.total
    assert sum(score.correct for score in row.categories.values()) == row.overall.correct


def test_intervals_of_the_first_model():
    rows = {(row.model, row.date): row for row in ROWS}
    # statsmodels.stats.proportion.proportion_confint(113, 175, method="wilson") and (106, 175)
    assert rows["defog/sqlcoder", "2023-08"].overall.interval == pytest.approx((0.572, 0.713), abs=5e-4)
    assert rows["gpt-3.5-turbo", "2023-08"].overall.interval == pytest.approx((0.532, 0.675), abs=5e-4)


def test_the_table_is_labelled():
    table, legend = published_table()
    assert len(table.rows) == len(ROWS)
    (sqlcoder,) = [row for row in table.rows if row[0] == "defog/sqlcoder"]
    assert sqlcoder[1:4] == ("published, sql-eval, 2023-08, n=175", "64.6% [57.2, 71.3]", "77.1%")
    assert "not measured here" in legend
    assert all(row.source in legend for row in ROWS)

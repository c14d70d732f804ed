"""Tests of sql/repairs.py: texts that say the same to the engine as to Spark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import UnsupportedOperationException
from millstream.sql.repairs import check_function, repaired

QUOTES = [
    ("select 'it''s'", r"select 'it\'s'"),
    ("select ''", "select ''"),
    ("select ''''", r"select '\''"),
    ("select 'a' 'b'", "select 'a' 'b'"),
    (r"select 'a\'' , ''''", r"select 'a\'' , '\''"),
    ('select "say ""mill"', r'select "say \"mill"'),
    ("select r'it''s'", "select r'it''s'"),
    ("select R'\\', 'it''s'", "select R'\\', 'it\\'s'"),
    ("select 1 -- it''s\n, 'x''y'", "select 1 -- it''s\n, 'x\\'y'"),
    ("select /* ''' */ 'x''y'", r"select /* ''' */ 'x\'y'"),
    ("select `it''s`, 'x''y'", r"select `it''s`, 'x\'y'"),
    ("select 'open''", r"select 'open\'"),
    ("select 1 -- ''", "select 1 -- ''"),
    ("select 1 /* ''", "select 1 /* ''"),
    ("select `open''", "select `open''"),
]


@pytest.mark.parametrize(("text", "wanted"), QUOTES)
def test_a_doubled_quote_stands_for_one(text: str, wanted: str) -> None:
    """In texts alone: not in raw ones, in comments, or in names."""
    assert repaired(text) == wanted


@given(st.text(alphabet="ab'\"\\`-/* \n", max_size=30))
def test_only_quotes_are_changed(text: str) -> None:
    """Whatever the text: without backslashes that were added it is as long or shorter."""
    made = repaired(text)

    assert [each for each in made if each not in "\\'\""] == [
        each for each in text if each not in "\\'\""
    ]
    assert len(made) == len(text)


@pytest.mark.parametrize("name", ["bround", "RINT"])
def test_what_would_be_wrong_is_refused(name: str) -> None:
    """With what to do instead; a column of that name isn't."""
    with pytest.raises(
        UnsupportedOperationException, match="doesn't give Spark's answer"
    ):
        repaired(f"select {name}(2.5)")
    with pytest.raises(UnsupportedOperationException, match="round"):
        check_function(name)
    assert repaired(f"select {name} from t") == f"select {name} from t"
    assert repaired(f"select '{name}(1)'") == f"select '{name}(1)'"


def test_percentiles_are_values_that_occur() -> None:
    """By their rank, one or several, nested or not; the accuracy is of no use."""
    one = repaired("select percentile_approx(x, 0.5, 100) + 1 from t")
    ordered = "sort_array(collect_list(x))"

    assert one == (
        f"select try_element_at({ordered}, "
        f"greatest(1, cast(ceil((0.5) * size({ordered})) as int))) + 1 from t"
    )
    several = repaired("select approx_percentile(f(x, 1), array(0.1, 0.9)) from t")
    assert several.startswith("select transform(array(0.1, 0.9), millstream__share -> ")
    assert "collect_list(f(x, 1))" in several
    twice = repaired(
        "select percentile_approx(a, 0.1), percentile_approx(b, 0.2) from t"
    )
    assert twice.count("try_element_at") == 2
    assert "percentile" not in twice
    with pytest.raises(UnsupportedOperationException, match="needs a column"):
        repaired("select percentile_approx(a)")


def test_the_days_of_a_week_begin_with_monday() -> None:
    """By Spark's other function for them, which is right."""
    text = "select weekday(d) from t where weekday = 1"

    assert repaired(text) == "select ((dayofweek(d) + 5) % 7) from t where weekday = 1"


@pytest.mark.parametrize("text", ["select weekday(d", "select 'weekday(", "weekday"])
def test_what_isnt_sql_is_left_to_the_engine(text: str) -> None:
    """Which says what is wrong with it."""
    assert repaired(text) == text

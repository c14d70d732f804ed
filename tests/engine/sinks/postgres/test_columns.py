"""Values as COPY takes them."""

import datetime

import polars as pl
import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.postgres.columns import PostgresColumn, csv_of, type_of


def csv(frame: pl.DataFrame, kind: str = "text", first: int | None = None) -> str:
    """Return rows as COPY takes them, for columns of one type."""
    columns = {
        name: PostgresColumn(name, kind, kind.endswith("[]")) for name in frame.columns
    }
    return csv_of(frame, columns, first).decode()


def test_empty_text_and_none_differ() -> None:
    """Only text is quoted, as CSV has it."""
    frame = pl.DataFrame({"a": ["", None, 'x"y', "a,b\n"], "b": [1, None, 2, 3]})

    assert csv(frame) == '"",1\n,\n"x""y",2\n"a,b\n",3\n'


def test_a_text_that_would_end_the_copy_is_quoted() -> None:
    r"""A line of `\.` alone is the end, to older servers."""
    assert csv(pl.DataFrame({"a": ["\\.", None, ""]})) == '"\\."\n\n""\n'


def test_a_number_may_come_first() -> None:
    """It says which attempt has staged the row."""
    assert csv(pl.DataFrame({"a": ["x", "y"]}), first=7) == "7,x\n7,y\n"


def test_arrays_escape_what_is_special_in_them() -> None:
    """Quotes and backslashes; and NULL as a text isn't None."""
    frame = pl.DataFrame({"a": [['a"\\', None, "NULL", ""], [], None]})

    assert csv(frame, "text[]").splitlines() == [
        '"{""a\\""\\\\"",NULL,""NULL"",""""}"',
        '"{}"',
        "",
    ]


def test_times_are_in_utc_and_spans_in_microseconds() -> None:
    """So they mean the same under any setting of the server."""
    instant = datetime.datetime(2024, 1, 1, 3, tzinfo=datetime.UTC)
    frame = pl.DataFrame({"t": [instant], "d": [datetime.timedelta(seconds=1)]})
    berlin = frame.with_columns(pl.col("t").dt.convert_time_zone("Europe/Berlin"))

    assert csv(berlin) == "2024-01-01T03:00:00.000000+0000,1000000 microseconds\n"


def test_bytes_need_a_column_for_bytes() -> None:
    """Their text form in a text column would be a surprise."""
    frame = pl.DataFrame({"b": [b"\0\xff"]})

    assert csv(frame, "bytea") == '"\\x00ff"\n'
    with pytest.raises(SparkError, match="has bytes, and is text"):
        csv(frame, "text")


def test_lists_of_lists_are_json_and_have_no_place_in_an_array() -> None:
    """The column's type decides."""
    frame = pl.DataFrame({"l": [[[1], [2]]]})

    assert type_of(frame.schema["l"]) == "jsonb"
    assert csv(frame, "jsonb") == '"[[1], [2]]"\n'
    with pytest.raises(SparkError, match="has lists of List"):
        csv(frame, "bigint[]")


def test_objects_have_no_type() -> None:
    """No column is for them."""
    assert type_of(pl.Object()) is None
    with pytest.raises(SparkError, match="has objects"):
        csv(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))

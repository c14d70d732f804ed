"""Tests of engine/columnar/dates.py: dates are read, written and asked as in Python."""

import datetime
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import dates
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
)

_draw = random.Random(2)
TIMES = [
    datetime.datetime(
        _draw.choice([1, 9, 999, 1000, 1582, 1900, 1969, 1970, 2000, 2020, 9999]),
        _draw.randrange(1, 13),
        _draw.randrange(1, 29),
        _draw.randrange(24),
        _draw.randrange(60),
        _draw.randrange(60),
        _draw.choice([0, 0, 1, 500_000, 999_999, 123_456, 120_000]),
    )
    for _ in range(300)
]
TIMES += [datetime.datetime.min, datetime.datetime.max, datetime.datetime(2020, 2, 29)]
DATES = [time.date() for time in TIMES]
FORMATS = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y%m%d", "%Y%m%d%H%M%S"]
FORMATS += ["%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y %H:%M", "%m-%d-%Y %H.%M.%S.%f", "%H:%M"]
FORMATS += ["%Y-%m-%d %H", "%d %b %Y", "%y%m%d", "%Y-%j", "%Y-%m-%d %I:%M %p", "", "x"]
FORMATS += ["%%%Y-%m-%d", "[%Y-%m-%d]", "%Y %m %d", "%Y-%m-%d %H:%M:%S %f", "%Y", "%Q"]
FORMATS += ["%d/%b/%Y:%H:%M:%S", "%H:%M:%S %Y-%m-%d", "%f%Y-%m-%d", "%S-%H-%M %Y-%m-%d"]
ISO = ["2020-01-01T00:00:60", "2020-01-01T00:00", "20200101", "2020-01-01T00:00:00Z"]
ISO += [
    "2020-01-01T00:00:00+01:00",
    "2020-W01-1",
    "2020-01-01x00:00:00",
    "",
    "2020-02-30",
]
ISO += ["2020-02-30T00:00:00", "0000-01-01", "2020-01-01T24:00:00", " 2020-01-01"]
ISO += ["2020-01-01T00:00:00.5", "2020-01-01T00:00:00,500", "2020-1-1", "٢020-01-01"]


def scalar(value: Value) -> Scalar:
    """Return a value as the column it is."""
    assert isinstance(value, Scalar)
    return value


def spoilt(text: str) -> list[str]:
    """Return texts that are nearly like `text`."""
    pairs = [
        ("0", ""),
        ("-", ""),
        (" ", "  "),
        ("0", "\u0660"),
        ("1", "6"),
        ("2", "9"),
        ("T", "t"),
    ]
    changed = [text.replace(old, new) for old, new in pairs]
    return [
        *changed,
        f"{text} ",
        f" {text}",
        text[:-1],
        f"{text}0",
        f"{text}\n",
        text.lower(),
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_reading(form: str) -> None:
    """What fits a format is read, and what doesn't fires a guard."""
    texts = [f"{time:%Y-%m-%d}".zfill(10) for time in TIMES[:1]]
    for time in TIMES:
        written = time.strftime(form.replace("%Y", "@"))
        texts.append(written.replace("@", f"{time.year:04}"))
    texts += [other for text in texts[:40] for other in spoilt(text)]

    check(
        lambda t, value: dates.strptime(t, value, Constant(form)),
        lambda text: datetime.datetime.strptime(text, form),
        texts,
        ordinary=True,
    )


def test_a_time_zone_takes_the_row_path() -> None:
    """Columns have none."""
    check(
        lambda t, value: dates.strptime(t, value, Constant("%Y%z")),
        lambda text: datetime.datetime.strptime(text, "%Y%z"),
        ["2020+0100", "2020Z", "x"],
    )


@pytest.mark.parametrize("form", FORMATS)
def test_writing(form: str) -> None:
    """`strftime` is what it is here, for dates with and without a time."""
    for rows in (TIMES, DATES):
        check(
            lambda t, value: dates.call_method(
                t, scalar(value), "strftime", [Constant(form)], {}
            ),
            lambda time: time.strftime(form),
            rows,
            ordinary=True,
        )


def test_reading_iso_formats() -> None:
    """What `isoformat` and `str` write is read without Python; all else with it."""
    written = [time.isoformat() for time in TIMES] + [str(time) for time in TIMES]
    check(
        dates.datetime_of_iso, datetime.datetime.fromisoformat, written, ordinary=True
    )
    check(dates.datetime_of_iso, datetime.datetime.fromisoformat, ISO)
    days = [str(date) for date in DATES]
    check(dates.date_of_iso, datetime.date.fromisoformat, days + ISO, ordinary=True)


@given(st.lists(st.datetimes().map(lambda time: time.replace(fold=0)), min_size=1))
def test_drawn_times(times: list[datetime.datetime]) -> None:
    """Any time is written and read again."""
    check(
        lambda t, value: dates.call_method(t, scalar(value), "isoformat", [], {}),
        lambda time: time.isoformat(),
        times,
        ordinary=True,
    )
    check(
        dates.datetime_of_iso,
        datetime.datetime.fromisoformat,
        [time.isoformat() for time in times],
        ordinary=True,
    )


PARTS = [
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "microsecond",
    "tzinfo",
    "fold",
]


@pytest.mark.parametrize("name", PARTS)
def test_attributes(name: str) -> None:
    """The parts of a time, and of a date those that it has."""
    check(
        lambda t, value: dates.attribute(t, scalar(value), name),
        lambda time: getattr(time, name),
        TIMES,
        ordinary=True,
    )
    if name in PARTS[:3]:
        check(
            lambda t, value: dates.attribute(t, scalar(value), name),
            lambda date: getattr(date, name),
            DATES,
            ordinary=True,
        )


CALLS: list[tuple[str, tuple[Any, ...]]] = [
    *(
        (name, ())
        for name in ("weekday", "isoweekday", "isoformat", "toordinal", "ctime")
    ),
    *(("isoformat", args) for args in [(" ",), ("T", "minutes"), ("T", "x")]),
    ("date", ()),
    ("timestamp", ()),
]


@pytest.mark.parametrize(("name", "args"), CALLS)
def test_methods(name: str, args: tuple[Any, ...]) -> None:
    """Methods of a time, and of a date those that it has."""
    for rows in (TIMES, DATES):
        if rows is DATES and (args or name in {"date", "timestamp"}):
            continue
        check(
            lambda t, value: dates.call_method(
                t, scalar(value), name, list(map(Constant, args)), {}
            ),
            lambda time: getattr(time, name)(*args),
            rows,
            ordinary=True,
        )


def test_replacing_parts() -> None:
    """A part that isn't there in another month fires a guard."""
    check(
        lambda t, value: dates.call_method(
            t, scalar(value), "replace", [], {"day": Constant(31), "hour": Constant(0)}
        ),
        lambda time: time.replace(day=31, hour=0),
        TIMES,
        ordinary=True,
    )


def test_making_dates_of_numbers() -> None:
    """Numbers that are no date fire a guard."""

    def translate(t: Translation, value: Value) -> Value:
        assert isinstance(value, Tuple)
        return dates.made_of_parts(t, Kind.DATETIME, value.items)

    rows = [(2020, 2, day, hour) for day in range(31) for hour in (0, 23, 24)]
    check(translate, lambda row: datetime.datetime(*row), rows, ordinary=True)


@pytest.mark.parametrize("name", ["time", "astimezone", "foo"])
def test_other_methods_are_refused(name: str) -> None:
    """What isn't known isn't guessed at."""
    with pytest.raises(Refusal, match=rf"`\.{name}\(\)`"):
        check(lambda t, v: dates.call_method(t, scalar(v), name, [], {}), str, TIMES)

"""Tests of engine/columnar/formatting.py: text is written as Python writes it."""

import datetime
import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import formatting
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Tuple,
    Value,
)

ROWS: list[list[Any]] = [
    [0.0, -0.0, 1.5, -2.675, 1e16, 1e-9, math.inf, math.nan, 123456.789],
    [0, 1, -1, 10**17, -(2**63)],
    ["a", "", "ß𝄞", "it's"],
    [True, False],
    [datetime.datetime(2020, 1, 2)],
    [None, 1],
]
SPECS = ["", ">10", "<10", "^10", "05d", "d", ".2f", "10.3f", ",", "x", "e", "g", "%"]
SPECS += ["s", "+", "b", "q", "08.3f", "_", "c", "n", "*^9", "%Y"]
CONVERSIONS: dict[str | None, Callable[[Any], Any]] = {
    None: lambda value: value,
    "r": repr,
    "s": str,
    "a": ascii,
}
TRIPLES = [(1, 2.5, "x"), (-3, 0.1, "é"), (10**10, 1e-9, "")]


def items(value: Value) -> tuple[Value, ...]:
    """Return the items of a tuple."""
    assert isinstance(value, Tuple)
    return value.items


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_fields_of_f_strings(conversion: str | None, spec: str) -> None:
    """Any value, conversion and specification; what raises fires a guard."""
    for rows in ROWS:
        check(
            lambda t, value: formatting.format_value(t, value, conversion, spec),
            lambda value: format(CONVERSIONS[conversion](value), spec),
            rows,
            ordinary=True,
        )


def test_a_field_of_great_width_is_refused() -> None:
    """It may take more memory than there is."""
    with pytest.raises(Refusal, match="the format '>1000000'"):
        check(
            lambda t, value: formatting.format_value(t, value, None, ">1000000"),
            str,
            ["a"],
        )


TEMPLATES = ["%s %s %s", "%d %f %s", "%5d|%.2f|%-5s|", "%x %e %r", "%d%% %g %5s"]
TEMPLATES += ["%c %s %s", "%i %d %s", "%05d %+.3e %a", "%ld %hd %s", "%.f %.1f %.3s"]
TEMPLATES += ["%q %s %s", "% d% s%s", "%#x %s %s"]
REFUSED = ["%s %s", "%s", "%s %s %s %s", "%*d %s", "%s %s %s %", "%(a)s", "%5% %s %s"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_percent(template: str) -> None:
    """`%` writes each value as its directive says; what raises fires a guard."""
    check(
        lambda t, value: formatting.percent(t, template, value),
        lambda row: template % row,
        TRIPLES,
        ordinary=True,
    )


@pytest.mark.parametrize("template", REFUSED)
def test_percent_with_other_values_than_directives_is_refused(template: str) -> None:
    """Python raises, always, or says what isn't worth saying."""
    with pytest.raises(Refusal):
        check(
            lambda t, value: formatting.percent(t, template, value),
            lambda row: template % row,
            TRIPLES,
        )


def test_percent_with_names_and_of_one_value() -> None:
    """A dict is taken apart by its keys; what is no tuple is one value."""
    check(
        lambda t, value: formatting.percent(t, "%(b)s/%(a)03d", value),
        lambda row: operator.mod("%(b)s/%(a)03d", row),
        [{"a": 1, "b": "x"}, {"a": 2, "b": ""}],
        ordinary=True,
    )
    for rows in ROWS:
        check(
            lambda t, value: formatting.percent(t, "<%s>", value),
            lambda row: f"<{row}>",
            rows,
            ordinary=True,
        )


FORMATS = ["{} {} {}", "{0} {2} {1}", "{:>5} {:.2f} {!r:>6}", "{{}} {} {} {}", "{2}{2}"]
FORMATS += ["no field", "{:,} {:e} {!s}"]
NO_FORMATS = ["{} {1} {}", "{0.real}", "{", "{:{}} {}", "{} {} {} {}", "{name}"]


@pytest.mark.parametrize("template", FORMATS)
def test_format(template: str) -> None:
    """`.format()` with fields by position."""
    check(
        lambda t, value: formatting.format_text(t, template, items(value), {}),
        lambda row: template.format(*row),
        TRIPLES,
    )


@pytest.mark.parametrize("template", NO_FORMATS)
def test_other_templates_are_refused(template: str) -> None:
    """Python raises, or does what columns don't know."""
    with pytest.raises(Refusal):
        check(
            lambda t, value: formatting.format_text(t, template, items(value), {}),
            lambda row: template.format(*row),
            TRIPLES,
        )


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_format_with_names(numbers: list[int]) -> None:
    """Keywords fill fields with names, as often as they are there."""
    check(
        lambda t, value: formatting.format_text(
            t, "{a:x}-{b}-{a}", [], {"a": value, "b": Constant("ß")}
        ),
        lambda number: "{a:x}-{b}-{a}".format(a=number, b="ß"),
        numbers,
        ordinary=True,
    )


def test_constants_stay_constants() -> None:
    """What is known while translating is written then."""
    made = formatting.text_of_parts([Constant("a"), Constant("b")])

    assert made == Constant("ab")

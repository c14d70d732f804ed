"""Tests of engine/columnar/conversions.py: int, float, bool, str and repr are Python's."""

import datetime
import itertools
import math
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check, evaluate

from millstream.engine.columnar import conversions
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    Refusal,
    Translation,
    Tuple,
    Value,
)

PIECES = ["1", "20", "+", "-", ".", "e", "E", "_", " ", "\n", "٣", "inf", "nan", "\x00"]
PIECES += ["x", "/", ",", "\xa0", "\x1c", "\x85"]
NUMBERS = [
    "".join(each) for n in range(4) for each in itertools.product(PIECES, repeat=n)
]
NUMBERS += ["0x1", "1e400", "-1e400", "1e-400", "infinity", "-Infinity", "+nan", "00"]
NUMBERS += [
    str(sign * 2**bits + n)
    for sign in (1, -1)
    for bits in (53, 63, 64)
    for n in (-1, 0, 1)
]
FLOATS = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e16, 1e15, 1e-5, 1e-4, 9.9999e-5]
FLOATS += [
    1e22,
    5e-324,
    1.7976931348623157e308,
    2.0**63,
    -(2.0**63),
    2.0**53,
    0.1,
    -1.5,
]
TEXTS = [
    "",
    "a",
    "'",
    '"',
    "'\"",
    "\\",
    "é",
    "\x7f",
    "\n",
    "a'b\"c",
    "\u2028",
    "𝄞",
    "\x00",
]
VALUES: dict[str, list[Any]] = {
    "int": [0, 1, -1, 2**63 - 1, -(2**63), 10**17],
    "float": FLOATS,
    "bool": [True, False],
    "str": [*TEXTS, "12", "-0", " 7 ", "0.5"],
    "bytes": [b"", b"12", b"\xff'"],
    "datetime": [datetime.datetime(2020, 1, 2), datetime.datetime(1, 1, 1, 0, 0, 0, 5)],
    "date": [datetime.date(2020, 1, 2), datetime.date.min],
    "int or None": [None, 5],
    "float or None": [None, 0.5, 1e-7],
    "str or None": [None, "x", ""],
    "bool or None": [None, True, False],
    "tuple": [(1, "a", None), (2, "b'", 3.5)],
    "tuple of one": [(1,), (2,)],
    "dict": [{"a": 1, "b'": "x"}, {"a": 0, "b'": "ü"}],
    "list": [[1], [], [2, 3]],
    "list of str": [["'"], [], ["é", "b"]],
}
FUNCTIONS: dict[
    str, tuple[Callable[[Translation, Value], Value], Callable[..., Any]]
] = {
    "int": (conversions.to_int, int),
    "float": (conversions.to_float, float),
    "bool": (conversions.to_bool, bool),
    "str": (conversions.to_text, str),
    "repr": (conversions.to_repr, repr),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_conversions(name: str, kind: str) -> None:
    """What a conversion makes of any value is what Python makes of it."""
    translate, function = FUNCTIONS[name]
    rows = VALUES[kind]
    is_number = name in {"int", "float"}
    if is_number and kind in {
        "date",
        "datetime",
        "tuple",
        "tuple of one",
        "dict",
        "list",
        "list of str",
    }:
        with pytest.raises(Refusal):
            evaluate(translate, rows)
        return

    check(translate, function, rows, ordinary=not is_number)


@pytest.mark.slow
def test_reading_numbers() -> None:
    """What Python reads is read alike, and what it doesn't fires a guard."""
    check(conversions.to_int, int, NUMBERS)
    check(conversions.to_float, float, NUMBERS, ordinary=True)


def test_ints_of_64_bits_fire_no_guard() -> None:
    """However they are written."""
    rows = ["0", "-5", " 7\n", "1_000", "+3", "٣", "-0", str(2**63 - 1), str(-(2**63))]
    check(conversions.to_int, int, rows, ordinary=True)
    check(conversions.to_int, int, [1.9, -1.9, 0.0, -0.0, 2.0**62], ordinary=True)


@given(st.lists(st.text("0123456789+-.eE_ ٣nainf", max_size=24), min_size=1))
def test_reading_drawn_numbers(texts: list[str]) -> None:
    """Drawn texts of what numbers are made of."""
    check(conversions.to_int, int, texts)
    check(conversions.to_float, float, texts, ordinary=True)


@given(st.lists(st.floats(), min_size=1))
@pytest.mark.slow
def test_writing_and_reading_drawn_floats(numbers: list[float]) -> None:
    """A float is written as Python does, and read again, to the last bit."""
    check(conversions.to_text, str, numbers, ordinary=True)
    check(conversions.to_int, int, numbers)
    for form in ("%r", "%.17g", "%.25f"):
        written = [form % number for number in numbers]
        check(conversions.to_float, float, written, ordinary=True)


@pytest.mark.slow
def test_writing_any_float() -> None:
    """Thousands of floats of all sizes are written alike."""
    draw = random.Random(1)
    bits = [struct.pack("<Q", draw.getrandbits(64)) for _ in range(20_000)]
    numbers = [struct.unpack("<d", each)[0] for each in bits]
    numbers += [
        draw.uniform(-10, 10) * 10.0 ** draw.randrange(-8, 20) for _ in range(20_000)
    ]

    check(conversions.to_text, str, numbers, ordinary=True)


@pytest.mark.parametrize("base", [2, 16, 0, 36, 1])
def test_ints_of_a_base(base: int) -> None:
    """`int(text, base)` is Python's, an error included."""
    check(
        lambda t, value: conversions.to_int(t, value, Constant(base)),
        lambda text: int(text, base),
        ["0", "ff", "0x1F", "101", "0b11", "z", "", " 1 ", "1_0"],
        ordinary=True,
    )


@pytest.mark.parametrize("constant", [0, 1.5, "", "a", None, True, (), (0,)])
def test_constants(constant: Any) -> None:
    """A constant is true if Python says so."""
    made = evaluate(lambda t, _: conversions.to_bool(t, Constant(constant)), ["x"])

    assert made.records == [bool(constant)]


def test_truth_of_containers() -> None:
    """What has something in it is true."""
    for value in (Tuple(()), Dict({}), Tuple((Constant(0),)), Dict({"a": Constant(0)})):
        made = evaluate(lambda t, _: conversions.to_bool(t, value), ["x"])

        assert made.records == [bool(value.items)]

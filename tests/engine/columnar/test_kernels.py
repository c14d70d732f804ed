"""Tests of engine/columnar/kernels.py: Python's functions over columns."""

import polars as pl
import pytest
from tests.engine.columnar.evaluating import check, evaluate

from millstream.engine.columnar import kernels
from millstream.engine.columnar.shapes import TEXT, Kind
from millstream.engine.columnar.values import (
    Constant,
    List,
    Scalar,
    Translation,
    Tuple,
    Value,
    as_scalar,
)


def test_only_odd_records_are_asked_of_python() -> None:
    """What is not odd is what the expression says; what is odd, the function."""
    asked: list[str] = []

    def shout(text: str) -> str:
        asked.append(text)
        return text.upper()

    def translate(t: Translation, value: Value) -> Value:
        text = as_scalar(value, "a text").expr
        odd = text.str.len_bytes() == 1
        made = kernels.corrected(t, text + "!", odd, [text], shout, "none")
        return Scalar(Kind.STR, made)

    made = evaluate(translate, ["a", "bb", "c", "dd"])

    assert made.records == ["A", "bb!", "C", "dd!"]
    assert sorted(asked) == ["a", "c"]


def test_odd_lists_take_their_places_among_the_others() -> None:
    """Lists, of which Polars can't change one, are corrected, too."""

    def translate(t: Translation, value: Value) -> Value:
        text = as_scalar(value, "a text").expr
        odd = text.str.starts_with("!")
        made = kernels.corrected(t, text.str.split(","), odd, [text], list, "none")
        return List(TEXT, (made,))

    made = evaluate(translate, ["a,b", "!x", "", "!,!", "c"])

    assert made.records == [["a", "b"], ["!", "x"], [""], ["!", ",", "!"], ["c"]]


@pytest.mark.parametrize("answer", [2**63, -(2**63) - 1, None])
def test_what_does_not_fit_takes_the_row_path(answer: int | None) -> None:
    """An int of more than 64 bits, or no answer at all, fires the guard."""

    def translate(t: Translation, value: Value) -> Value:
        number = as_scalar(value, "a number").expr

        def ask(known: int) -> int | None:
            return answer if known == 2 else known

        made = kernels.computed(t, [number], ask, pl.Int64, "too large")
        return Scalar(Kind.INT, made)

    made = evaluate(translate, [1, 2, 3])

    assert made.guarded == [[], ["too large"], []]
    assert made.records == [1, None, 3]


def test_text_with_a_lone_surrogate_takes_the_row_path() -> None:
    """No column holds it, so its record is guarded; the others are as they should be."""
    check(
        lambda t, value: Scalar(
            Kind.STR,
            kernels.computed(
                t, [as_scalar(value, "a number").expr], chr, pl.String, "no text"
            ),
        ),
        lambda number: chr(number).encode().decode(),
        [97, 0xD800, 0x10FFFF, 0x110000, -1],
        ordinary=True,
    )


def test_an_error_takes_the_row_path() -> None:
    """Where the function raises a guard fires; it isn't asked about None."""

    def translate(t: Translation, value: Value) -> Value:
        number = as_scalar(value, "a number").expr
        made = kernels.computed(t, [number], lambda n: 6 // n, pl.Int64, "zero")
        return Scalar(Kind.INT, made)

    made = evaluate(translate, [1, 0, None])

    assert made.guarded == [[], ["zero"], ["zero"]]


def test_a_literal_stands_beside_each_record() -> None:
    """One value of a literal goes with as many records as there are."""

    def translate(t: Translation, value: Value) -> Value:
        inputs = [pl.lit("x"), as_scalar(value, "a text").expr]
        made = kernels.computed(t, inputs, str.__add__, pl.String, "none")
        return Scalar(Kind.STR, made)

    assert evaluate(translate, ["a", "b"]).records == ["xa", "xb"]


def test_constants_are_filled_in() -> None:
    """A function of constants and columns becomes one of columns only."""
    column = Scalar(Kind.STR, pl.col("a"))
    asked = kernels.with_values(str.replace, [column, Constant("b"), Constant("c")])

    assert asked is not None
    columns, function = asked
    assert columns == [column]
    assert function("abba") == "acca"


def test_other_values_are_none_of_a_function() -> None:
    """A tuple can't be given to a kernel."""
    assert kernels.with_values(str, [Tuple(())]) is None

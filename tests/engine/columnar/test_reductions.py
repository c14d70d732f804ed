"""Reductions: merges are recognised by what they do, not by how they are written."""

import operator
from collections.abc import Callable
from typing import Any

import pytest

from millstream.engine.columnar.reductions import Operator, recognise
from millstream.engine.columnar.shapes import Fixed, Kind, Plain, Shape, TupleOf
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.steps import Group, Merge, Reduce

INT = Plain(Kind.INT)
FLOAT = Plain(Kind.FLOAT)
TEXT = Plain(Kind.STR)
BOOL = Plain(Kind.BOOL)


def add(a: int, b: int) -> int:
    """Add."""
    total = a + b
    return total  # noqa: RET504  As people write.


@pytest.mark.parametrize(
    ("merge", "shape", "operators"),
    [
        (lambda a, b: a + b, INT, [Operator.SUM]),
        (operator.add, INT, [Operator.SUM]),
        (add, INT, [Operator.SUM]),
        (lambda x, y: y + x, FLOAT, [Operator.SUM]),
        (max, TEXT, [Operator.GREATEST]),
        (lambda a, b: max(a, b), INT, [Operator.GREATEST]),
        (lambda a, b: min(a, b), INT, [Operator.LEAST]),
        (min, FLOAT, [Operator.LEAST]),
        (lambda a, b: a and b, BOOL, [Operator.ALL]),
        (operator.or_, BOOL, [Operator.ANY]),
        (lambda a, b: a, TEXT, [Operator.FIRST]),
        (lambda a, b: b, TEXT, [Operator.LAST]),
        (
            lambda a, b: (a[0] + b[0], max(a[1], b[1])),
            TupleOf((INT, TEXT)),
            [Operator.SUM, Operator.GREATEST],
        ),
        (operator.add, Fixed(1), [Operator.SUM]),
        (lambda a, b: (a[0] + b[0], None), TupleOf((INT, Fixed(None))), [Operator.SUM]),
    ],
    ids=[
        "lambda",
        "operator",
        "def",
        "swapped",
        "max",
        "choice",
        "least",
        "min",
        "and",
        "or",
        "first",
        "last",
        "tuple",
        "ones",
        "none beside",
    ],
)
def test_known_merges(
    merge: Callable[[Any, Any], Any], shape: Shape, operators: list[Operator]
) -> None:
    """Each column of the value gets its operator."""
    assert list(recognise(Reduce(merge), shape).operators) == operators


@pytest.mark.parametrize(
    ("merge", "shape", "reason"),
    [
        (lambda a, b: a - b, INT, "none of the reductions"),
        (lambda a, b: a * b, INT, "none of the reductions"),
        (lambda a, b: a + b, TEXT, "none of the reductions"),
        (lambda a, b: a + b, BOOL, "of the type"),
        (lambda a, b: a + b + 1, INT, "none of the reductions"),
        (lambda a, b: (a[1] + b[1], a[0] + b[0]), TupleOf((INT, INT)), "none of"),
        (lambda a, b: a + b, Plain(Kind.INT, is_optional=True), "of the type"),
        (lambda a, b: str(a), INT, "of the type"),
    ],
    ids=[
        "difference",
        "product",
        "joined texts",
        "bools make an int",
        "one more",
        "crossed",
        "optional",
        "another type",
    ],
)
def test_others_are_refused(
    merge: Callable[[Any, Any], Any], shape: Shape, reason: str
) -> None:
    """What isn't surely one of the known ones stays on the row path."""
    with pytest.raises(Refusal, match=reason):
        recognise(Reduce(merge), shape)


def test_grouping_is_no_reduction() -> None:
    """It has a way of its own."""
    with pytest.raises(Refusal, match="grouped"):
        recognise(Group(), INT)


def test_combiners_are_recognised() -> None:
    """The mean's sum and count, as combineByKey is always shown with."""
    mean = Merge(
        lambda v: (v, 1),
        lambda c, v: (c[0] + v, c[1] + 1),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
    )
    found = recognise(mean, FLOAT)

    assert list(found.operators) == [Operator.SUM, Operator.SUM]
    assert found.shape == TupleOf((FLOAT, INT))
    assert not found.is_order_free, "sums of floats depend on their order"


def test_a_fold_begins_with_its_zero() -> None:
    """`0 + v` first and `c + v` then is a sum."""
    fold = Merge(lambda v: 0 + v, lambda c, v: c + v, operator.add)

    assert list(recognise(fold, INT).operators) == [Operator.SUM]


def test_a_fold_from_another_number_is_refused() -> None:
    """It would be added once a partition, and once a block."""
    fold = Merge(lambda v: 5 + v, lambda c, v: c + v, operator.add)

    with pytest.raises(Refusal):
        recognise(fold, INT)


def test_unlike_merges_are_refused() -> None:
    """Values that are added, and combiners of which the greatest stays."""
    with pytest.raises(Refusal, match="isn't like"):
        recognise(Merge(lambda v: v, operator.add, max), INT)


def test_a_reduction_that_does_more_is_refused() -> None:
    """What it computes and throws away may raise."""
    with pytest.raises(Refusal, match="it does more than reduce"):
        recognise(Reduce(lambda a, b: (a + b, 1 // b)[0]), INT)

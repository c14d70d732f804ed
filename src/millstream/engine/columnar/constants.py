"""Constants: what is known while translating, and the Python that may be run on it."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar.functions import name_of
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import Constant, Refusal, Scalar, Value

PURE_TYPES = frozenset(
    {str, bytes, int, float, bool, tuple, frozenset, complex, range, dict, list, set}
)
MUTATING = frozenset(
    [
        "append",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "clear",
        "sort",
        "reverse",
        "add",
        "discard",
        "update",
        "setdefault",
        "difference_update",
        "intersection_update",
        "symmetric_difference_update",
    ]
)


def is_folded(args: Sequence[Value], keywords: Mapping[str, Value]) -> bool:
    """Say whether all of these are known."""
    return all(isinstance(each, Constant) for each in (*args, *keywords.values()))


def is_small(left: Constant, right: Constant) -> bool:
    """Say whether two ints are small enough to be worth working out now."""
    return all(
        not isinstance(each.value, int) or abs(each.value) < 1 << 16
        for each in (left, right)
    )


def fold(
    function: Any, args: Sequence[Value], keywords: Mapping[str, Value]
) -> Constant:
    """Run a pure function on constants.

    Raises:
        Refusal: It raises, as it will on the row path.
    """
    try:
        value = function(
            *[each.value for each in args if isinstance(each, Constant)],
            **{k: v.value for k, v in keywords.items() if isinstance(v, Constant)},
        )
    except Exception as error:
        msg = f"{name_of(function)} raises {type(error).__name__}"
        raise Refusal(msg) from error
    return Constant(value)


def exactly(count: int, args: Sequence[Value], what: str) -> Sequence[Value]:
    """Return the arguments, if there are so many.

    Raises:
        Refusal: There are more or fewer.
    """
    if len(args) != count:
        msg = f"{what} with {len(args)} arguments"
        raise Refusal(msg)
    return args


def as_value(truth: pl.Expr | bool) -> Value:
    """Return a truth as a value."""
    return Constant(truth) if isinstance(truth, bool) else Scalar(Kind.BOOL, truth)


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}

COMPARE_CONSTANTS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "is not": operator.is_not,
    "in": lambda a, b: a in b,
    "not in": lambda a, b: a not in b,
}

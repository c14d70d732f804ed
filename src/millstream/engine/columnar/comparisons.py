"""Comparisons: Python's equality, order and membership in columns."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar import list_operations, numbers, text_operations
from millstream.engine.columnar.shapes import Kind, dtype_of, kind_of
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    List,
    Refusal,
    Scalar,
    Special,
    Translation,
    Tuple,
    Value,
    as_scalar,
    literal,
    name_of,
)

_TEXTS = (Kind.STR, Kind.BYTES)
_TIMES = (Kind.DATETIME, Kind.DATE)
_MEMBERS_MAX = 10_000


def compare(t: Translation, sign: str, left: Value, right: Value) -> pl.Expr | bool:
    """Return whether a comparison holds, never null; True or False if it always is so.

    Raises:
        Refusal: Python raises, or it can't be told.
    """
    if sign in ("in", "not in"):
        holds = _contains(t, left, right)
    elif sign in ("is", "is not"):
        holds = _is(left, right)
    elif sign == "!=":
        holds = equal(t, left, right)
    elif sign == "==":
        return equal(t, left, right)
    else:
        return _ordered(t, sign, left, right)
    if sign in ("!=", "is not", "not in"):
        return (not holds) if isinstance(holds, bool) else ~holds
    return holds


def _is(left: Value, right: Value) -> pl.Expr | bool:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Constant) and one.value is None:
            return _is_none(other)
    msg = "`is` on values other than None"
    raise Refusal(msg)


def _is_none(value: Value) -> pl.Expr | bool:
    if isinstance(value, Scalar):
        return value.expr.is_null() if value.is_optional else False
    if isinstance(value, Constant):
        return value.value is None
    test = getattr(value, "is_none", None)
    return False if test is None else test()


def equal(t: Translation, left: Value, right: Value) -> pl.Expr | bool:
    """Return whether two values are equal, never null."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Constant) and one.value is None:
            return _is_none(other)
        if isinstance(one, Constant) and isinstance(one.value, tuple):
            items = Tuple(tuple(map(Constant, one.value)))
            return equal(t, items, other) if one is left else equal(t, other, items)
    if isinstance(left, Tuple) and isinstance(right, Tuple):
        if len(left.items) != len(right.items):
            return False
        return all_of(
            [equal(t, a, b) for a, b in zip(left.items, right.items, strict=True)]
        )
    if isinstance(left, Scalar | Constant) and isinstance(right, Scalar | Constant):
        return _equal_scalars(t, _scalar(left), _scalar(right), left, right)
    plain = (Scalar, Constant, Tuple)
    if isinstance(left, plain) and isinstance(right, plain):
        return False  # A tuple is equal to no number and no text.
    msg = f"`==` on a {name_of(left)} and a {name_of(right)}"
    raise Refusal(msg)


def _scalar(value: Scalar | Constant) -> Scalar:
    return value if isinstance(value, Scalar) else literal(value.value)


def _equal_scalars(
    t: Translation, a: Scalar, b: Scalar, left: Value, right: Value
) -> pl.Expr | bool:
    optional = [each for each in (a, b) if each.is_optional]
    if not optional:
        return _equal_present(t, a, b, left, right)
    a, b = (Scalar(e.kind, t.once(e.expr), e.is_optional) for e in (a, b))
    both = all_of([each.expr.is_not_null() for each in (a, b) if each.is_optional])
    assert not isinstance(both, bool), "one of them is optional"
    with t.when(both):
        plain_a, plain_b = Scalar(a.kind, a.expr), Scalar(b.kind, b.expr)
        holds = _equal_present(
            t,
            plain_a,
            plain_b,
            left if isinstance(left, Constant) else plain_a,
            right if isinstance(right, Constant) else plain_b,
        )
    holds = all_of([both, holds])
    if len(optional) < 2:
        return holds if isinstance(holds, bool) else holds.fill_null(False)
    neither = a.expr.is_null() & b.expr.is_null()
    if isinstance(holds, bool):
        return neither
    return holds.fill_null(False) | neither


def _equal_present(
    t: Translation, a: Scalar, b: Scalar, left: Value, right: Value
) -> pl.Expr | bool:
    if numbers.is_number(left) and numbers.is_number(right):
        return numbers.compare(t, "==", left, right)
    if a.kind is not b.kind:
        # `b"a" == "a"` is False too; with -b it warns.
        return False
    return a.expr == b.expr


def _ordered(t: Translation, sign: str, left: Value, right: Value) -> pl.Expr | bool:
    if isinstance(left, Tuple) and isinstance(right, Constant):
        if isinstance(right.value, tuple):
            right = Tuple(tuple(map(Constant, right.value)))
    elif (
        isinstance(right, Tuple)
        and isinstance(left, Constant)
        and isinstance(left.value, tuple)
    ):
        left = Tuple(tuple(map(Constant, left.value)))
    if isinstance(left, Tuple) and isinstance(right, Tuple):
        return _ordered_tuples(t, sign, left.items, right.items)
    if numbers.is_number(left) and numbers.is_number(right):
        return numbers.compare(t, sign, left, right)
    if isinstance(left, Scalar | Constant) and isinstance(right, Scalar | Constant):
        a, b = _scalar(left), _scalar(right)
        if a.kind is b.kind and a.kind in _TEXTS:
            return _as_truth(text_operations.compare(t, sign, left, right))
        if a.kind is b.kind and a.kind in _TIMES:
            x, y = t.required(a, f"`{sign}`"), t.required(b, f"`{sign}`")
            return numbers.COMPARE[sign](x, y)
    msg = f"`{sign}` on a {name_of(left)} and a {name_of(right)}"
    raise Refusal(msg)


def _ordered_tuples(
    t: Translation, sign: str, left: Sequence[Value], right: Sequence[Value]
) -> pl.Expr | bool:
    """Compare item by item: the first ones that differ decide."""
    if not left or not right:
        both = len(left), len(right)
        return {"<": both[0] < both[1], "<=": both[0] <= both[1]}.get(
            sign, both[0] > both[1] if sign == ">" else both[0] >= both[1]
        )
    (a, *rest_a), (b, *rest_b) = left, right
    same = equal(t, a, b)
    if same is True:
        return _ordered_tuples(t, sign, rest_a, rest_b)
    if same is False:
        return _ordered(t, sign, a, b)
    same = t.once(same)
    with t.when(~same):
        decided = _ordered(t, sign, a, b)
    with t.when(same):
        others = _ordered_tuples(t, sign, rest_a, rest_b)
    return any_of([all_of([~same, decided]), all_of([same, others])])


def all_of(truths: Sequence[pl.Expr | bool]) -> pl.Expr | bool:
    """Return whether all hold."""
    if any(each is False for each in truths):
        return False
    exprs = [each for each in truths if not isinstance(each, bool)]
    made: pl.Expr | bool = True
    for each in exprs:
        made = each if isinstance(made, bool) else made & each
    return made


def any_of(truths: Sequence[pl.Expr | bool]) -> pl.Expr | bool:
    """Return whether one holds at least."""
    if any(each is True for each in truths):
        return True
    exprs = [each for each in truths if not isinstance(each, bool)]
    made: pl.Expr | bool = False
    for each in exprs:
        made = each if isinstance(made, bool) else made | each
    return made


def _contains(t: Translation, needle: Value, holder: Value) -> pl.Expr | bool:
    if isinstance(holder, Constant):
        kind = type(holder.value)
        if kind in (tuple, list, set, frozenset, dict, range):
            return _is_member(t, needle, holder.value)
        if kind is not str:
            msg = f"`in` a {kind.__name__}"
            raise Refusal(msg)
    if isinstance(holder, Tuple):
        return any_of([equal(t, needle, item) for item in holder.items])
    if isinstance(holder, Dict):
        keys = list(holder.items)
        return _is_member(t, needle, keys)
    if isinstance(holder, Special):
        return _as_truth(holder.contains(t, needle))
    if isinstance(holder, List):
        return _as_truth(list_operations.list_contains(t, needle, holder))
    if as_scalar(holder, "`in`").kind is Kind.STR:
        return _as_truth(text_operations.contains(t, needle, holder))
    msg = f"`in` a {name_of(holder)}"
    raise Refusal(msg)


def _as_truth(value: Value) -> pl.Expr | bool:
    if isinstance(value, Constant):
        return bool(value.value)
    assert isinstance(value, Scalar), "a comparison is true or false"
    return value.expr


def _is_member(t: Translation, needle: Value, members: Any) -> pl.Expr | bool:
    if isinstance(needle, Constant):
        try:
            return needle.value in members
        except TypeError as error:
            raise Refusal(str(error)) from error
    if len(members) > _MEMBERS_MAX:
        msg = f"`in` {len(members)} members"
        raise Refusal(msg)
    scalar = needle if isinstance(needle, Scalar) else None
    if scalar is not None and scalar.kind in (*_TEXTS, Kind.INT) and len(members) > 3:
        alike = [each for each in members if kind_of(each) is scalar.kind]
        # A member of another type is equal to no text; to an int it may be.
        if scalar.kind is not Kind.INT or len(alike) == len(members):
            has_none = any(each is None for each in members)
            small = [e for e in alike if scalar.kind is not Kind.INT or abs(e) < 2**63]
            found = scalar.expr.is_in(pl.lit(_series(small, scalar.kind)).implode())
            if scalar.is_optional:
                return found.fill_null(has_none)
            return found
    if len(members) > 50:
        msg = f"`in` {len(members)} members of several types"
        raise Refusal(msg)
    return any_of([equal(t, needle, Constant(each)) for each in members])


def _series(values: Sequence[Any], kind: Kind) -> pl.Series:
    try:
        return pl.Series(values, dtype=dtype_of(kind), strict=True)
    except (UnicodeError, OverflowError) as error:
        msg = "a text that isn't Unicode, or too large an int"
        raise Refusal(msg) from error

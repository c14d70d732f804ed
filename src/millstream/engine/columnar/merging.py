"""Merging: one value of two, by a condition."""

import polars as pl

from millstream.engine.columnar.shapes import dtype_of
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
    literal,
    name_of,
)


class Perhaps(Special):
    """A tuple, list or dict where `is_there` is true, else None.

    No column can hold that: it can be looked at, and something else take None's place.
    """

    __match_args__ = ("value", "is_there")

    def __init__(self, value: Tuple | Dict | List, is_there: pl.Expr) -> None:
        """Let `value` be of any worth where it isn't there."""
        self.value = value
        self.is_there = is_there
        self.name = f"{name_of(value)} or None"

    def truth(self, t: Translation) -> pl.Expr:
        """Return whether it is there, and not empty."""
        if isinstance(self.value, List):
            return Special.truth(self, t)
        return self.is_there  # No empty one is a value: see `shape_of`.

    def is_none(self) -> pl.Expr:
        """Return where it isn't there."""
        return ~self.is_there

    def as_record(self, t: Translation) -> Value:
        """Refuse."""
        del t
        kinds = f"a {name_of(self.value)} and sometimes a NoneType"
        msg = f"sometimes {kinds}"
        raise Refusal(msg)


def choose(condition: pl.Expr, taken: Value, other: Value) -> Value:
    """Return `taken` where `condition` is true, else `other`; it is never null.

    Raises:
        Refusal: They are of different types: one column can't hold both.
    """
    match taken, other:
        case Constant(a), Constant(b) if type(a) is type(b) and repr(a) == repr(b):
            return taken
        case Tuple(a), Tuple(b) if len(a) == len(b):
            return Tuple(
                tuple(choose(condition, x, y) for x, y in zip(a, b, strict=True))
            )
        case Constant(tuple() as a), Tuple(b) if len(a) == len(b):
            return choose(condition, Tuple(tuple(map(Constant, a))), other)
        case Tuple(a), Constant(tuple() as b) if len(a) == len(b):
            return choose(condition, taken, Tuple(tuple(map(Constant, b))))
        case Dict(a), Dict(b) if list(a) == list(b):
            return Dict({key: choose(condition, a[key], b[key]) for key in a})
        case List(item, ours, kind), List(same, theirs, other_kind) if (
            item == same and kind is other_kind
        ):
            exprs = [
                pl.when(condition).then(x).otherwise(y)
                for x, y in zip(ours, theirs, strict=True)
            ]
            return List(item, tuple(exprs), kind)
        case _:
            return _choose_scalar(condition, taken, other)


def _choose_scalar(condition: pl.Expr, taken: Value, other: Value) -> Value:
    if any(isinstance(each, Perhaps | Tuple | Dict | List) for each in (taken, other)):
        perhaps = _choose_perhaps(condition, taken, other)
        if perhaps is not None:
            return perhaps
    known = [each for each in (taken, other) if not _is_none(each)]
    if len(known) == 2 and all(isinstance(each, Scalar | Constant) for each in known):
        a, b = (_scalar(each) for each in known)
        if a.kind is b.kind:
            made = pl.when(condition).then(a.expr).otherwise(b.expr)
            return Scalar(a.kind, made, a.is_optional or b.is_optional)
    if len(known) == 1 and isinstance(known[0], Scalar | Constant):
        scalar = _scalar(known[0])
        holds = condition if known[0] is taken else ~condition
        none = pl.lit(None, dtype=dtype_of(scalar.kind))
        made = pl.when(holds).then(scalar.expr).otherwise(none)
        return Scalar(scalar.kind, made, is_optional=True)
    msg = f"sometimes a {name_of(taken)} and sometimes a {name_of(other)}"
    raise Refusal(msg)


def _choose_perhaps(condition: pl.Expr, taken: Value, other: Value) -> Value | None:
    """Return one of two of which one may be None, or None: of what has no column alone."""
    both = [_parts(taken), _parts(other)]
    known = [each for each in both if each is not None]
    values = [value for value, _ in known if value is not None]
    if len(known) < 2 or not values or all(is_there is True for _, is_there in known):
        return None
    (_, a), (_, b) = known
    value = values[0] if len(values) == 1 else choose(condition, *values)
    assert isinstance(value, Tuple | Dict | List), "these are merged to their like"
    return Perhaps(value, pl.when(condition).then(a).otherwise(b))


def _parts(value: Value) -> tuple[Tuple | Dict | List | None, pl.Expr | bool] | None:
    """Return what is there, and where."""
    match value:
        case Perhaps():
            return value.value, value.is_there
        case Tuple() | Dict() | List():
            return value, True
        case Constant(None):
            return None, False
        case Constant(tuple() as items) if items:
            return Tuple(tuple(map(Constant, items))), True
        case _:
            return None


def _is_none(value: Value) -> bool:
    return isinstance(value, Constant) and value.value is None


def _scalar(value: Value) -> Scalar:
    if isinstance(value, Constant):
        return literal(value.value)
    assert isinstance(value, Scalar), "asked for a column or a constant only"
    return value

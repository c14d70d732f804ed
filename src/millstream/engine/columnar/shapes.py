"""Shapes: how the columns of a frame make up one Python value a record.

A record is a value of a plain type, or a tuple, list or dict of such; a frame has one
column for each plain value inside it, from left to right. What is in a list is a column of
lists. A shape is exact in type: bool isn't int, and a subclass of a plain type has none.
"""

import datetime
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias, assert_never


class Kind(Enum):
    """The plain types."""

    INT = int
    FLOAT = float
    BOOL = bool
    STR = str
    BYTES = bytes
    DATETIME = datetime.datetime
    DATE = datetime.date


@dataclass(frozen=True, slots=True)
class Plain:
    """A value of one plain type, or, with `is_optional`, None. Ints are of 64 bits.

    Datetimes are without a time zone.
    """

    kind: Kind
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same value in every record: None, or of a plain type. It has no column."""

    value: Any

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are equal, and aren't the same value; nor are 0.0 and -0.0.
        return isinstance(other, Fixed) and _exactly(self.value) == _exactly(
            other.value
        )

    def __hash__(self) -> int:
        return hash(_exactly(self.value))


def _exactly(value: Any) -> tuple[type[Any], str]:
    return type(value), repr(value)


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A tuple of a known length."""

    items: "tuple[Shape, ...]"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of any length whose items have one shape; in a `wrapper`, if there is one.

    That is a class which is made of a list and is iterated over like it.
    """

    item: "Shape"
    wrapper: type[Any] | None = None


@dataclass(frozen=True, slots=True)
class DictOf:
    """A dict with these text keys, in this order."""

    keys: tuple[str, ...]
    items: "tuple[Shape, ...]"


Shape: TypeAlias = Plain | Fixed | TupleOf | ListOf | DictOf

TEXT = Plain(Kind.STR)
_KINDS: dict[type[Any], Kind] = {kind.value: kind for kind in Kind}
_DEPTH_MAX = 6
FIELDS_MAX = 60
_INT_MAX = 1 << 63


def kind_of(value: Any) -> Kind | None:
    """Return the plain type of a value, if it is of one; None has none."""
    kind = _KINDS.get(type(value))
    return kind if kind is not None and _has_no_zone(type(value), (value,)) else None


def is_unicode(text: str) -> bool:
    """Say whether a text has no lone surrogate, which no column can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_shapes(shape: Shape) -> Iterator[Plain]:
    """Yield the shape of each column, from left to right; lists around it left out."""
    match shape:
        case Plain():
            yield shape
        case Fixed():
            return
        case TupleOf(items) | DictOf(_, items):
            for item in items:
                yield from plain_shapes(item)
        case ListOf(item):
            yield from plain_shapes(item)
        case _:
            assert_never(shape)


def column_count(shape: Shape) -> int:
    """Return how many columns a frame of this shape has."""
    return sum(1 for _ in plain_shapes(shape))


def column_names(count: int) -> list[str]:
    """Return the names of a frame's columns."""
    return [f"c{position}" for position in range(count)]


def dtypes(shape: Shape) -> list[Any]:
    """Return the Polars type of each column of a frame of this shape."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    match shape:
        case Plain(kind):
            return [dtype_of(kind)]
        case Fixed():
            return []
        case TupleOf(items) | DictOf(_, items):
            return list(itertools.chain.from_iterable(map(dtypes, items)))
        case ListOf(item):
            return [pl.List(dtype) for dtype in dtypes(item)]
        case _:
            assert_never(shape)


def dtype_of(kind: Kind) -> Any:
    """Return the Polars type that holds values of a plain type."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    return {
        Kind.INT: pl.Int64,
        Kind.FLOAT: pl.Float64,
        Kind.BOOL: pl.Boolean,
        Kind.STR: pl.String,
        Kind.BYTES: pl.Binary,
        Kind.DATETIME: pl.Datetime("us"),
        Kind.DATE: pl.Date,
    }[kind]


# From rows to columns.


def infer_shape(rows: Sequence[Any]) -> Shape | None:
    """Return the one shape that all of `rows` have; None when there is none.

    Looks at the type of every value. Ints of more than 64 bits and text that isn't Unicode
    have no shape either, but that is found by `to_series` only.
    """
    return _infer(rows, _DEPTH_MAX) if rows else None


def _infer(values: Sequence[Any], depth_left: int) -> Shape | None:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is type(None):
            return Fixed(None)
        if kind in _KINDS:
            return Plain(_KINDS[kind]) if _has_no_zone(kind, values) else None
        return _infer_nested(kind, values, depth_left) if depth_left else None
    if len(kinds) == 2 and type(None) in kinds:
        (kind,) = kinds - {type(None)}
        present = [value for value in values if value is not None]
        if kind in _KINDS and _has_no_zone(kind, present):
            return Plain(_KINDS[kind], is_optional=True)
    return None


def _has_no_zone(kind: type[Any], values: Sequence[Any]) -> bool:
    if kind is not datetime.datetime:
        return True
    return all(value.tzinfo is None and not value.fold for value in values)


def _infer_nested(
    kind: type[Any], values: Sequence[Any], depth_left: int
) -> Shape | None:
    if kind is tuple:
        lengths = set(map(len, values))
        if len(lengths) != 1 or not 0 < next(iter(lengths)) <= FIELDS_MAX:
            return None
        items = _infer_each(zip(*values, strict=True), depth_left - 1)
        return None if items is None else TupleOf(items)
    if kind is list:
        inner = list(itertools.chain.from_iterable(values))
        item = _infer(inner, depth_left - 1) if inner else None
        # In a list None is no missing value of its own shape; and what has no column
        # has no length.
        if item is None or not column_count(item):
            return None
        return ListOf(item)
    if kind is dict:
        keys = tuple(values[0])
        if (
            not 0 < len(keys) <= FIELDS_MAX
            or set(map(type, keys)) != {str}
            or len(set(map(tuple, values))) != 1
        ):
            return None
        items = _infer_each(zip(*(v.values() for v in values), strict=True), depth_left)
        return None if items is None else DictOf(keys, items)
    return None


def _infer_each(columns: Any, depth_left: int) -> tuple[Shape, ...] | None:
    items: list[Shape] = []
    for column in columns:
        item = _infer(column, depth_left)
        if item is None:
            return None
        items.append(item)
    return tuple(items)


def to_frame(rows: Sequence[Any], shape: Shape) -> Any:
    """Return rows of this shape as a Polars frame; None when a value is too large.

    That is: an int of more than 64 bits, or text with a lone surrogate.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    try:
        columns = list(_columns(rows, shape))
        made = [
            pl.Series(f"c{position}", values, dtype=dtype, strict=True)
            for position, (values, dtype) in enumerate(
                zip(columns, dtypes(shape), strict=True)
            )
        ]
    except (OverflowError, UnicodeError, TypeError, pl.exceptions.PolarsError):
        return None
    if not made:
        return blank_frame(len(rows))
    return pl.DataFrame(made)


def range_to_frame(numbers: range) -> Any:
    """Return what `to_frame` makes of the ints of a range, without making objects."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    ends = (numbers.start, numbers.stop, numbers.step)
    if any(abs(each) >= _INT_MAX for each in ends):
        return to_frame(list(numbers), Plain(Kind.INT))
    made = pl.int_range(*ends, dtype=pl.Int64, eager=True)
    return pl.DataFrame([made.alias("c0")])


def blank_frame(height: int) -> Any:
    """Return the frame of records of which nothing varies: its one column counts them."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    return pl.DataFrame({"blank": pl.repeat(True, height, eager=True)})


def _columns(values: Sequence[Any], shape: Shape) -> Iterator[Sequence[Any]]:
    match shape:
        case Plain():
            yield values
        case Fixed():
            return
        case TupleOf(items):
            for column, item in zip(zip(*values, strict=True), items, strict=True):
                yield from _columns(column, item)
        case DictOf(_, items):
            each = zip(*(value.values() for value in values), strict=True)
            for column, item in zip(each, items, strict=True):
                yield from _columns(column, item)
        case ListOf(item):
            yield from _list_columns(values, item)
        case _:
            assert_never(shape)


def _list_columns(values: Sequence[Any], item: Shape) -> Iterator[Sequence[Any]]:
    if isinstance(item, Plain):
        yield values
        return
    flat = list(itertools.chain.from_iterable(values))
    for column in _columns(flat, item):
        items = iter(column)
        yield [list(itertools.islice(items, len(value))) for value in values]


# From columns to rows.


def to_rows(frame: Any, shape: Shape) -> list[Any]:
    """Return the records of a frame as Python values: new ones on each call."""
    columns = iter([series.to_list() for series in frame.get_columns()])
    return list(_rows(columns, shape, frame.height))


def _rows(columns: Iterator[list[Any]], shape: Shape, count: int) -> Sequence[Any]:
    match shape:
        case Plain():
            return next(columns)
        case Fixed(value):
            return [value] * count
        case TupleOf(items):
            return list(
                zip(*[_rows(columns, item, count) for item in items], strict=True)
            )
        case DictOf(keys, items):
            fields = [_rows(columns, item, count) for item in items]
            return [
                dict(zip(keys, row, strict=True)) for row in zip(*fields, strict=True)
            ]
        case ListOf(item, wrapper):
            lists: Sequence[Any]
            if isinstance(item, Plain):
                lists = next(columns)
            else:
                lists = _list_rows(columns, item)
            return lists if wrapper is None else list(map(wrapper, lists))
        case _:
            assert_never(shape)


def _list_rows(columns: Iterator[list[Any]], item: Shape) -> list[list[Any]]:
    own = [next(columns) for _ in range(column_count(item))]
    lengths = list(map(len, own[0]))
    flat = iter([list(itertools.chain.from_iterable(column)) for column in own])
    items = iter(_rows(flat, item, sum(lengths)))
    return [list(itertools.islice(items, length)) for length in lengths]

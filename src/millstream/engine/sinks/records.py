"""Records: one partition of a batch as a sink gets it: objects or tables, as it likes."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from millstream.engine.base.errors import SparkError
from millstream.engine.columnar.blocks import Columns, rows_of
from millstream.engine.columnar.shapes import DictOf, Plain, Shape, TupleOf

if TYPE_CHECKING:
    import polars as pl

T_co = TypeVar("T_co", covariant=True)

_TABLE_ROWS = 50_000


class Records(Generic[T_co]):
    """The records of a partition, once: iterate over them, or take them as tables."""

    def __init__(
        self, pieces: Iterable[Any], names: Sequence[str] | None = None
    ) -> None:
        """Hold pieces: blocks, or iterables of records; `names` are those of columns."""
        self._pieces = iter(pieces)
        self._names = names

    def __iter__(self) -> Iterator[T_co]:
        """Yield the records as objects."""
        return chain.from_iterable(map(rows_of, self._pieces))

    def tables(self) -> "Iterator[pl.DataFrame]":
        """Yield the records as Polars frames of some 50,000 rows, with names for columns.

        Dicts have their keys for names, `Row`s, named tuples and dataclasses their fields,
        tuples `_1`, `_2` and so on, and other records `value`; unless names were given.
        Where the stream goes by columns, no object is made of any record.

        Raises:
            SparkError: Records aren't of one kind, or a value has no place in a column.
        """
        for piece in self._pieces:
            if isinstance(piece, Columns):
                frame = frame_of(piece)
                if frame is not None:
                    yield self._named(frame)
                    continue
            rows = iter(rows_of(piece))
            while some := list(islice(rows, _TABLE_ROWS)):
                yield self._named(table_of(some))

    def check_tables(self) -> None:
        """Raise if these records are no table; for `Sink.check`.

        Raises:
            SparkError: As `tables`.
        """
        deque(self.tables(), 0)

    def table(self) -> "pl.DataFrame":
        """Return all records as one frame; one without columns when there are none.

        Raises:
            SparkError: As `tables`.
        """
        import polars as pl  # noqa: PLC0415  Heavy; only where there are tables.

        found = [each for each in self.tables() if each.height]
        if not found:
            return pl.DataFrame()
        return together(found)

    def _named(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        if self._names is None:
            return frame
        if len(self._names) != frame.width:
            msg = (
                f"records have {frame.width} columns ({', '.join(frame.columns)}), and "
                f"{len(self._names)} names were given: {', '.join(self._names)}"
            )
            raise SparkError(msg, hint="give a name for each column")
        return frame.rename(dict(zip(frame.columns, self._names, strict=True)))


def together(frames: "Sequence[pl.DataFrame]") -> "pl.DataFrame":
    """Return frames as one: columns by name, None where one lacks a column.

    Raises:
        SparkError: A column has types that don't go together.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there are tables.

    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        msg = f"columns of one name have types that don't go together: {error}"
        raise SparkError(msg, hint="map the records to one type first") from error


def table_of(rows: Sequence[Any]) -> "pl.DataFrame":
    """Return records as a frame; see `Records.tables`.

    Raises:
        SparkError: They aren't of one kind, or a value has no place in a column.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there are tables.

    names, columns = _columns_of(rows)
    made = [_series(name, values) for name, values in zip(names, columns, strict=True)]
    return pl.DataFrame(made)


def _columns_of(rows: Sequence[Any]) -> tuple[Sequence[str], list[Sequence[Any]]]:
    first = rows[0]
    if isinstance(first, Mapping):
        _check_all(rows, Mapping)
        # Any record may have keys that the first one lacks.
        names = list(dict.fromkeys(chain.from_iterable(rows)))
        if not all(isinstance(each, str) for each in names):
            msg = f"a dict's keys name columns and must be text, not {names!r:.100}"
            raise SparkError(msg)
        return names, [[row.get(name) for row in rows] for name in names]
    if isinstance(first, tuple):
        _check_all(rows, tuple)
        known = getattr(first, "__fields__", None) or getattr(first, "_fields", None)
        names = known or [f"_{position + 1}" for position in range(len(first))]
        if set(map(len, rows)) != {len(first)}:
            msg = "tuples of different lengths can't be a table"
            raise SparkError(msg, hint=f"the first one is {first!r:.100}")
        return list(names), list(zip(*rows, strict=True))
    if is_dataclass(first):
        _check_all(rows, type(first))
        names = [each.name for each in fields(first)]
        return names, [[getattr(row, name) for row in rows] for name in names]
    return ["value"], [rows]


def _check_all(rows: Sequence[Any], kind: type) -> None:
    for row in rows:
        if not isinstance(row, kind):
            msg = (
                f"records aren't of one kind: {rows[0]!r:.100} is a "
                f"{type(rows[0]).__name__}, and {row!r:.100} a {type(row).__name__}"
            )
            raise SparkError(msg, hint="map the records to one type first")


def _series(name: str, values: Sequence[Any]) -> "pl.Series":
    import polars as pl  # noqa: PLC0415  Heavy; only where there are tables.

    try:
        made = pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, UnicodeError, pl.exceptions.PolarsError):
        pass
    else:
        if made.dtype not in {pl.Object, pl.Int128, pl.UInt128}:
            return made
    numbers = {type(value) for value in values} - {type(None)}
    if numbers == {int, float}:  # Mixed, as JSON has them.
        try:
            return pl.Series(name, values, dtype=pl.Float64, strict=False)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            pass
    kinds = sorted(each.__name__ for each in numbers)
    msg = f"column '{name}' can't hold its values, of type {', '.join(kinds)}"
    raise SparkError(
        msg,
        hint="a column holds one type: numbers of 64 bits, text, bytes, bool, dates, or "
        "lists and dicts of such",
    )


def frame_of(columns: Columns) -> "pl.DataFrame | None":
    """Return columns with names; None where their shape needs objects."""
    names = _names_of(columns.shape)
    if names is None:
        return None
    frame: pl.DataFrame = columns.frame
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _names_of(shape: Shape) -> Sequence[str] | None:
    match shape:
        case Plain():
            return ["value"]
        case TupleOf(items) if all(isinstance(each, Plain) for each in items):
            return [f"_{position + 1}" for position in range(len(items))]
        case DictOf(keys, items) if all(isinstance(each, Plain) for each in items):
            return keys
        case _:
            return None

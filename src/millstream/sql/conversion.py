"""Conversion: records to Arrow tables, with Spark's rules for types, in tasks or here.

Records become columns by one `zip`, and each column an Arrow array; a partition that is
columns already becomes a table without one object a record. What Spark says of a record
that doesn't fit, the client's own verifier says.
"""

import decimal
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from typing import Any, ClassVar

from millstream.engine.columnar.blocks import Columns, rows_of
from millstream.engine.columnar.shapes import DictOf, Plain
from millstream.engine.sinks.records import frame_of
from millstream.errors import PySparkTypeError, PySparkValueError
from millstream.sql import client
from millstream.sql.row import Row

client.install()

_SAMPLE_ROWS = 100
_ROWS_AT_A_TIME = 50_000
_ZIPPED_ROWS = 256
"""More at a time have Python's collector look at as many iterators, which takes longer."""
_EMPTY = object()


@dataclass(frozen=True, slots=True)
class Inference:
    """Settings that decide what type a value has."""

    dict_is_struct: bool = False
    array_by_first: bool = False
    map_by_first: bool = False
    timestamp_is_local: bool = False

    def of(self, row: Any, names: Sequence[str] | None) -> Any:
        """Return the schema of a record.

        Raises:
            PySparkTypeError: It has none.
        """
        types = client.module("sql.types")
        return types._infer_schema(
            _without_slots(row),
            names,
            infer_dict_as_struct=self.dict_is_struct,
            infer_array_from_first_element=self.array_by_first,
            infer_map_from_first_pair=self.map_by_first,
            prefer_timestamp_ntz=self.timestamp_is_local,
        )

    def merged(self, rows: Iterable[Any], names: Sequence[str] | None) -> Any:
        """Return a schema that all records fit.

        Raises:
            PySparkTypeError: There is none.
        """
        types = client.module("sql.types")
        made = None
        for row in rows:
            found = self.of(row, names)
            made = found if made is None else types._merge_type(made, found)
        return made


def schema_of_rdd(
    rdd: Any,
    names: Sequence[str] | None,
    ratio: float | None,
    inference: Inference,
) -> Any:
    """Return the schema of an RDD, as Spark finds it: from its first records, or a sample.

    Raises:
        ValueError: It is empty.
        PySparkValueError: A column has nothing but None among the first 100 records.
    """
    types = client.module("sql.types")
    first = rdd.first()
    _check_not_empty(first)
    if ratio is not None:
        sampled = rdd.sample(False, float(ratio)) if ratio < 1 else rdd
        schema = sampled.mapPartitions(_MergedSchema(inference, names)).collect()
        made = schema[0] if schema else inference.of(first, names)
        for each in schema[1:]:
            made = types._merge_type(made, each)
        return made
    made = inference.of(first, names)
    if types._has_nulltype(made):
        for row in rdd.take(_SAMPLE_ROWS)[1:]:
            made = types._merge_type(made, inference.of(row, names))
            if not types._has_nulltype(made):
                break
        else:
            raise client.module("errors").PySparkValueError(
                errorClass="CANNOT_DETERMINE_TYPE", messageParameters={}
            )
    return made


@dataclass(frozen=True, slots=True)
class _MergedSchema:
    inference: Inference
    names: Sequence[str] | None

    def __call__(self, rows: Iterator[Any]) -> Iterator[Any]:
        made = self.inference.merged(rows, self.names)
        return iter([] if made is None else [made])


def schema_of_rows(
    rows: Sequence[Any], names: Sequence[str] | None, inference: Inference
) -> Any:
    """Return the schema of all records of a list.

    Raises:
        PySparkValueError: There are none, or a column has nothing but None.
        PySparkTypeError: They have types that don't go together.
    """
    types = client.module("sql.types")
    if not rows:
        raise client.module("errors").PySparkValueError(
            errorClass="CANNOT_INFER_EMPTY_SCHEMA", messageParameters={}
        )
    _check_not_empty(rows[0])
    made = inference.merged(_telling(rows), names)
    if types._has_nulltype(made):
        raise client.module("errors").PySparkValueError(
            errorClass="CANNOT_DETERMINE_TYPE", messageParameters={}
        )
    return made


_TELL_ALL = (int, float, str, bool, bytes, type(None))


def _telling(rows: Sequence[Any]) -> Sequence[Any]:
    """Return rows that tell the schema of all: one, if all have the same plain types."""
    first = rows[0]
    if not isinstance(first, tuple):
        return rows
    named = getattr(first, "__fields__", None)
    is_like = all(
        type(row) is type(first)
        and len(row) == len(first)
        and getattr(row, "__fields__", None) == named
        for row in rows
    )
    if not is_like or not first:
        return rows
    kinds = [set(map(type, column)) for column in zip(*rows, strict=True)]
    is_plain = all(len(each) == 1 and each <= set(_TELL_ALL) for each in kinds)
    return rows[:1] if is_plain else rows


def _check_not_empty(first: Any) -> None:
    if isinstance(first, (tuple, list, dict, str)) and not first and first != "":
        raise client.module("errors").PySparkValueError(
            errorClass="CANNOT_INFER_EMPTY_SCHEMA", messageParameters={}
        )


def is_record(value: Any) -> bool:
    """Say whether a value is a record with columns of its own, not one's value."""
    is_like = isinstance(value, (tuple, list, dict)) or hasattr(value, "__dict__")
    return is_like or is_dataclass(value)


def with_names(schema: Any, names: Sequence[str]) -> Any:
    """Give a schema other names, as far as there are any.

    Dicts and objects are still asked for their own, as Spark does.

    Raises:
        PySparkValueError: There are more names than columns.
    """
    if len(names) > len(schema.fields):
        raise lengths_differ(len(names), len(schema.fields))
    if names:
        schema.own_names = list(schema.names)
    for place, name in enumerate(names):
        schema.fields[place].name = name
        schema.names[place] = name
    return schema


@dataclass(frozen=True, slots=True)
class ToArrow:
    """Makes one partition a table. Picklable; takes pieces, which may be columns."""

    schema: Any
    """Spark's StructType."""
    is_wrapped: bool
    """Whether a record is the value of the only column, not a tuple of all."""
    is_verified: bool
    takes_pieces: ClassVar[bool] = True

    def __call__(self, _partition: int, pieces: Iterator[Any]) -> Any:
        """Return a partition as a table."""
        return self.table(pieces)

    def table(self, pieces: Iterable[Any]) -> Any:
        """Return pieces, which may be columns, as one table.

        Raises:
            PySparkTypeError: A value isn't of its column's type; told as Spark does.
        """
        import pyarrow as pa  # noqa: PLC0415  An extra.

        wanted = arrow_schema(self.schema)
        made = []
        for piece in pieces:
            table = None
            if isinstance(piece, Columns):
                table = self._of_columns(piece, wanted)
            if table is not None:
                made.append(table)
                continue
            rows = iter(rows_of(piece))
            while some := list(itertools.islice(rows, _ROWS_AT_A_TIME)):
                made.append(self.of_rows(some, wanted))
        return pa.concat_tables(made) if made else wanted.empty_table()

    def _of_columns(self, columns: Columns, wanted: Any) -> Any:
        """Return columns as a table; None if some have other types than they should."""
        import pyarrow as pa  # noqa: PLC0415  An extra.

        frame = frame_of(columns)
        if frame is None or frame.width != len(wanted):
            return None
        if isinstance(columns.shape, DictOf):
            # By name: a schema's order is another than that of the keys.
            keys = self._keys
            if set(frame.columns) != set(keys):
                return None
            frame = frame.select(keys)
        elif self.is_wrapped != isinstance(columns.shape, Plain):
            return None
        table = frame.to_arrow().rename_columns(wanted.names)
        kinds = zip(table.schema.types, wanted.types, strict=True)
        if not all(_is_alike(have, want) for have, want in kinds):
            return None
        if any(
            not field.nullable and column.null_count
            for field, column in zip(wanted, table.columns, strict=True)
        ):
            return None
        arrays = [
            column.cast(field.type)
            for field, column in zip(wanted, table.columns, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=wanted)

    @property
    def _keys(self) -> list[str]:
        """What dicts and objects call the columns."""
        return list(getattr(self.schema, "own_names", self.schema.names))

    def of_rows(self, rows: Sequence[Any], wanted: Any) -> Any:
        """Return records as a table."""
        import pyarrow as pa  # noqa: PLC0415  An extra.

        columns = self._columns_of(rows)
        if columns is None:
            self._complain(rows)
            names = enumerate(self._keys)
            columns = [_lenient(rows, place, name) for place, name in names]
        arrays = [
            self._array(field, values, want)
            for field, values, want in zip(
                self.schema.fields, columns, wanted.types, strict=True
            )
        ]
        if not arrays:
            return pa.Table.from_pylist([{}] * len(rows))
        return pa.Table.from_arrays(arrays, schema=wanted)

    def _columns_of(self, rows: Sequence[Any]) -> Sequence[Sequence[Any]] | None:
        """Return what each column has; None if records aren't all as long as they should."""
        if self.is_wrapped:
            return [rows]
        names = self._keys
        first = rows[0]
        if isinstance(first, (tuple, list)):
            columns = _transposed(rows, len(names))
            return None if _has_mappings(rows) else columns
        if all(isinstance(each, dict) for each in rows):
            return [[row.get(name) for row in rows] for name in names]
        if all(hasattr(each, "__dict__") for each in rows):
            return [[vars(row).get(name) for row in rows] for name in names]
        if all(is_dataclass(each) for each in rows):
            return [[getattr(row, name, None) for row in rows] for name in names]
        return None

    def _complain(self, rows: Sequence[Any]) -> None:
        """Raise what Spark raises for the first record that doesn't fit."""
        types = client.module("sql.types")
        if self.is_verified:
            verify = types._make_type_verifier(self.schema)
            for row in rows:
                verify(row)
        for row in rows:
            if isinstance(row, (tuple, list)) and len(row) != len(self.schema.names):
                raise lengths_differ(len(self.schema.names), len(row))

    def _array(self, field: Any, values: Sequence[Any], wanted: Any) -> Any:
        import pyarrow as pa  # noqa: PLC0415  An extra.

        if self.is_verified:
            _verify(field, values)
        convert = _converter(field, values)
        try:
            if convert is not None:
                values = [convert(value) for value in values]
            return pa.array(values, wanted)
        except decimal.InvalidOperation as error:
            msg = f"column '{field.name}' can't hold a number of so many digits"
            raise PySparkValueError(
                msg, hint=f"its type is {field.dataType}"
            ) from error
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            msg = f"column '{field.name}' can't hold its values: {error}"
            raise PySparkValueError(
                msg, hint=f"its type is {field.dataType}"
            ) from error


def _transposed(rows: Sequence[Any], width: int) -> list[list[Any]] | None:
    """Return the columns of records; None unless all have `width` values."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    for start in range(0, len(rows), _ZIPPED_ROWS):
        try:
            parts = list(zip(*rows[start : start + _ZIPPED_ROWS], strict=True))
        except (TypeError, ValueError):
            return None
        if len(parts) != width:
            return None
        for column, part in zip(columns, parts, strict=True):
            column.extend(part)
    return columns


def lengths_differ(expected: int, actual: int) -> Exception:
    """Return the error about columns of which there are more or fewer than names."""
    made: Exception = client.module("errors").PySparkValueError(
        errorClass="AXIS_LENGTH_MISMATCH",
        messageParameters={
            "expected_length": str(expected),
            "actual_length": str(actual),
        },
    )
    return made


def as_table(data: Any) -> Any:
    """Return Arrow or Polars data as an Arrow table of types that Spark has.

    Unsigned integers become larger signed ones or decimals, categories texts, arrays of a
    fixed size lists. None if `data` is something else.

    Raises:
        PySparkTypeError: A column has a type that Spark has nothing like.
    """
    import pyarrow as pa  # noqa: PLC0415  An extra.

    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if type(data).__module__.partition(".")[0] == "polars":
        data = _polars_table(data)
    if not isinstance(data, pa.Table):
        return None
    wanted = pa.schema(
        field.with_type(_spark_like(field.type, field.name)) for field in data.schema
    )
    # Nanoseconds are cut off, as Spark does.
    return data if data.schema.equals(wanted) else data.cast(wanted, safe=False)


def _polars_table(data: Any) -> Any:
    import polars as pl  # noqa: PLC0415  Slow to load.

    if isinstance(data, pl.Series):
        data = data.to_frame(data.name or "value")
    elif isinstance(data, pl.LazyFrame):
        data = data.collect()
    strange = pl.selectors.by_dtype(pl.Int128)
    return data.with_columns(strange.cast(pl.Decimal(38, 0))).to_arrow()


def _spark_like(kind: Any, name: str) -> Any:
    """Return the Arrow type for another one that the client takes."""
    import pyarrow as pa  # noqa: PLC0415  An extra.

    types = pa.types
    for is_like, wanted in (
        (types.is_uint8, pa.int16()),
        (types.is_uint16, pa.int32()),
        (types.is_uint32, pa.int64()),
        (types.is_uint64, pa.decimal128(20, 0)),
        (types.is_float16, pa.float32()),
        (types.is_string_view, pa.string()),
        (types.is_binary_view, pa.binary()),
        (types.is_fixed_size_binary, pa.binary()),
        (types.is_date64, pa.date32()),
        (types.is_time, pa.time64("us")),
        (types.is_duration, pa.duration("us")),
    ):
        if is_like(kind):
            return wanted
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_dictionary(kind):
        return _spark_like(kind.value_type, name)
    if types.is_map(kind):
        key, item = _spark_like(kind.key_type, name), _spark_like(kind.item_type, name)
        return pa.map_(key, item)
    if types.is_struct(kind):
        inner = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct(
            [each.with_type(_spark_like(each.type, name)) for each in inner]
        )
    if types.is_large_list(kind):
        return pa.large_list(_spark_like(kind.value_type, name))
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_spark_like(kind.value_type, name))
    if types.is_decimal256(kind) or types.is_run_end_encoded(kind):
        msg = f"column '{name}' has values of type {kind}, which Spark has nothing like"
        raise PySparkTypeError(msg, hint="cast it first")
    return kind


def renamed(table: Any, names: Sequence[str]) -> Any:
    """Return a table with other names for its columns.

    Raises:
        PySparkValueError: There are more or fewer.
    """
    if len(names) != table.num_columns:
        raise lengths_differ(len(names), table.num_columns)
    return table.rename_columns(list(names))


def cast_to(table: Any, schema: Any) -> Any:
    """Return a table with the names and types of Spark's schema.

    Raises:
        PySparkValueError: A value isn't of its column's type, or there are more columns.
    """
    import pyarrow as pa  # noqa: PLC0415  An extra.

    table, wanted = renamed(table, schema.names), arrow_schema(schema)
    arrays = []
    for field, column in zip(wanted, table.columns, strict=True):
        try:
            arrays.append(column.cast(field.type))
        except pa.ArrowException as error:
            msg = f"column '{field.name}' can't hold its values: {error}"
            raise PySparkValueError(msg, hint=f"its type is {field.type}") from error
        if not field.nullable and column.null_count:
            msg = f"column '{field.name}' is not nullable, and has nulls"
            raise PySparkValueError(msg, hint="make the field nullable")
    return pa.Table.from_arrays(arrays, schema=wanted)


def _without_slots(row: Any) -> Any:
    """Return a dataclass's object that has no dict as one that inference knows: a dict."""
    if is_dataclass(row) and not hasattr(row, "__dict__"):
        return {each.name: getattr(row, each.name) for each in fields(row)}
    return row


def _has_mappings(rows: Sequence[Any]) -> bool:
    return any(issubclass(each, dict) for each in set(map(type, rows)))


def _lenient(rows: Sequence[Any], place: int, name: str) -> list[Any]:
    """Return a column of records of several kinds, which were found to fit."""
    made: list[Any] = []
    for row in rows:
        if row is None:
            made.append(None)
        elif isinstance(row, dict):
            made.append(row.get(name))
        elif isinstance(row, (tuple, list)):
            made.append(row[place])
        else:
            made.append(vars(row).get(name))
    return made


_EXACT: dict[str, tuple[type, ...]] = {
    "LongType": (int,),
    "DoubleType": (float,),
    "StringType": (str,),
    "BooleanType": (bool,),
    "BinaryType": (bytes, bytearray),
    "DateType": (date,),
}
"""Values that need no look: of these very types, by the name of a column's type."""
_LONG_MAX = 2**63 - 1


def _verify(field: Any, values: Sequence[Any]) -> None:
    """Raise what Spark raises for the first value that isn't of the column's type."""
    name = type(field.dataType).__name__
    exact = _EXACT.get(name)
    if exact is not None:
        kinds = set(map(type, values))
        may_be_null = field.nullable or type(None) not in kinds
        is_exact = kinds <= {*exact, type(None)} and may_be_null
        if is_exact and (name != "LongType" or _fits_long(values)):
            return
    types = client.module("sql.types")
    verify = types._make_type_verifier(
        field.dataType, field.nullable, name=f"field {field.name}"
    )
    for value in values:
        verify(value)


def _fits_long(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return not known or (min(known) >= -_LONG_MAX - 1 and max(known) <= _LONG_MAX)


_PLAIN = frozenset({"LongType", "DoubleType", "BooleanType", "DateType"})


def _converter(field: Any, values: Sequence[Any]) -> Callable[[Any], Any] | None:
    """Return what turns a value into what Arrow takes; None if it does as it is."""
    name = type(field.dataType).__name__
    if name in _PLAIN and field.nullable:
        return None
    if name == "StringType" and set(map(type, values)) <= {str, type(None)}:
        return None if field.nullable or None not in values else _refuse_null(field)
    conversion = client.module("sql.conversion").LocalDataToArrowConversion
    made: Callable[[Any], Any] = conversion._create_converter(
        field.dataType, field.nullable
    )
    return made


def _refuse_null(field: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is None:
            msg = f"column '{field.name}' is not nullable, and a record has None there"
            raise PySparkValueError(msg, hint="make the field nullable")
        return value

    return check


def _is_alike(have: Any, want: Any) -> bool:
    """Say whether Arrow's cast between two types changes nothing but how it is stored."""
    import pyarrow as pa  # noqa: PLC0415  An extra.

    def is_text(kind: Any) -> bool:
        return bool(pa.types.is_large_string(kind) or pa.types.is_string(kind))

    def is_bytes(kind: Any) -> bool:
        return bool(pa.types.is_large_binary(kind) or pa.types.is_binary(kind))

    both = (have, want)
    return have == want or all(map(is_text, both)) or all(map(is_bytes, both))


def arrow_schema(schema: Any) -> Any:
    """Return the Arrow schema of Spark's; timestamps are in UTC."""
    return client.module("sql.pandas.types").to_arrow_schema(schema, timezone="UTC")


def rows_of_table(table: Any, schema: Any) -> list[Row]:
    """Return a table's records, as Spark's `collect` has them."""
    conversion = client.module("sql.conversion").ArrowTableToRowsConversion
    rows: list[Row] = conversion.convert(table, schema)
    return rows


def partitions_for(count: int, slots: int, rows_each: int = 100_000) -> int:
    """Return how many partitions `count` records are worth."""
    return max(1, min(slots, math.ceil(count / rows_each)))

"""Showing: tables as text, drawn as Spark draws them.

Spark counts the letters of Java: those beyond the basic plane are two, and a full-width one
takes two cells. What a value looks like is Java's, too, numbers above all.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from millstream.sql import client

_WIDTH_MIN = 3
_DOTS = "..."
_ESCAPED = str.maketrans(
    {
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\f": "\\f",
        "\b": "\\b",
        "\v": "\\v",
        "\a": "\\a",
    }
)
# Where letters are as wide as high: East Asian scripts and their punctuation.
_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff"
    "\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]"
)
_POSITIONAL = (1e-3, 1e7)
"""Java writes numbers from here to there without an exponent."""
Write = Callable[[Any], str]


def drawn(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    cut_to: int,
    has_more: bool,
    is_vertical: bool,
) -> str:
    """Return a table of cells as text.

    Cells are cut to `cut_to` letters, and set to the right, unless it is 0; `has_more` says
    that these aren't all rows.
    """
    head = [name.translate(_ESCAPED) for name in names]
    cells = [[_cut(each.translate(_ESCAPED), cut_to) for each in row] for row in rows]
    text = (
        _list(head, cells) if is_vertical else _table(head, cells, is_right=cut_to > 0)
    )
    if has_more:
        count = len(cells)
        return f"{text}only showing top {count} row{'' if count == 1 else 's'}"
    if is_vertical and not cells:
        return f"{text}(0 rows)"
    return text


def _table(
    head: Sequence[str], cells: Sequence[Sequence[str]], *, is_right: bool
) -> str:
    widths = [
        max(_WIDTH_MIN, *(_width(row[place]) for row in (head, *cells)))
        for place in range(len(head))
    ]

    def line(row: Sequence[str]) -> str:
        padded = [
            (" " * (width - _width(cell)) + cell)
            if is_right
            else (cell + " " * (width - _width(cell)))
            for cell, width in zip(row, widths, strict=True)
        ]
        return f"|{'|'.join(padded)}|\n"

    rule = f"+{'+'.join('-' * width for width in widths)}+\n"
    return "".join([rule, line(head), rule, *map(line, cells), rule])


def _list(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    name_width = max([_WIDTH_MIN, *map(_width, head)])
    cell_width = max([_WIDTH_MIN, *(_width(cell) for row in cells for cell in row)])
    whole = name_width + cell_width + 5
    lines = []
    for number, row in enumerate(cells):
        lines.append(f"-RECORD {number}".ljust(whole, "-") + "\n")
        for name, cell in zip(head, row, strict=True):
            left = name + " " * (name_width - _width(name))
            right = cell + " " * (cell_width - _width(cell))
            lines.append(f" {left} | {right} \n")
    return "".join(lines)


def _width(text: str) -> int:
    """Return how many cells a text takes."""
    return _letters(text) + len(_WIDE.findall(text))


def _letters(text: str) -> int:
    """Return how many letters Java counts."""
    return len(text) + sum(letter > "\uffff" for letter in text)


def _cut(text: str, to: int) -> str:
    if to <= 0 or _letters(text) <= to:
        return text
    dots = "" if to <= len(_DOTS) else _DOTS
    kept = text.encode("utf-16-le")[: (to - len(dots)) * 2]
    # Half of a letter of two is shown as a question mark.
    return kept.decode("utf-16-le", "replace").replace("\ufffd", "?") + dots


# What a value looks like.


def writers(schema: Any, zone: tzinfo) -> list[Write] | None:
    """Return what writes the values of each column; None if there is one it can't."""
    made = [_writer(field.dataType, zone) for field in schema.fields]
    return None if None in made else [each for each in made if each is not None]


def _writer(kind: Any, zone: tzinfo) -> Write | None:
    write = _writer_of_known(kind, zone)
    if write is None:
        return None
    return lambda value: "NULL" if value is None else write(value)


def _writer_of_known(kind: Any, zone: tzinfo) -> Write | None:
    types = client.module("sql.types")
    match type(kind).__name__:
        case "ArrayType":
            return _array_writer(_writer(kind.elementType, zone))
        case "MapType":
            both = _writer(kind.keyType, zone), _writer(kind.valueType, zone)
            return _map_writer(*both)
        case "StructType":
            return _struct_writer(kind.names, writers(kind, zone))
        case "TimestampType":
            return lambda value: _moment(value.astimezone(zone))
        case name:
            plain: dict[str, Write] = {
                "StringType": str,
                "BooleanType": lambda value: str(value).lower(),
                "ByteType": str,
                "ShortType": str,
                "IntegerType": str,
                "LongType": str,
                "FloatType": _float32,
                "DoubleType": _double,
                "DecimalType": lambda value: f"{value:f}",
                "DateType": _day,
                "TimestampNTZType": _moment,
                "BinaryType": _bytes,
                "NullType": str,
            }
            is_of_its_own = type(kind) is not getattr(types, name, None)
            return None if is_of_its_own else plain.get(name)


def _array_writer(write: Write | None) -> Write | None:
    if write is None:
        return None
    return lambda value: f"[{', '.join(map(write, value))}]"


def _map_writer(of_key: Write | None, of_value: Write | None) -> Write | None:
    if of_key is None or of_value is None:
        return None

    def write(value: Any) -> str:
        pairs = value.items() if isinstance(value, dict) else value
        return "{" + ", ".join(f"{of_key(k)} -> {of_value(v)}" for k, v in pairs) + "}"

    return write


def _struct_writer(names: Sequence[str], writes: list[Write] | None) -> Write | None:
    if writes is None:
        return None

    def write(value: Any) -> str:
        parts = [value[name] for name in names]
        return "{" + ", ".join(w(p) for w, p in zip(writes, parts, strict=True)) + "}"

    return write


def _double(value: float) -> str:
    return _number(value, repr(value))


def _float32(value: float) -> str:
    import numpy as np  # noqa: PLC0415  Comes with the client.

    return _number(value, str(np.float32(value)))


def _number(value: float, shortest: str) -> str:
    """Return a number as Java writes it; `shortest` has the digits that tell it apart."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if value == 0 or _POSITIONAL[0] <= abs(value) < _POSITIONAL[1]:
        text = f"{Decimal(shortest):f}"
        return text if "." in text else f"{text}.0"
    sign, digits, exponent = Decimal(shortest).normalize().as_tuple()
    assert isinstance(exponent, int), "of a finite number"
    first, *rest = map(str, digits)
    power = exponent + len(digits) - 1
    return f"{'-' * sign}{first}.{''.join(rest) or '0'}E{power}"


def _day(value: date) -> str:
    return f"{value.year:04}-{value.month:02}-{value.day:02}"


def _moment(value: datetime) -> str:
    text = f"{_day(value)} {value:%H:%M:%S}"
    return f"{text}.{value.microsecond:06}".rstrip("0") if value.microsecond else text


def _bytes(value: bytes) -> str:
    return f"[{value.hex(' ').upper()}]"


def text_of(frame: Any, count: int, *, cut_to: int, is_vertical: bool) -> str | None:
    """Return a frame's first `count` records as text; None if a type isn't known here."""
    count = max(0, count)
    table, schema = frame.limit(count + 1)._to_table()
    schema = schema or frame.schema
    zone = _zone(frame.sparkSession.conf.get("spark.sql.session.timeZone"))
    known = None if zone is None else writers(schema, zone)
    if known is None or _has_twins(table.schema):
        return None
    columns = [
        [write(value) for value in column.slice(0, count).to_pylist()]
        for write, column in zip(known, table.columns, strict=True)
    ]
    shown = min(count, table.num_rows)
    rows = list(zip(*columns, strict=True)) if columns else [()] * shown
    return drawn(
        schema.names,
        rows,
        cut_to=cut_to,
        has_more=table.num_rows > count,
        is_vertical=is_vertical,
    )


def _zone(name: str | None) -> tzinfo | None:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _has_twins(kind: Any) -> bool:
    """Say whether a struct somewhere has two fields of a name: a dict would lose one."""
    import pyarrow as pa  # noqa: PLC0415  An extra.

    fields = [kind.field(place) for place in range(_field_count(kind))]
    names = [each.name for each in fields]
    is_struct = not isinstance(kind, pa.Schema) and pa.types.is_struct(kind)
    has_here = is_struct and len(set(names)) < len(names)
    return has_here or any(_has_twins(each.type) for each in fields)


def _field_count(kind: Any) -> int:
    import pyarrow as pa  # noqa: PLC0415  An extra.

    return len(kind) if isinstance(kind, pa.Schema) else kind.num_fields

"""Console: prints batches, to try things out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.sinks.contract import Sink, SinkBatch
from millstream.engine.sinks.records import Records, together

_LINE = "-" * 43  # As wide as that of `pprint`.


@dataclass(frozen=True, slots=True)
class Some:
    """The first records of a partition."""

    rows: list[Any]
    count: int
    """How many there are in all."""
    names: Sequence[str] | None = None


class ConsoleSink(Sink[Any]):
    """Prints the first records of each batch: a table of rows, or a line a record.

    A batch that is tried again is printed again.
    """

    def __init__(self, rows: int = 20, width: int = 100) -> None:
        """Print `rows` records at most, `width` characters wide.

        Raises:
            IllegalArgumentError: One of them isn't a number above 0.
        """
        for name, value in (("rows", rows), ("width", width)):
            if type(value) is not int or value <= 0:
                msg = f"{name} must be a number above 0, not {value!r}"
                raise IllegalArgumentError(msg)
        self.rows = rows
        self.width = width

    @property
    def identity(self) -> str:
        """What it is."""
        return "console"

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> Some:
        """Return the first records."""
        del batch, partition
        rest = iter(records)
        rows = list(islice(rest, self.rows))
        count = len(rows) + sum(1 for _ in rest)
        return Some(rows, count, records._names)

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Print the batch."""
        found = [written[partition] for partition in sorted(written)]
        print(self.text_of(batch, found), flush=True)  # noqa: T201  What it is for.

    def text_of(self, batch: SinkBatch, found: Sequence[Some]) -> str:
        """Return what is printed of a batch."""
        time = datetime.fromtimestamp(batch.time_ms / 1000, UTC)
        count = sum(some.count for some in found)
        told = f"{count} record{'' if count == 1 else 's'}"
        title = f"{batch.output}  {time:%Y-%m-%d %H:%M:%S} UTC  {told}"
        lines = [_LINE, title, _LINE]
        rows = [row for some in found for row in some.rows][: self.rows]
        if rows:
            names = found[0].names
            lines += self._table(rows, names) or [self._cut(repr(row)) for row in rows]
        if count > len(rows):
            lines.append(f"... and {count - len(rows)} more")
        return "\n".join(lines) + "\n"

    def _table(self, rows: list[Any], names: Sequence[str] | None) -> list[str] | None:
        """Return a table; None where the records aren't rows of one kind."""
        import polars as pl  # noqa: PLC0415  Only to print.

        try:
            frame = together(list(Records([rows], names).tables()))
        except SparkError:
            if names is not None:
                raise
            return None
        if names is None and frame.columns == ["value"]:
            return None
        with pl.Config(
            tbl_rows=self.rows,
            tbl_cols=-1,
            tbl_width_chars=self.width,
            fmt_str_lengths=self.width,
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            tbl_formatting="ASCII_MARKDOWN",
        ):
            return str(frame).splitlines()

    def _cut(self, text: str) -> str:
        return text if len(text) <= self.width else f"{text[: self.width - 3]}..."

"""Arrow files: a frame as an Arrow IPC file, written once and mapped by whoever reads it.

PyArrow does it where it is installed: it maps a file, where Polars copies it, and it takes
a twentieth of the time that Polars takes for a block of a shuffle. Either reads what the
other has written.
"""

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from millstream.engine.base import extras

if TYPE_CHECKING:
    import polars as pl


def write(frame: "pl.DataFrame", sink: Path | BinaryIO) -> None:
    """Write a frame, as one record batch.

    Raises:
        OSError: There is no room.
    """
    if not _has_pyarrow():
        frame.write_ipc(sink, record_batch_size=max(1, frame.height))
        return
    import pyarrow as pa  # noqa: PLC0415  Heavy; only where there are columns.

    # Its texts as Arrow's oldest kind: of the one that Polars has, all that the buffers
    # hold would be written, those of records that aren't in this frame too.
    table = frame.rechunk().to_arrow()
    if isinstance(sink, Path):
        with pa.OSFile(str(sink), "wb") as file:
            _write_table(table, file)
        return
    out = pa.BufferOutputStream()
    _write_table(table, out)
    sink.write(out.getvalue())


def _write_table(table: Any, sink: Any) -> None:
    import pyarrow as pa  # noqa: PLC0415  Heavy; only where there are columns.

    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, table.num_rows))


def read(source: Path | bytes | memoryview) -> "pl.DataFrame":
    """Return the frame of a file, or of the bytes of one; mapped, if PyArrow is here.

    Raises:
        OSError: It is gone.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    if not _has_pyarrow():
        return pl.read_ipc(source if isinstance(source, Path) else io.BytesIO(source))
    import pyarrow as pa  # noqa: PLC0415  Heavy; only where there are columns.

    mapped = isinstance(source, Path)
    opened = pa.memory_map(str(source)) if mapped else pa.py_buffer(source)
    frame = pl.from_arrow(pa.ipc.open_file(opened).read_all(), rechunk=False)
    assert isinstance(frame, pl.DataFrame), "of a table"
    return frame


@functools.cache
def _has_pyarrow() -> bool:
    return extras.is_installed("pyarrow")

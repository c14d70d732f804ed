"""FrameSpool: frames that wait, in memory while they are few and small, else on disk."""

import io
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self, cast

import polars as pl


class FrameSpool:
    """Keeps the frames of a partition until all of them are there; a context manager."""

    def __init__(self, memory_bytes: int = 16 << 20) -> None:
        """Begin on disk, in a temporary file, when there are more than `memory_bytes`."""
        made = SpooledTemporaryFile(memory_bytes)  # noqa: SIM115  `close` closes it.
        self._file = cast(IO[bytes], made)
        self._ends: list[int] = []
        self.schemas: list[pl.Schema] = []
        """The schemas that frames have, each once."""
        self.rows = 0

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame], memory_bytes: int = 16 << 20) -> Self:
        """Return a spool of frames; those without rows are left out."""
        spool = cls(memory_bytes)
        try:
            for each in frames:
                if each.height:
                    spool.add(each)
        except BaseException:
            spool.close()
            raise
        return spool

    def add(self, frame: pl.DataFrame) -> None:
        """Add a frame."""
        frame.write_ipc_stream(self._file)
        self._ends.append(self._file.tell())
        self.rows += frame.height
        if frame.schema not in self.schemas:
            self.schemas.append(frame.schema)

    @property
    def size_bytes(self) -> int:
        """How many bytes the frames take."""
        return self._ends[-1] if self._ends else 0

    @property
    def ends(self) -> tuple[int, ...]:
        """Where each frame ends, in bytes."""
        return tuple(self._ends)

    def file(self) -> IO[bytes]:
        """Return all as a file, at its beginning; for `frames_in`."""
        self._file.seek(0)
        return self._file

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the frames, in their order, as often as it is called."""
        return frames_in(self.file(), self._ends)

    def close(self) -> None:
        """Forget them."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def frames_in(file: IO[bytes], ends: Iterable[int]) -> Iterator[pl.DataFrame]:
    """Yield the frames of a file, one behind the other; `ends` says where each ends."""
    begin = 0
    for end in ends:
        yield pl.read_ipc_stream(io.BytesIO(file.read(end - begin)))
        begin = end

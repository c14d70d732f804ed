"""LogSegments: the names and the contents of a write-ahead log's files.

A segment `log-<begin>-<end>` holds frames, one a record, behind a mark of how long the
segment before it is. A crash may cut its last frame short: that frame was never promised
to anybody, and reading ends before it. A frame that is damaged while whole ones follow,
or while the next segment's mark says that it was whole, was promised, so it is an error.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import Storage

_log = logging.getLogger(__name__)

# Exactly what `LogSegment.name` makes: a name that is read is one that can be made again.
_NUMBER = "(0|[1-9][0-9]*)"
_NAME = re.compile(rf"log-{_NUMBER}-{_NUMBER}(?:\.([1-9][0-9]*))?")
HEADER_BYTES = 8

# What looking for whole frames behind a damaged one may cost: well under a second. A byte
# counts once for each checksum it is part of, a place that is looked at some more.
_SEARCH_BYTES_MAX = 1 << 28
_PLACE_BYTES = 1000


@dataclass(frozen=True, slots=True, order=True)
class LogSegment:
    """One file of a log; in the order of writing, whatever the clock did."""

    begin_ms: int
    number: int
    end_ms: int

    @property
    def name(self) -> str:
        """The file's name; the first of a time has no number."""
        suffix = f".{self.number}" if self.number else ""
        return f"log-{self.begin_ms}-{self.end_ms}{suffix}"

    @classmethod
    def after(cls, last: Self | None, time_ms: int, rolling_ms: int) -> Self:
        """Return the segment that follows `last` and begins with a record of `time_ms`.

        Its name is new and sorts behind `last`, also when the clock was set back.

        >>> first = LogSegment.after(None, 5000, 60_000)
        >>> first.name, LogSegment.after(first, 4000, 60_000).name
        ('log-5000-65000', 'log-5000-65000.1')
        """
        begin_ms = max(time_ms, 0)
        if last is None or begin_ms > last.begin_ms:
            return cls(begin_ms, 0, begin_ms + rolling_ms)
        return cls(last.begin_ms, last.number + 1, last.begin_ms + rolling_ms)


@dataclass(frozen=True, slots=True)
class After:
    """What a segment knows of the one before it: its name and how many bytes are whole."""

    name: str
    size: int


_MARK = b"\x00millstream-log-after "


def mark_after(last: LogSegment | None, size: int | None) -> bytes:
    """Return the first record of a segment; of the one before nothing may be known."""
    if last is None or size is None:
        return _MARK
    return _MARK + f"{last.name} {size}".encode()


def read_mark(record: bytes) -> After | None:
    """Return what a segment's first record says; None when it is no mark."""
    if not record.startswith(_MARK):
        return None
    name, _, size = record[len(_MARK) :].decode(errors="replace").partition(" ")
    return After(name, int(size) if size.isdecimal() else 0)


def cut_short(directory: str, known: After) -> DurabilityError:
    """Return the error for a segment that isn't as long as the next one says."""
    msg = (
        f"file '{directory}/{known.name}' is damaged: it had {known.size} bytes of whole "
        "records"
    )
    return DurabilityError(msg, hint="restore the file from a copy")


def find_segments(storage: Storage, directory: str) -> list[LogSegment]:
    """Return a directory's segments, oldest first; none if it is missing.

    Files with other names are somebody else's.
    """
    if not storage.exists(directory):
        return []
    names = [
        _NAME.fullmatch(info.name)
        for info in storage.list(directory)
        if not info.is_dir
    ]
    return sorted(
        LogSegment(int(name[1]), int(name[3] or 0), int(name[2]))
        for name in names
        if name is not None
    )


def read_frame(source: BinaryIO, offset: int, length: int, path: str) -> bytes:
    """Return the payload of `length` bytes whose frame begins at `offset`.

    Raises:
        DurabilityError: There is another one, or it is damaged.
    """
    source.seek(offset)
    header = source.read(HEADER_BYTES)
    found = int.from_bytes(header[:4], "big")
    if len(header) < HEADER_BYTES or found != length:
        there = f"{found} bytes" if len(header) == HEADER_BYTES else "the file's end"
        msg = (
            f"file '{path}' is damaged: the record at byte {offset} should have "
            f"{length} bytes, but there is {there}"
        )
        raise DurabilityError(msg)
    payload = source.read(length)
    if len(payload) < length:
        raise frames.torn(path, offset)
    if frames.checksum(payload) != int.from_bytes(header[4:], "big"):
        msg = f"file '{path}' is damaged: the checksum at byte {offset} is wrong"
        raise DurabilityError(msg)
    return payload


def whole_frames(data: bytes, path: str) -> Iterator[bytes]:
    """Yield the payloads of a segment; what is torn at its end is left out.

    Torn means that nothing whole follows. In the rest of a damaged file the search for
    that is bounded: it finds out for some MB of it at least.

    Raises:
        DurabilityError: A record is damaged, and there is a whole one behind it.
    """
    position = 0
    while position < len(data):
        payload = _frame_at(data, position)
        if payload is None:
            if _has_frame_after(data, position):
                msg = (
                    f"file '{path}' is damaged: the record at byte {position} is wrong"
                )
                raise DurabilityError(msg, hint="restore the file from a copy")
            _log.warning(
                "a log's last record was cut short by a crash; it is left out file=%s "
                "byte=%d",
                path,
                position,
            )
            return
        yield payload
        position += HEADER_BYTES + len(payload)


def _frame_at(data: bytes, position: int) -> bytes | None:
    begin = position + HEADER_BYTES
    end = begin + int.from_bytes(data[position : position + 4], "big")
    if end > len(data):
        return None
    payload = data[begin:end]
    checksum = int.from_bytes(data[position + 4 : begin], "big")
    return payload if frames.checksum(payload) == checksum else None


def _has_frame_after(data: bytes, position: int) -> bool:
    # The length that is there can't be trusted, so that every place may be the next
    # frame's: but only if its length, by the first byte, could fit in what is left. A
    # frame has no eight zeros in front, which a file system may put behind a crash.
    largest = min((len(data) - position) >> 24, 0x7F)
    places = re.compile(rb"(?!\x00{8})[\x00-\x%02x]" % largest)
    cost = 0
    for place in places.finditer(data, position + 1):
        start = place.start()
        length = int.from_bytes(data[start : start + 4], "big")
        fits = start + HEADER_BYTES + length <= len(data)
        if fits and _frame_at(data, start) is not None:
            return True
        cost += _PLACE_BYTES + (length if fits else 0)
        if cost > _SEARCH_BYTES_MAX:
            _log.warning(
                "the rest of a log is too long to be searched for whole records file "
                "bytes=%d",
                len(data) - position,
            )
            return False
    return False

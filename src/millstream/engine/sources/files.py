"""Files: paths listed, cut into splits, and read as records."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from itertools import chain
from typing import Any

from millstream.engine.base.compression import codec_of, damage_named, decompressed
from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.globs import glob, is_pattern, split_path_list
from millstream.engine.base.storage import (
    FileInfo,
    Storage,
    open_storage,
    path_text,
)
from millstream.engine.durable import object_files
from millstream.engine.plan.text import split_lines
from millstream.engine.sources.text_lines import (
    line_end_after,
    read_text_blocks,
    seek_text_blocks,
)

_SPLIT_SLOP = 1.1
_READ_BYTES = 1 << 18
_BLOCK_BYTES = 32 << 20
_SEEN_BYTES = 31 << 20
_TEXT_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read, by the URI Spark would print."""

    uri: str
    size_bytes: int


class InputPathError(SparkError, FileNotFoundError):
    """An input path that doesn't exist."""


def list_input(paths: Any) -> list[InputFile]:
    """Return the files a path expression names, in order.

    A file, a directory (not its sub-directories), a pattern, or a comma-separated list of
    such; or a `Path`. Names that start with `_` or `.` are left out of directories and patterns.

    Raises:
        InputPathError: A path doesn't exist, or a pattern matches nothing.
        UsageError: It is no path.
    """
    found: list[InputFile] = []
    named = split_path_list(paths) if isinstance(paths, str) else [path_text(paths)]
    for each in named:
        storage, path = open_storage(each)
        matches = list(glob(storage, path))
        if not matches:
            if is_pattern(path):
                msg = f"Input Pattern {each} matches 0 files"
            else:
                msg = f"Input path does not exist: {storage.uri(path)}"
            raise InputPathError(msg, hint="check the path; it is read on this machine")
        for match in matches:
            found.extend(_files_of(storage, match, is_named=not is_pattern(path)))
    return found


def _files_of(
    storage: Storage, match: FileInfo, *, is_named: bool
) -> Iterator[InputFile]:
    if match.is_dir:
        for info in storage.list(match.path):
            if not info.is_dir and not _is_hidden(info.name):
                yield InputFile(storage.uri(info.path), info.size_bytes)
    elif is_named or not _is_hidden(match.name):
        yield InputFile(storage.uri(match.path), match.size_bytes)


def _is_hidden(name: str) -> bool:
    return name.startswith(("_", "."))


@dataclass(frozen=True, slots=True)
class TextSplit:
    """The lines that begin in one byte range of a file."""

    uri: str
    start: int
    length: int
    size_bytes: int
    is_text: bool = True

    def read(self) -> Iterator[str | bytes]:
        """Yield the lines; text as str, else as bytes.

        Raises:
            DurabilityError: A compressed file can't be decompressed; names it.
        """
        # By lists, so that lines are handed out without Python code for each.
        return chain.from_iterable(
            split_lines(block, is_text=self.is_text)
            for block in self._blocks(_READ_BYTES)
        )

    def text_blocks(self) -> Iterator[bytes]:
        """Yield the bytes of the lines, in blocks of whole lines of about 8 MiB.

        Their lines are those of `read`, in order. Only for text. While a reader works on a
        block no other one is in memory; while the next is made, up to two more are.

        Raises:
            DurabilityError: A compressed file can't be decompressed; names it.
        """
        assert self.is_text, "lines that are read as bytes aren't text"
        _keep_freed_memory()
        return self._blocks(_TEXT_BLOCK_BYTES)

    def _blocks(self, block_bytes: int) -> Iterator[bytes]:
        storage, path = open_storage(self.uri)
        codec = codec_of(self.uri)
        with storage.open_input(path) as source:
            if codec is not None:
                with (
                    damage_named(self.uri, codec),
                    decompressed(source, codec) as plain,
                ):
                    yield from read_text_blocks(plain, block_bytes)
                return
            end = self.start + self.length
            first = 0 if self.start == 0 else line_end_after(source, self.start)
            last = None if end >= self.size_bytes else line_end_after(source, end)
            if isinstance(source, BufferedReader) and block_bytes > _READ_BYTES:
                # A file of this machine.
                yield from seek_text_blocks(source, block_bytes, first=first, last=last)
                return
            source.seek(first)
            yield from read_text_blocks(
                source,
                block_bytes,
                length_bytes=None if last is None else last - first,
                is_start=first == 0,
            )


@cache
def _keep_freed_memory() -> None:
    """Let the allocator keep memory of a block's size for the next block.

    glibc gives freed memory back to the system from a size on that grows with what it has
    seen freed, up to 32 MiB. Reading blocks of 8 MiB takes three times as long where each
    gets its memory from the system. No page of what is freed here was ever touched.
    """
    bytes(_SEEN_BYTES)


def plan_text_splits(
    files: Sequence[InputFile], splits_min: int, *, is_text: bool
) -> tuple[TextSplit, ...]:
    """Return splits of all files: at least about `splits_min`, cut by size.

    Hadoop's rule: the goal is total size / minimum, at most a block of 32 MiB; a rest of
    up to a tenth more stays with its neighbour. Compressed files are one split each.
    """
    splits: list[TextSplit] = []
    for file, start, length in _cut(files, splits_min):
        splits.append(TextSplit(file.uri, start, length, file.size_bytes, is_text))
    return tuple(splits)


def _cut(
    files: Sequence[InputFile], splits_min: int
) -> Iterator[tuple[InputFile, int, int]]:
    total = sum(file.size_bytes for file in files)
    goal = max(1, min(total // max(1, splits_min), _BLOCK_BYTES))
    for file in files:
        if codec_of(file.uri) is not None or file.size_bytes == 0:
            yield file, 0, file.size_bytes
            continue
        start = 0
        while (file.size_bytes - start) / goal > _SPLIT_SLOP:
            yield file, start, goal
            start += goal
        yield file, start, file.size_bytes - start


@dataclass(frozen=True, slots=True)
class WholeFiles:
    """Several whole files: (path, content) each."""

    uris: tuple[str, ...]
    is_text: bool
    use_unicode: bool = True

    def read(self) -> Iterator[tuple[str, str | bytes]]:
        """Yield the pairs."""
        for uri in self.uris:
            storage, path = open_storage(uri)
            codec = codec_of(uri) if self.is_text else None
            with (
                storage.open_input(path) as source,
                damage_named(uri, codec),
                decompressed(source, codec) as plain,
            ):
                data = plain.read()
            if self.is_text and self.use_unicode:
                yield uri, data.decode("utf-8", "replace")
            else:
                yield uri, data


def plan_whole_files(
    files: Sequence[InputFile],
    splits_min: int,
    *,
    is_text: bool,
    use_unicode: bool = True,
) -> tuple[WholeFiles, ...]:
    """Return groups of files of about equal size, at most `splits_min` of them.

    A group is closed once it has its share, as Hadoop combines files.
    """
    if not files:
        return ()
    total = sum(file.size_bytes for file in files)
    goal = max(1, -(-total // max(1, splits_min)))
    groups: list[list[str]] = [[]]
    filled = 0
    for file in files:
        if filled >= goal and len(groups) < splits_min:  # Empty files may follow.
            groups.append([])
            filled = 0
        groups[-1].append(file.uri)
        filled += file.size_bytes
    return tuple(WholeFiles(tuple(group), is_text, use_unicode) for group in groups)


@dataclass(frozen=True, slots=True)
class FixedRecords:
    """The fixed-length records of part of a file."""

    uri: str
    start: int
    length: int
    record_bytes: int

    def read(self) -> Iterator[bytes]:
        """Yield the records.

        Raises:
            SparkError: The last one is too short.
        """
        storage, path = open_storage(self.uri)
        with storage.open_input(path) as source:
            source.seek(self.start)
            left = self.length
            read_bytes = max(1, _READ_BYTES // self.record_bytes) * self.record_bytes
            while left > 0:
                data = source.read(min(read_bytes, left))
                for start in range(0, max(1, len(data)), self.record_bytes):
                    yield self._checked(data[start : start + self.record_bytes])
                left -= len(data)

    def _checked(self, record: bytes) -> bytes:
        if len(record) != self.record_bytes:
            msg = (
                "Byte array does not have correct length. "
                f"{len(record)} did not equal recordLength: {self.record_bytes}"
            )
            raise SparkError(msg, hint=f"check the end of {self.uri}")
        return record


def plan_fixed_records(
    files: Sequence[InputFile], record_bytes: int, splits_min: int
) -> tuple[FixedRecords, ...]:
    """Return splits of whole records.

    Raises:
        IllegalArgumentError: The length isn't positive.
    """
    if record_bytes <= 0:
        msg = f"recordLength must be positive, but was {record_bytes}"
        raise IllegalArgumentError(msg)
    total = sum(file.size_bytes for file in files)
    goal = max(1, min(total // max(1, splits_min), _BLOCK_BYTES))
    goal = max(record_bytes, goal // record_bytes * record_bytes)
    return tuple(
        FixedRecords(file.uri, start, min(goal, file.size_bytes - start), record_bytes)
        for file in files
        for start in range(0, file.size_bytes, goal)
    )


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """The pickled records of one file of `saveAsPickleFile`."""

    uri: str

    def read(self) -> Iterable[Any]:
        """Yield the records."""
        storage, path = open_storage(self.uri)
        return object_files.read_rows(storage, path)

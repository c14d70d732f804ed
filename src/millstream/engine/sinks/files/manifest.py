"""File manifest: which files of a directory count, and what is to become of small ones.

A core: it decides, and touches no disk. A directory's history is a list of entries with
numbers from 1 and no gaps; an entry exists once and never changes. So of two writers that
go on from the same entry one wins, and the other reads what the winner wrote and thinks
again: that is how a batch is committed once, and a writer that was replaced is refused.

A file that is large enough is final: it gets a name that everybody sees, and stays. A small
one is carried: readers of the manifest see it, under a name that others don't look at,
until it is merged into a larger one. It is deleted some time after that, for readers that
have it open.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from millstream.engine.base.errors import DurabilityError

_FAN_IN = 10
"""So many small files of a size become one; each record is rewritten that seldom."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file that counts. Paths are below the directory."""

    path: str
    """Where it is to be found; a final one may for a moment still be at `part`."""
    part: str
    """Where it was written; the same as `path` for a carried one."""
    folder: str
    """`day=2026-11-01/hour=7`, or "" where the output isn't partitioned."""
    size_bytes: int
    rows: int
    crc32: str
    """Of its bytes: eight hexadecimal digits."""
    layout: str
    """Names its columns and their types: files of one layout can be merged."""
    batch_ms: int
    """The oldest batch that it has records of."""
    newest_ms: int
    """The newest batch that it has records of."""
    output: str
    level: int = 0
    """How often its records were merged."""

    @property
    def is_final(self) -> bool:
        """Whether it stays as it is."""
        return self.path != self.part


@dataclass(frozen=True, slots=True)
class Merge:
    """Small files that become one."""

    inputs: tuple[DataFile, ...]
    is_final: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a directory."""

    number: int
    output: str
    run: int
    at_ms: int
    """When it was made, by the writer's clock."""
    batch_ms: int | None = None
    """The batch that it commits; None: it begins a run, or only merges."""
    added: tuple[DataFile, ...] = ()
    removed: tuple[str, ...] = ()
    purged: tuple[str, ...] = ()
    """Files that were removed by earlier entries, and are deleted now."""
    schema: str | None = None
    """The columns of all files from now on; None: as before."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of an output."""

    run: int
    batch_ms: int | None = None
    unplaced: tuple[DataFile, ...] = ()
    """Final files of its last entry, which may not have their final names yet."""


@dataclass(slots=True)
class Manifest:
    """What the entries up to `number` come to."""

    number: int = 0
    schema: str = ""
    marks: dict[str, Mark] = field(default_factory=dict)
    files: dict[str, DataFile] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    """Files that don't count any more, and when that became so."""

    def apply(self, entry: Entry) -> None:
        """Take over the next entry.

        Raises:
            DurabilityError: It isn't the next one, or doesn't fit.
        """
        self.check(entry)
        mark = self.marks.get(entry.output, Mark(entry.run))
        batch_ms = mark.batch_ms if entry.batch_ms is None else entry.batch_ms
        unplaced = mark.unplaced
        if entry.batch_ms is not None or entry.added:
            unplaced = tuple(each for each in entry.added if each.is_final)
        self.number = entry.number
        self.marks[entry.output] = Mark(entry.run, batch_ms, unplaced)
        for path in entry.removed:
            del self.files[path]
            self.removed[path] = entry.at_ms
        for path in entry.purged:
            self.removed.pop(path, None)
        self.files.update((each.path, each) for each in entry.added)
        if entry.schema is not None:
            self.schema = entry.schema

    def check(self, entry: Entry) -> None:
        """Refuse an entry that isn't the next one, or doesn't fit.

        Raises:
            DurabilityError: It is so.
        """
        wrong = ""
        if entry.number != self.number + 1:
            wrong = f"it comes after entry {self.number}"
        elif missing := [path for path in entry.removed if path not in self.files]:
            wrong = f"it removes '{missing[0]}', which isn't there"
        elif doubled := [each for each in entry.added if each.path in self.files]:
            wrong = f"it adds '{doubled[0].path}', which is there"
        if wrong:
            msg = f"entry {entry.number} of the manifest doesn't fit: {wrong}"
            raise DurabilityError(msg, hint="the manifest was changed by another hand")

    def next_run(self, output: str, run: int) -> int:
        """Return a number for a run of `output` that is higher than all before."""
        mark = self.marks.get(output)
        return run if mark is None else max(run, mark.run + 1)

    def purgeable(self, now_ms: int, grace_ms: int) -> tuple[str, ...]:
        """Return files that don't count since more than the time of grace."""
        return tuple(
            path for path, at_ms in self.removed.items() if at_ms + grace_ms <= now_ms
        )

    def strays(self, output: str, parts: Collection[str]) -> tuple[str, ...]:
        """Return which of `parts` nobody will ever count.

        `parts` are all that there are of an output. Only for the run that the manifest
        knows as the newest: what older ones wrote and didn't commit, they never will.
        """
        mark = self.marks.get(output)
        unplaced = () if mark is None else mark.unplaced
        wanted = {each.part for each in unplaced} | self.removed.keys()
        return tuple(
            part for part in parts if part not in wanted and part not in self.files
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """When small files are merged."""

    target_bytes: int
    """Files of this size are final; 0: all are."""
    carry_ms: int
    """Smaller ones become final, too, when they have records as old as this."""

    def is_final(self, size_bytes: int) -> bool:
        """Say whether a new file stays as it is."""
        return size_bytes >= self.target_bytes

    def plan(self, manifest: Manifest, output: str, batch_ms: int) -> list[Merge]:
        """Return what is to be merged with a batch."""
        return list(self._plan(manifest, output, batch_ms))

    def plan_last(self, manifest: Manifest, output: str) -> list[Merge]:
        """Return what is to be merged when nothing more comes: all that is carried."""
        return [
            merge
            for group in _carried(manifest, output)
            for merge in self._final(group, is_last=True)
        ]

    def _plan(self, manifest: Manifest, output: str, batch_ms: int) -> Iterator[Merge]:
        for group in _carried(manifest, output):
            is_old = group[0].batch_ms <= batch_ms - self.carry_ms
            if is_old or sum(each.size_bytes for each in group) >= self.target_bytes:
                yield from self._final(group, is_last=is_old)
                continue
            for _, found in groupby(sorted(group, key=_level), key=_level):
                same = list(found)
                for start in range(0, len(same) - _FAN_IN + 1, _FAN_IN):
                    yield Merge(tuple(same[start : start + _FAN_IN]), is_final=False)

    def _final(self, group: Sequence[DataFile], *, is_last: bool) -> Iterator[Merge]:
        """Yield merges of files that reach the target, and of the rest if it `is_last`."""
        taken: list[DataFile] = []
        size_bytes = 0
        for each in group:
            taken.append(each)
            size_bytes += each.size_bytes
            if size_bytes >= self.target_bytes:
                yield Merge(tuple(taken), is_final=True)
                taken, size_bytes = [], 0
        if taken and is_last:
            yield Merge(tuple(taken), is_final=True)


def _carried(manifest: Manifest, output: str) -> Iterator[list[DataFile]]:
    """Yield groups of small files that can be merged, oldest first in each."""

    def kind(file: DataFile) -> tuple[str, str]:
        return file.folder, file.layout

    small = [
        each
        for each in manifest.files.values()
        if each.output == output and not each.is_final
    ]
    small.sort(key=lambda each: (*kind(each), each.batch_ms, each.path))
    for _, group in groupby(small, key=kind):
        yield list(group)


def _level(file: DataFile) -> int:
    return file.level

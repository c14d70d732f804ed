"""LetterFiles: a directory of dead letters, and which of them are to be taken in again.

    DIR/<name>/letters/<batch ms>.jsonl     a letter a line
    DIR/<name>/replays/000001.jsonl         letters to be taken in again, as they were
    DIR/<name>/taken/000001.jsonl           the batch that takes them in

Every file appears whole, and only the first kind is ever written again: with the letters
that it has and new ones. A letter has a number that says where its record was; one that
is there already isn't added. So nobody need know whether a batch was written before.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError, UsageError
from millstream.engine.base.storage import Storage, open_storage

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LETTERS = re.compile(r"(\d+)[.]jsonl")
_REPLAY = re.compile(r"(\d{6,})[.]jsonl")


@dataclass(frozen=True, slots=True)
class Letter:
    """One bad record, why it is bad, and where it was. Every field fits into a column."""

    id: str
    """`<batch ms>-<partition>-<index>`: different for each letter of a name."""
    stream: str
    """The name that `onError` has."""
    batch_ms: int
    partition: int
    index: int
    """Its place among the partition's records, at the mark; from 0."""
    range: str | None
    """What of a direct source the partition is, in words."""
    error: str
    message: str
    file: str | None
    line: int | None
    operator: str
    attempt: int
    """1, or more if it was taken in again and failed again."""
    first: str
    """The id of the letter of the first attempt."""
    text: str
    """The record in short."""
    record: str | None
    """The record as JSON, if that gives back the same."""
    pickled: str | None
    """Else the record pickled, in base64. Unpickle only what your own programs wrote."""

    def value(self) -> Any:
        """Return the record."""
        if self.record is not None:
            return json.loads(self.record)
        assert self.pickled is not None, "a letter has its record one way or the other"
        return frames.loads(base64.b64decode(self.pickled))

    def as_line(self) -> str:
        """Return it as a line of JSON; the record is part of it where it is JSON."""
        facts = asdict(self)
        del facts["record" if self.record is None else "pickled"]
        if self.record is not None:
            facts["record"] = json.loads(self.record)
        return json.dumps(facts)


def letter_of(line: str) -> Letter:
    """Return the letter in a line.

    Raises:
        ValueError, KeyError, TypeError: It is none.
    """
    facts = json.loads(line)
    has_record = "record" in facts
    record = json.dumps(facts["record"]) if has_record else None
    return Letter(**{"pickled": None, **facts, "record": record})


def check_name(name: str) -> None:
    """Refuse what can't be the name of a directory.

    Raises:
        UsageError: It can't.
    """
    if not _NAME.fullmatch(name):
        msg = f"'{name}' can't name dead letters"
        raise UsageError(msg, hint="use letters, digits, dots, dashes and underscores")


@dataclass(frozen=True, slots=True)
class LetterBox:
    """The letters of one name in a directory. Picklable; thread-safe for one writer."""

    directory: str
    name: str

    @property
    def identity(self) -> str:
        """Where it is."""
        return f"{self.directory.rstrip('/')}/{self.name}"

    def _place(self, kind: str) -> tuple[Storage, str]:
        storage, path = open_storage(self.directory)
        return storage, f"{path.rstrip('/')}/{self.name}/{kind}"

    def _names(self, kind: str, pattern: re.Pattern[str]) -> list[str]:
        storage, path = self._place(kind)
        try:
            found = [each.name for each in storage.list(path)]
        except FileNotFoundError:
            return []
        known = [each for each in found if pattern.fullmatch(each)]
        return sorted(known, key=lambda each: int(each.partition(".")[0]))

    def _read(self, kind: str, name: str) -> list[Letter]:
        storage, path = self._place(kind)
        with storage.open_input(f"{path}/{name}") as file:
            lines = file.read().decode("utf-8").splitlines()
        try:
            return [letter_of(line) for line in lines if line]
        except (ValueError, KeyError, TypeError) as error:
            msg = f"file '{path}/{name}' of dead letters is damaged: {error!r}"
            raise DurabilityError(msg) from error

    def _write(self, kind: str, name: str, letters: Iterable[Letter]) -> None:
        storage, path = self._place(kind)
        text = "".join(f"{each.as_line()}\n" for each in letters)
        storage.write_atomic(f"{path}/{name}", text.encode("utf-8"))

    # Letters.

    def add(self, letters: Iterable[Letter]) -> int:
        """Add letters that aren't there yet; return how many. On disk when it returns."""
        by_batch: dict[int, list[Letter]] = defaultdict(list)
        for each in letters:
            by_batch[each.batch_ms].append(each)
        return sum(self._add(batch_ms, some) for batch_ms, some in by_batch.items())

    def _add(self, batch_ms: int, letters: Sequence[Letter]) -> int:
        name = f"{batch_ms}.jsonl"
        known = {each.id: each for each in self.of_batch(batch_ms)}
        new = [each for each in letters if each.id not in known]
        if new:
            together = [*known.values(), *new]
            together.sort(key=lambda each: (each.partition, each.index))
            self._write("letters", name, together)
        return len(new)

    def newest_ms(self) -> int | None:
        """Return the newest batch that has letters, if any has."""
        names = self._names("letters", _LETTERS)
        return int(names[-1].partition(".")[0]) if names else None

    def of_batch(self, batch_ms: int) -> list[Letter]:
        """Return the letters of a batch."""
        try:
            return self._read("letters", f"{batch_ms}.jsonl")
        except FileNotFoundError:
            return []

    def letters(self) -> Iterator[Letter]:
        """Yield every letter, those of older batches first."""
        for name in self._names("letters", _LETTERS):
            yield from self._read("letters", name)

    # Replays.

    def mark(self, letters: Sequence[Letter]) -> str:
        """Have letters taken in again; return the file's name. Not two at a time."""
        names = self._names("replays", _REPLAY)
        newest = int(names[-1].partition(".")[0]) if names else 0
        name = f"{newest + 1:06}.jsonl"
        self._write("replays", name, letters)
        return name

    def replays(self) -> list[str]:
        """Return the names of all files of letters to be taken in again, in order."""
        return self._names("replays", _REPLAY)

    def replay(self, name: str) -> list[Letter]:
        """Return the letters of one of them."""
        return self._read("replays", name)

    def take(self, name: str, batch_ms: int) -> None:
        """Note which batch takes in a file; on disk when it returns."""
        storage, path = self._place("taken")
        data = json.dumps({"batch_ms": batch_ms}).encode("utf-8")
        storage.write_atomic(f"{path}/{name}", data)

    def taken_by(self, name: str) -> int | None:
        """Return the batch that takes in a file, if one does."""
        storage, path = self._place("taken")
        try:
            with storage.open_input(f"{path}/{name}") as file:
                return int(json.loads(file.read())["batch_ms"])
        except FileNotFoundError:
            return None


def names_in(directory: str) -> list[str]:
    """Return whose letters there are in a directory.

    Raises:
        UsageError: There is no such directory.
    """
    storage, path = open_storage(directory)
    if not storage.exists(path):
        msg = f"there is no directory '{directory}'"
        raise UsageError(msg)
    path = path.rstrip("/")
    return [
        each.name
        for each in storage.list(path)
        if each.is_dir and storage.exists(f"{path}/{each.name}/letters")
    ]

"""Letter report: what is in a directory of dead letters, and taking some in again.

Records that are pickled are never unpickled here: that would run what is in them.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from millstream.engine.base.errors import UsageError
from millstream.engine.durable.letter_files import (
    Letter,
    LetterBox,
    check_name,
    names_in,
)

_MESSAGE_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class BoxReport:
    """The letters of one name, and what became of them."""

    name: str
    letters: tuple[Letter, ...]
    """Older batches first."""
    replays: dict[str, str]
    """The file that a letter is to be taken in again with, by the letter's id."""
    taken: dict[str, int]
    """The batch that takes in a file, for those where one does."""

    def fate_of(self, letter: Letter) -> str:
        """Return what became of a letter, in words."""
        file = self.replays.get(letter.id)
        if file is None:
            return "dead"
        batch_ms = self.taken.get(file)
        if batch_ms is None:
            return "marked for replay"
        return f"taken in again by batch {batch_ms}"

    @property
    def dead(self) -> list[Letter]:
        """Those that nobody has marked for replay."""
        return [each for each in self.letters if each.id not in self.replays]


def report(directory: str, names: Collection[str] = ()) -> list[BoxReport]:
    """Return what is in a directory of dead letters, of all names or of some.

    Raises:
        UsageError: There is no such directory, or it has no letters of a name.
        DurabilityError: A file is damaged.
    """
    known = names_in(directory)
    for each in names:
        check_name(each)
        if each not in known:
            there = ", ".join(known) or "none"
            msg = f"there are no dead letters of '{each}' in '{directory}'"
            raise UsageError(msg, hint=f"there are those of: {there}")
    return [
        _report(LetterBox(directory, name)) for name in known if _is_in(name, names)
    ]


def _is_in(name: str, names: Collection[str]) -> bool:
    return not names or name in names


def _report(box: LetterBox) -> BoxReport:
    files = box.replays()
    replays = {each.id: file for file in files for each in box.replay(file)}
    taken = {file: box.taken_by(file) for file in files}
    return BoxReport(
        box.name,
        tuple(box.letters()),
        replays,
        {file: batch_ms for file, batch_ms in taken.items() if batch_ms is not None},
    )


def as_json(told: Sequence[BoxReport]) -> str:
    """Return every letter as JSON, with what became of it."""
    letters = [
        {**json.loads(each.as_line()), "fate": box.fate_of(each)}
        for box in told
        for each in box.letters
    ]
    return json.dumps(letters, indent=2)


def as_text(told: Sequence[BoxReport], newest: int) -> str:
    """Return a report for people to read, with so many of the newest letters."""
    return "\n".join(_lines(told, newest)) if told else "no dead letters"


def _lines(told: Sequence[BoxReport], newest: int) -> Iterator[str]:
    for box in told:
        dead = box.dead
        replayed = len(box.letters) - len(dead)
        yield f"{box.name}: {_many(len(dead), 'dead letter')}, {replayed} replayed"
        kinds = Counter(each.error for each in dead)
        for error, count in kinds.most_common():
            operators = sorted({each.operator for each in dead if each.error == error})
            yield f"  {count:>8}  {error} in {', '.join(operators)}"
        shown = dead[-newest:] if newest else []
        if shown:
            yield f"  the newest {len(shown)}:" if len(shown) > 1 else "  the newest:"
        for each in reversed(shown):
            message = _shortened(each.message)
            again = f", attempt {each.attempt}" if each.attempt > 1 else ""
            yield f"    {each.id}{again}  {each.text}  {each.error}: {message}"


def find(told: Sequence[BoxReport], number: str) -> tuple[BoxReport, Letter]:
    """Return the letter with an id.

    Raises:
        UsageError: There is none, or one of each of several names.
    """
    found = [(box, each) for box in told for each in box.letters if each.id == number]
    if not found:
        msg = f"there is no dead letter '{number}'"
        raise UsageError(msg, hint="ids look like 1700000000000-0-5; leave out --show")
    if len(found) > 1:
        names = ", ".join(box.name for box, _ in found)
        msg = f"there is a dead letter '{number}' of each of: {names}"
        raise UsageError(msg, hint="choose one with --name")
    return found[0]


def letter_as_text(box: BoxReport, letter: Letter) -> str:
    """Return one letter, whole, for people to read."""
    where = (
        f"{letter.file}:{letter.line}" if letter.file else "not in the program's files"
    )
    lines = [
        f"dead letter {letter.id} of {box.name}, {box.fate_of(letter)}",
        f"  error      {letter.error}: {letter.message}",
        f"  raised at  {where}",
        f"  operator   {letter.operator}",
        f"  batch      {_time(letter.batch_ms)}",
        f"  partition  {letter.partition}, record {letter.index} of it",
    ]
    if letter.range:
        lines.append(f"  range      {letter.range}")
    if letter.attempt > 1:
        lines.append(f"  attempt    {letter.attempt}; the first was {letter.first}")
    if letter.record is not None:
        lines.append(f"  record     {letter.record}")
    else:
        lines.append(f"  record     {letter.text}  (pickled)")
    return "\n".join(lines)


# Replaying.


@dataclass(frozen=True, slots=True)
class Replay:
    """Letters of one name that are marked for replay."""

    name: str
    file: str | None
    """None: it was only asked what would be."""
    letters: tuple[Letter, ...]

    def as_text(self) -> str:
        """Return it in words."""
        count = _many(len(self.letters), "dead letter")
        if self.file is None:
            return f"{self.name}: {count} would be marked for replay"
        return (
            f"{self.name}: {count} marked for replay in {self.file}; the program takes "
            f"them in with its next batch"
        )


def mark(
    directory: str,
    names: Collection[str] = (),
    only: Collection[str] = (),
    *,
    is_dry: bool = False,
) -> list[Replay]:
    """Mark letters for replay: all that are dead, or `only` some.

    What `only` holds is an id, a type of error, or a batch's time in ms; a letter that any
    of them fits is marked.

    Raises:
        UsageError: There is no such directory or name, or no dead letter fits.
    """
    made: list[Replay] = []
    for box in report(directory, names):
        chosen = tuple(each for each in box.dead if not only or _fits(each, only))
        if chosen:
            file = None if is_dry else LetterBox(directory, box.name).mark(chosen)
            made.append(Replay(box.name, file, chosen))
    if not made:
        which = f" that fits {', '.join(only)}" if only else ""
        msg = f"there is no dead letter{which} in '{directory}'"
        raise UsageError(
            msg, hint="what was marked for replay before isn't dead any more"
        )
    return made


def _fits(letter: Letter, only: Collection[str]) -> bool:
    return not only or any(
        each in {letter.id, letter.error, str(letter.batch_ms)} for each in only
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _time(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({ms} ms)"


def _shortened(text: str) -> str:
    first = text.partition("\n")[0]
    if len(first) <= _MESSAGE_CHARACTERS_MAX:
        return first
    return f"{first[:_MESSAGE_CHARACTERS_MAX]}..."

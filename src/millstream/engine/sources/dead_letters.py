"""ReplayedLetters: dead letters that were marked for it, taken in again once each."""

from collections.abc import Iterator, Sequence
from typing import Any

from millstream.engine.durable.letter_files import LetterBox
from millstream.engine.ingest.direct_source import BatchPlan, DirectSource


class ReplayedLetters(DirectSource[dict[str, Any], Any]):
    """Records of the files in a letter box's `replays`, each file in one batch.

    Which batch takes a file in is noted beside it before the batch runs: a program
    without a checkpoint directory doesn't take it in again after a restart, and one with
    a checkpoint that is older than the note takes it in with the same batch.
    """

    def __init__(self, box: LetterBox) -> None:
        """Read what is marked in `box`."""
        self._box = box
        self._taken: dict[str, int] = {}

    @property
    def identity(self) -> str:
        """Where the letters are."""
        return f"dead letters {self._box.identity}"

    def plan(self, batch: BatchPlan[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Return the files that no other batch takes in."""
        found: list[dict[str, Any]] = []
        for name in self._box.replays():
            if name not in self._taken:
                known = self._box.taken_by(name)
                if known is None:
                    self._box.take(name, batch.time_ms)
                self._taken[name] = batch.time_ms if known is None else known
            if self._taken[name] == batch.time_ms:
                count = len(self._box.replay(name))
                found.append({"file": name, "count": count})
        return found

    def read(self, of: dict[str, Any]) -> Iterator[Any]:
        """Yield the records of a file."""
        for letter in self._box.replay(of["file"]):
            yield letter.value()

    def count(self, of: dict[str, Any]) -> int:
        """Return how many letters a file has."""
        count: int = of["count"]
        return count

    def describe(self, of: dict[str, Any]) -> str:
        """Return a file in words."""
        return (
            f"{of['count']} dead letters of {self._box.identity}/replays/{of['file']}"
        )

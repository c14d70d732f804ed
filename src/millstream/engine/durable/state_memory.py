"""StateMemory: how much memory the resident state of a stream may take; the rest spills."""

import itertools
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.engine.durable.state_map import VersionedMap
from millstream.engine.durable.state_table import StateTable

_log = logging.getLogger(__name__)

_numbers = itertools.count()
"""Names of files: a stream that has stopped may hold on to its own."""


@dataclass(frozen=True, slots=True)
class StateMemoryStatistics:
    """What resident state takes now: `memory_bytes` is an estimate."""

    memory_bytes: int
    partitions: int
    spilled_partitions: int


class StateMemory:
    """A budget that all stores of a stream share. Thread-safe.

    When there is more state than that, the largest partitions move to files in
    `directory`, and stay there. Batches go on: slower, and as correct.
    """

    def __init__(self, budget_bytes: int, directory: Path) -> None:
        """Keep about `budget_bytes` of state in memory at most."""
        self._budget_bytes = budget_bytes
        self._directory = directory
        self._lock = threading.Lock()
        self._bytes: dict[VersionedMap, int] = {}
        self._used_bytes = 0
        self._spilled: set[VersionedMap] = set()
        self._told: set[str] = set()

    def statistics(self) -> StateMemoryStatistics:
        """Return what there is now."""
        with self._lock:
            return StateMemoryStatistics(
                self._used_bytes, len(self._bytes), len(self._spilled)
            )

    def new_map(
        self,
        name: str,
        *,
        keeps_stamps: bool,
        expected_bytes: int,
        version: int | None,
        parts: Iterable[tuple[Sequence[Any], Sequence[Any], Sequence[int]]],
    ) -> VersionedMap:
        """Return a map of the columns in `parts`, which as a dict would take `expected_bytes`.

        Where there is no room for it, it is made in a file from the start.

        Raises:
            DurabilityError: The disk refuses it.
        """
        with self._lock:
            has_room = self._used_bytes + expected_bytes <= self._budget_bytes
            # Taken before it is made: others are made at the same time.
            claimed = expected_bytes if has_room else 0
            self._used_bytes += claimed
        made = None
        try:
            table = None if has_room else self._new_table(keeps_stamps=keeps_stamps)
            made = VersionedMap(keeps_stamps=keeps_stamps, table=table)
            if version is not None:
                made.load(version, parts)
        except BaseException:
            if made is not None:
                made.close()
            with self._lock:
                self._used_bytes -= claimed
            raise
        with self._lock:
            self._bytes[made] = claimed
            if not has_room:
                self._spilled.add(made)
                self._tell(name)
        self.settle(name, made)
        return made

    def settle(self, name: str, changed: VersionedMap) -> None:
        """Note how large a map is by now; if all are too large, move some to files.

        Raises:
            DurabilityError: The disk refuses it.
        """
        with self._lock:
            now_bytes = changed.memory_bytes
            self._used_bytes += now_bytes - self._bytes.get(changed, 0)
            self._bytes[changed] = now_bytes
            while self._used_bytes > self._budget_bytes:
                largest = max(self._bytes, key=self._bytes.__getitem__)
                if largest in self._spilled:
                    return  # All are: what they take besides their files is no state.
                self._spill(name, largest)

    def _spill(self, name: str, known: VersionedMap) -> None:
        self._tell(name)
        keeps_stamps = known.keeps_stamps
        known.move_to(lambda: self._new_table(keeps_stamps=keeps_stamps))
        self._spilled.add(known)
        self._used_bytes -= self._bytes[known]
        self._bytes[known] = 0

    def _new_table(self, *, keeps_stamps: bool) -> StateTable:
        # Only when memory is short: sqlite3 would be a tenth of a program's start.
        from millstream.engine.durable.state_spill import (  # noqa: PLC0415
            SpilledTable,
        )

        path = self._directory / f"state-{next(_numbers)}.sqlite"
        return SpilledTable(path, keeps_stamps=keeps_stamps)

    def _tell(self, name: str) -> None:
        if name not in self._told:
            self._told.add(name)
            _log.warning(
                "state is larger than its memory and goes to disk: batches get slower "
                "state=%s budget_mib=%d; see spark.millstream.state.memory",
                name,
                self._budget_bytes >> 20,
            )

    def forget(self, maps: Iterable[VersionedMap]) -> None:
        """Give up maps, and their files."""
        for each in maps:
            with self._lock:
                self._used_bytes -= self._bytes.pop(each, 0)
                self._spilled.discard(each)
            each.close()

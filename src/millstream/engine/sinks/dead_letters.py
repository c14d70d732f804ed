"""Dead letters, written: to a directory, or to any sink."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from millstream.engine.base.clock import SystemClock
from millstream.engine.durable.letter_files import Letter, LetterBox
from millstream.engine.sinks.contract import Opening, Sink, SinkBatch
from millstream.engine.sinks.records import Records

_log = logging.getLogger(__name__)


class LetterFiles(Sink[dict[str, Any]]):
    """A letter box as a sink: by the letters' numbers, each is there once.

    It needs no mark: what is there already isn't added, and nothing else changes.
    """

    def __init__(self, box: LetterBox) -> None:
        """Write to `box`."""
        self.box = box

    @property
    def identity(self) -> str:
        """Where the letters are."""
        return self.box.identity

    def write(
        self, batch: SinkBatch, partition: int, records: Records[dict[str, Any]]
    ) -> None:
        """Add letters."""
        del batch, partition
        self.box.add(Letter(**each) for each in records)


class LetterWriter:
    """Commits the letters of a marked stream, for each output at a time; on the driver."""

    def __init__(self, sink: Sink[Any], output: str) -> None:
        """Write to `sink` under names that begin with `output`."""
        self.sink = sink
        self._output = output
        self._openings: dict[str, Opening] = {}
        self._newest_ms: dict[str, int | None] = {}

    def write(self, key: str, time_ms: int, letters: Sequence[Letter]) -> None:
        """Commit what was found by the output `key` in a batch, in one partition.

        A batch that runs again when later ones have committed theirs can't have its own
        told from new ones: they get a mark of their own, and may be there twice.

        Raises:
            StaleRunError: A newer run has taken over.
        """
        output = f"{self._output}.{key}"
        batch = self._batch(output, time_ms)
        if 0 in self.sink.begin(batch):
            if time_ms == self._newest_ms[output]:
                _log.info(
                    "dead letters are there already output=%s batch=%d letters=%d",
                    output,
                    time_ms,
                    len(letters),
                )
                return
            batch = self._batch(f"{output}.late-{time_ms}", time_ms)
            if 0 in self.sink.begin(batch):
                return
        try:
            rows = list(map(asdict, letters))
            written = self.sink.write(batch, 0, Records([rows]))
            self.sink.commit(batch, {0: written})
        except BaseException:
            self.sink.abort(batch)
            raise
        self._newest_ms[batch.output] = time_ms

    def _batch(self, output: str, time_ms: int) -> SinkBatch:
        opening = self._openings.get(output)
        if opening is None:
            opening = self.sink.open(output, SystemClock().now_ms())
            self._openings[output] = opening
            self._newest_ms[output] = opening.newest_ms
        return SinkBatch(output, time_ms, 1, opening.run)

    def close(self) -> None:
        """End."""
        if self._openings:
            self.sink.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_openings": {}, "_newest_ms": {}}

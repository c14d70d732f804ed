"""DirectInput: the stream of a DirectSource. Its ranges are in a checkpoint first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millstream.engine.base import frames
from millstream.engine.ingest.direct_source import (
    BatchPlan,
    DirectPartition,
    DirectSource,
)
from millstream.engine.streams.inputs import InputOperator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph


class DirectInput(InputOperator):
    """Ranges of records that are kept elsewhere: a partition each."""

    has_position = True

    def __init__(
        self,
        graph: "DStreamGraph",
        source: DirectSource[Any, Any],
        to_rdd: Callable[[Sequence[DirectPartition], Sequence[Any]], Any],
        kind: str,
    ) -> None:
        """Read what `source` plans, with `to_rdd(partitions, ranges)`."""
        self.kind = kind
        super().__init__(graph)
        self.source = source
        self._to_rdd = to_rdd
        self._planned: dict[int, _Ranges] = {}
        self._latest = _NONE
        self._latest_ms: int | None = None
        self._is_lag_known = True
        self._pickled: bytes | None = None
        self.rate: float | None = None
        """Records a second at most, as back-pressure has it."""

    def start(self) -> None:
        """Begin."""
        self.source.start()

    def stop(self) -> None:
        """End."""
        self.source.stop()

    def compute(self, time_ms: int) -> Any:
        """Return an RDD of the batch's ranges: planned now, or when it ran before."""
        planned = self._planned.get(time_ms)
        if planned is None:
            planned = self._plan(time_ms)
        counts = [self.source.count(each) for each in planned.ranges]
        known = [
            (count, self.source.describe(each))
            for count, each in zip(counts, planned.ranges, strict=True)
            if count
        ]
        known.sort(key=lambda each: -each[0])
        self.report(
            time_ms,
            sum(counts),
            {
                "ranges": planned.data,
                "Description": "\n".join(words for _, words in known),
            },
        )
        if self._pickled is None:
            self._pickled = frames.dumps_function(self.source)
        parts = [
            DirectPartition(self._pickled, each, self.source.has_blocks)
            for each in planned.data
        ]
        return self._to_rdd(parts, planned.ranges)

    def _plan(self, time_ms: int) -> "_Ranges":
        if self._latest_ms is not None and time_ms < self._latest_ms:
            # It couldn't be planned at its time: what it would have had is in the next.
            self._planned[time_ms] = _NONE
            return _NONE
        batch = BatchPlan(
            time_ms, self.graph.batch_ms / 1000, self._latest.ranges, rate=self.rate
        )
        self._is_lag_known = False
        ranges = tuple(self.source.plan(batch))
        self._is_lag_known = True
        planned = _Ranges(ranges, tuple(map(self.source.as_data, ranges)))
        self._planned[time_ms] = planned
        self._latest_ms = time_ms
        if ranges:
            self._latest = planned
        return planned

    def gauges(self) -> dict[str, float]:
        """Return the limit of records a second, -1 if there is none, and the lag."""
        rate = -1 if self.rate is None else self.rate
        gauges: dict[str, float] = {f"millstream.input.{self.id}.rateLimit": rate}
        lag = self.source.lag
        if lag is not None:
            gauges |= (lag if self._is_lag_known else lag.unknown).gauge(self.id)
        return gauges

    @property
    def newest_ms(self) -> int | None:
        """The newest batch that was planned."""
        return self._latest_ms

    @property
    def identity(self) -> str:
        """What the source says."""
        return self.source.identity

    def position(self) -> Mapping[str, Any]:
        """Return the ranges of each batch that may run again, and the newest ones."""
        return {
            "latest": self._latest.data,
            "latest_ms": self._latest_ms,
            "ranges": {
                str(time_ms): planned.data for time_ms, planned in self._planned.items()
            },
        }

    def restore_position(self, position: Mapping[str, Any]) -> None:
        """Take over which ranges belong to which batch."""
        self._latest = self._restored_ranges(position.get("latest", ()))
        self._latest_ms = position.get("latest_ms")
        self._planned = {
            int(time_ms): self._restored_ranges(data)
            for time_ms, data in position.get("ranges", {}).items()
        }

    def _restored_ranges(self, data: Sequence[Any]) -> "_Ranges":
        return _Ranges(tuple(map(self.source.of_data, data)), tuple(data))

    def forget_infos(self, before_ms: int) -> None:
        """Forget batches that can't run again."""
        super().forget_infos(before_ms)
        for old in [t for t in self._planned if t < before_ms]:
            del self._planned[old]

    def __getstate__(self) -> dict[str, Any]:
        # Where it is, is data: a checkpoint's manifest has it.
        return {
            **super().__getstate__(),
            "_planned": {},
            "_latest": _NONE,
            "_latest_ms": None,
            "_is_lag_known": True,
            "_pickled": None,
            "rate": None,
        }


@dataclass(frozen=True, slots=True)
class _Ranges:
    """The ranges of a batch, and the same as JSON has them."""

    ranges: tuple[Any, ...]
    data: tuple[Any, ...]


_NONE = _Ranges((), ())

"""Direct streams: records that are kept elsewhere and can be read again, by ranges."""

from typing import Any

from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag, LagUnit
from millstream.rdd import RDD

__all__ = ["BatchPlan", "DirectRDD", "DirectSource", "Lag", "LagUnit"]


class DirectRDD(RDD[Any]):
    """A batch of a direct stream, as the stream gives it: partition i is range i."""

    def __init__(self, node: Any, ctx: Any, ranges: tuple[Any, ...]) -> None:
        """Wrap a plan node; programs get these from `directStream`."""
        super().__init__(node, ctx)
        self.ranges = ranges

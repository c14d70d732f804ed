"""RateControl: how fast receivers may store, from how fast batches are processed."""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping

from millstream.engine.base.config import Settings
from millstream.engine.base.threads import SerialLoop
from millstream.engine.ingest.pid import PidEstimator, make_estimator
from millstream.engine.streams.events import BatchInfo

_log = logging.getLogger(__name__)


class RateControl:
    """Asks an estimator after each batch, for each stream; off unless the conf says so."""

    def __init__(
        self,
        stream_ids: Iterable[int],
        settings: Settings,
        batch_ms: int,
        publish: Callable[[int, float | None], None],
    ) -> None:
        """Tell `publish(stream id, records a second)` of each new estimate and limit.

        None is told when neither holds any more: what other settings say is all.

        Raises:
            IllegalArgumentError: The estimator is unknown, or a parameter of it is wrong.
        """
        self._publish = publish
        self._estimators: dict[int, PidEstimator] = {}
        self.latest: dict[int, float] = {}
        self._limits: dict[int, float] = {}
        self._first = math.inf
        """What holds before the first estimate."""
        # A limit and an estimate that come together mustn't be published in either order.
        self._publishing = threading.Lock()
        self._loop: SerialLoop | None = None
        if settings.get_bool("spark.streaming.backpressure.enabled"):
            first = settings.find_int("spark.streaming.backpressure.initialRate")
            if first is not None and first > 0:
                self._first = first
            self._estimators = {
                each: make_estimator(settings, batch_ms) for each in stream_ids
            }
        if self._estimators:
            # Of its own: publishing may wait, and batches must not.
            self._loop = SerialLoop("millstream-rates", self._on_error)
            self._loop.start()

    def on_batch_completed(self, info: BatchInfo) -> None:
        """Estimate anew; batches that ran again, without input infos, don't count."""
        if self._loop is not None:
            self._loop.post(lambda: self._estimate(info))

    def _estimate(self, info: BatchInfo) -> None:
        end_ms, took_ms = info.processing_end_ms, info.processing_delay_ms
        waited_ms = info.scheduling_delay_ms
        if end_ms is None or took_ms is None or waited_ms is None:
            return
        for stream_id, estimator in self._estimators.items():
            given = info.inputs.get(stream_id)
            if given is None:
                continue
            rate = estimator.compute(end_ms, given.record_count, took_ms, waited_ms)
            if rate is not None:
                with self._publishing:
                    self.latest[stream_id] = float(int(rate))
                    self._publish_least(stream_id)

    def limit(self, stream_id: int, per_second: float) -> None:
        """Publish no more than so many records a second for a stream from now on.

        What is estimated is published where it is less. Works without an estimator, too.
        """
        with self._publishing:
            self._limits[stream_id] = per_second
            self._publish_least(stream_id)

    def unlimit(self, stream_id: int) -> bool:
        """Publish what holds without `limit` from now on; False if there was none."""
        with self._publishing:
            if self._limits.pop(stream_id, None) is None:
                return False
            self._publish_least(stream_id)
            return True

    @property
    def limits(self) -> Mapping[int, float]:
        """What was asked for by `limit`, by the ids of streams."""
        with self._publishing:
            return dict(self._limits)

    def _publish_least(self, stream_id: int) -> None:
        estimate = self.latest.get(stream_id, self._first)
        least = min(estimate, self._limits.get(stream_id, math.inf))
        self._publish(stream_id, None if least == math.inf else least)

    def _on_error(self, error: BaseException) -> None:
        _log.error("estimating a rate failed error=%s", error, exc_info=error)

    def stop(self) -> None:
        """End."""
        if self._loop is not None:
            self._loop.stop()

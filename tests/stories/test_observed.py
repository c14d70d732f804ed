"""A stream that is looked at in every way, and what was seen, read back."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.engine.observe.observed import wait_until_told
from tests.engine.observe.test_telemetry import collector

from millstream.engine.base import logs
from millstream.engine.observe.event_log import EventLogApplication
from millstream.engine.observe.prometheus import exposition
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow

BAD = "not a number"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return the log, as JSON."""
    out, ours = io.StringIO(), logging.getLogger("millstream")
    root = logging.getLogger()
    handlers, level = list(root.handlers), ours.level
    logs.configure("json", "info", out)
    yield out
    root.handlers[:] = handlers
    ours.setLevel(level)
    logging.captureWarnings(capture=False)


class Quiet(Receiver[str]):
    """A receiver that receives nothing."""

    def onStart(self) -> None:
        """Begin."""

    def onStop(self) -> None:
        """End."""


def _values(text: bytes) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_all_who_look_see_the_same(tmp_path: Path, log: io.StringIO) -> None:
    """Of three batches one fails: metrics, the event log, traces and the log say so."""
    conf = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(tmp_path)}
    with collector() as receiver:
        conf["spark.millstream.otel.endpoint"] = receiver.url
        with StreamHarness(conf=conf) as h:
            numbers = h.stream([["1", "2"], [BAD], ["3"]])
            seen = h.collect(numbers.map(int))
            h.collect(h.ssc.receiverStream(Quiet()))
            h.run(1)
            with pytest.raises(Exception, match=BAD):
                h.run(1)
            h.run(1)
            wait_until_told(h, 3)
            application = h.sc._observers.application
            gauges = h.ssc.metrics()
            metrics = _values(exposition(application))
            picture = application.picture()
            directory = tmp_path / h.sc.applicationId
    read = EventLogApplication(str(directory)).picture()
    batches = [each for each in receiver.spans if each.name == "batch"]
    failed = [each for each in batches if each.status.code == 2]
    lines: list[dict[str, Any]] = [json.loads(e) for e in log.getvalue().splitlines()]
    events = {each["event"]: each for each in lines}

    assert seen.records == [[1, 2], [3]]
    assert gauges["streaming.totalCompletedBatches"] == 3
    assert metrics["spark_streaming_totalCompletedBatches_total"] == 3
    assert metrics["millstream_failed_batches_total"] == 1
    assert metrics["millstream_jobs_failed_total"] == gauges["millstream.failedBatches"]
    assert picture is not None
    assert read is not None
    assert read.completed == picture.completed
    assert (read.completed_count, read.failed_count) == (3, 1)
    assert BAD in (read.find(2000) or read.completed[0]).first_failure  # type: ignore[operator]
    assert len(batches) == 3
    assert len(failed) == 1
    assert BAD in failed[0].events[0].attributes[0].value.string_value
    assert events["error running output operation"]["batch"] == 2000
    assert events["error running output operation"]["level"] == "error"
    assert events["stream started"]["fields"]["batch_ms"] == 1000
    assert events["receiver started"]["fields"]["stream"] == 1
    assert events["receiver stopped"]["fields"]["stream"] == 1
    assert events["stream stopped"]["fields"]["last_batch"] == 3000


def test_a_warning_of_every_batch_is_told_once(
    tmp_path: Path, log: io.StringIO
) -> None:
    """A directory that can't be listed: nobody's log is full of it."""
    too_long = "x" * 300  # More than file systems allow.
    with StreamHarness() as h:
        h.collect(h.ssc.textFileStream(f"{tmp_path}/{{there,{too_long}}}"))
        h.run(5)
    told = [json.loads(each)["event"] for each in log.getvalue().splitlines()]

    assert sum("can't list a directory" in each for each in told) == 1

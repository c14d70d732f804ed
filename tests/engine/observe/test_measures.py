"""What can be measured of an application."""

import re
from pathlib import Path

import pytest
from tests.engine.observe.observed import FakeApplication, everything

from millstream import SparkContext
from millstream.engine.jobs.book import JobRecord
from millstream.engine.observe.measures import MEASURES, Kind, samples
from millstream.testing import StreamHarness

OFF = {"spark.ui.enabled": "false"}


def test_names_are_valid_and_unique() -> None:
    """Prometheus takes each, and none means two things."""
    names = [each.name for each in MEASURES]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-zA-Z0-9_]*", each) for each in names)
    assert not [each for each in names if each.endswith("_total")]
    assert len({each.gauge for each in MEASURES}) == len(MEASURES)


def test_an_input_is_told_by_its_id() -> None:
    """Whatever the name says behind it."""
    application = FakeApplication(values={"millstream.input.12.lag": 5})
    found = [(e.measure.gauge, e.stream_id, e.value) for e in samples(application)]

    assert found == [("millstream.input.*.lag", 12, 5)]


def test_gauges_of_a_stream_go_when_it_stops() -> None:
    """What still tells the truth stays: counters, histograms, and that it has stopped."""
    with StreamHarness(conf=OFF) as h:
        h.collect(h.stream([["a"]]))
        h.run(1)
        application = h.sc._observers.application
        running = {e.measure for e in samples(application)}
        h.ssc.stop(stopSparkContext=False)
        stopped = {e.measure: e.value for e in samples(application)}
        last = h.ssc.metrics()
    gone = running - stopped.keys()
    by_gauge = {each.gauge: value for each, value in stopped.items()}

    assert {each.kind for each in gone} == {Kind.GAUGE}
    assert {e.gauge for e in stopped if e.kind is Kind.GAUGE} == {
        "millstream.stream.active",
        "millstream.stream.stopping",
        "millstream.blocks.memoryBytes",
        "millstream.blocks.diskBytes",
        "millstream.jobs.running",
        "millstream.tasks.running",
    }
    assert by_gauge["millstream.stream.active"] == 0
    assert by_gauge["streaming.totalCompletedBatches"] == 1
    assert last["millstream.stream.active"] == 0
    assert last["streaming.retainedCompletedBatches"] == 1


@pytest.mark.slow
def test_every_gauge_of_a_stream_is_described(tmp_path: Path) -> None:
    """With an input of each kind, state and checkpoints; and each described one comes."""
    with everything(tmp_path / "checkpoint", OFF) as h:
        found = list(samples(h.sc._observers.application))
        gauges = h.ssc.metrics()
    unknown = {e.measure.gauge for e in found if e.measure not in MEASURES}
    # Only a stream with mapWithState says what its state takes.
    rare = {e.gauge for e in MEASURES if e.gauge.startswith("millstream.state.")}

    assert not unknown
    assert {e.gauge for e in MEASURES} - {e.measure.gauge for e in found} <= rare
    assert gauges["millstream.input.1.lag"] == 10
    assert gauges["millstream.input.1.rateLimit"] == -1
    assert gauges["millstream.input.1.records"] == 4
    assert gauges["millstream.wal.writes"] > 0
    assert gauges["millstream.wal.bytes"] > 0
    assert gauges["millstream.wal.failed"] == 0
    assert gauges["streaming.lastReceivedBatch_records"] == 3
    assert gauges["streaming.retainedCompletedBatches"] == 2


def test_jobs_and_tasks_are_counted(sc: SparkContext) -> None:
    """Those that failed apart; sums go on when jobs are forgotten."""

    def fails(number: int) -> int:
        raise ValueError(number)

    sc.parallelize([1, 2], 2).count()
    with pytest.raises(Exception, match="ValueError"):
        sc.parallelize([1], 1).map(fails).count()
    counts = sc._driver.book.counts()

    assert (counts.running, counts.succeeded, counts.failed) == (0, 1, 1)
    assert (counts.running_tasks, counts.completed_tasks) == (0, 2)
    assert counts.failed_tasks == 1


def test_who_watches_jobs_hears_of_each_twice(sc: SparkContext) -> None:
    """When it begins and when it has ended, with its stages; a watcher harms no job."""
    heard: list[tuple[str, int]] = []

    def watch(job: JobRecord, stages: object) -> None:
        assert isinstance(stages, list | tuple)
        heard.append((job.status, len(stages)))

    def broken(_job: JobRecord, _stages: object) -> None:
        raise ValueError("broken")

    sc._driver.book.watchers += [broken, watch]

    assert sc.parallelize([1, 2], 2).count() == 2
    assert heard == [("RUNNING", 0), ("SUCCEEDED", 1)]

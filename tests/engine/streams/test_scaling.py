"""Tests of engine/streams/scaling.py."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import SparkConf, SparkContext
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    OutputOperationInfo,
    StreamingStarted,
)
from millstream.engine.streams.scaling import Scaler, Scaling, ScalingRules, rules_of
from millstream.streaming import StreamingContext

KEY = "spark.streaming.dynamicAllocation"
ON = {f"{KEY}.enabled": "true"}


def test_there_is_none_unless_it_is_asked_for() -> None:
    """Settings that go with it change nothing then."""
    assert rules_of(Settings({}), 3) is None
    assert rules_of(Settings({f"{KEY}.minExecutors": "3"}), 3) is None


def test_settings_are_those_of_spark() -> None:
    """By default, and each by its key."""
    assert rules_of(Settings(ON), 0) == ScalingRules(60_000, 0.9, 0.3, 1, None)
    assert rules_of(Settings(ON), 3) == ScalingRules(60_000, 0.9, 0.3, 3, None)
    values = {
        **ON,
        f"{KEY}.scalingInterval": "5",
        f"{KEY}.scalingUpRatio": "2",
        f"{KEY}.scalingDownRatio": "1",
        f"{KEY}.minExecutors": "4",
        f"{KEY}.maxExecutors": "6",
    }
    assert rules_of(Settings(values), 9) == ScalingRules(5000, 2.0, 1.0, 4, 6)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"spark.dynamicAllocation.enabled": "true"}, "can't both be true"),
        ({"spark.executor.instances": "3"}, "instances=3 contradict each other"),
        ({f"{KEY}.scalingDownRatio": "0"}, "more than 0, but was 0"),
        ({f"{KEY}.scalingUpRatio": "0.3"}, "more than scalingDownRatio"),
        ({f"{KEY}.maxExecutors": "1"}, "at least minExecutors, but they were 1 and 2"),
        ({f"{KEY}.scalingInterval": "0"}, "scalingInterval should be"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    more: dict[str, str], told: str
) -> None:
    """By their names, with their values."""
    with pytest.raises(IllegalArgumentError, match=told):
        rules_of(Settings({**ON, **more}), 2)


def after(rules: ScalingRules, count: int, *took_ms: int) -> int:
    """Return what is decided after batches of a second that took so long."""
    core = Scaling(rules, 1000)
    for each in took_ms:
        core.on_batch(each)
    return core.decide(count)


def test_slow_batches_bring_executors() -> None:
    """As many as batches are too long, rounded, and one at least."""
    rules = ScalingRules(count_max=9)

    assert after(rules, 2, 900) == 3
    assert after(rules, 2, 899) == 2
    assert after(rules, 2, 1000, 2000) == 4
    assert after(rules, 2, 1499) == 3
    assert after(rules, 2, 3000) == 5
    assert after(rules, 2, 60_000) == 9


def test_fast_batches_let_one_executor_go() -> None:
    """Down to the least number, and none below it."""
    rules = ScalingRules(count_min=2)

    assert after(rules, 4, 300) == 3
    assert after(rules, 4, 301) == 4
    assert after(rules, 2, 1) == 2
    assert after(rules, 1, 1) == 1


def test_every_decision_begins_anew() -> None:
    """Without a batch since the last one all stays as it is."""
    core = Scaling(ScalingRules(), 1000)
    core.on_batch(5000)

    assert core.decide(2) == 7
    assert core.decide(7) == 7
    core.on_batch(100)
    assert core.decide(7) == 6


@given(
    took_ms=st.lists(st.integers(0, 10_000), max_size=5),
    count=st.integers(0, 20),
    bounds=st.tuples(st.integers(1, 10), st.integers(0, 10)),
)
def test_numbers_stay_within_their_bounds(
    took_ms: list[int], count: int, bounds: tuple[int, int]
) -> None:
    """Those that are decided; a number that nothing is known about stays."""
    rules = ScalingRules(count_min=bounds[0], count_max=sum(bounds))
    wanted = after(rules, count, *took_ms)

    if wanted > count:
        assert rules.count_min <= wanted <= sum(bounds)
    assert wanted >= min(count, rules.count_min)


class Crew:
    """Executors that come at once."""

    def __init__(self, count: int) -> None:
        self.ready_count = count
        self.asked: list[int] = []
        self.error: Exception | None = None

    def scale(self, count: int) -> None:
        """Have so many."""
        self.asked.append(count)
        if self.error is not None:
            raise self.error
        self.ready_count = count


def batch(took_ms: int, failure: str | None = None) -> BatchCompleted:
    """Return the end of a batch."""
    output = OutputOperationInfo(0, 0, "", "", failure_reason=failure)
    return BatchCompleted(BatchInfo(0, {}, 0, 5, 5 + took_ms, {0: output}))


def test_a_stream_is_scaled_every_interval(caplog: pytest.LogCaptureFixture) -> None:
    """Batches that failed don't count; what can't be had is told, and tried again."""
    clock, crew = ManualClock(500), Crew(2)
    scaler = Scaler(ScalingRules(interval_ms=100), 1000, crew, clock)
    scaler.start()

    def pass_by(until_ms: int, *events: BatchCompleted | StreamingStarted) -> int:
        for event in events:
            scaler.on_event(event)
        assert clock.wait_until_someone_waits(10, lambda all_ms: until_ms in all_ms)
        clock.set_ms(until_ms)
        following = until_ms + 100
        assert clock.wait_until_someone_waits(10, lambda all_ms: following in all_ms)
        return crew.ready_count

    assert pass_by(600, StreamingStarted(0)) == 2
    assert pass_by(700, batch(1000), batch(3000)) == 4
    assert pass_by(800, batch(100), batch(9000, "broken")) == 3
    crew.error = OSError("no more machines")
    with caplog.at_level(logging.ERROR, "millstream"):
        assert pass_by(900, batch(1000)) == 3
    assert "executors can't be scaled from=3 to=4" in caplog.text
    crew.error = None
    assert pass_by(1000, batch(1000)) == 4
    scaler.stop()

    assert crew.asked == [4, 3, 4, 4]


def test_a_local_master_says_that_its_number_is_fixed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The stream runs all the same, as in Spark."""
    conf = SparkConf().setAll(ON.items()).setMaster("local[2]").setAppName("fixed")
    with SparkContext(conf=conf) as sc, caplog.at_level(logging.WARNING, "millstream"):
        ssc = StreamingContext(sc, 1)
        ssc.queueStream([[1]]).foreachRDD(lambda rdd: rdd.count())
        ssc.start()
        ssc.stop()

    assert "does nothing here" in caplog.text
    assert "master=local[2]" in caplog.text


def test_settings_are_checked_before_a_stream_starts() -> None:
    """On every master, so that they are right when it comes to a cluster."""
    conf = SparkConf().setAll(ON.items()).set(f"{KEY}.scalingUpRatio", "0.1")
    with SparkContext("local", "checked", conf=conf) as sc:
        ssc = StreamingContext(sc, 1)
        ssc.queueStream([[1]]).foreachRDD(lambda rdd: rdd.count())
        with pytest.raises(IllegalArgumentError, match="scalingUpRatio"):
            ssc.start()

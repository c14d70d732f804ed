"""Tests of engine/base/catalogue.py, and of reading values by it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import catalogue
from millstream.engine.base.catalogue import CATALOGUE, Kind, find_setting
from millstream.engine.base.config import (
    Settings,
    parse_duration_ms,
    parse_size_bytes,
    remarks,
)
from millstream.engine.base.errors import IllegalArgumentError

_SOURCE = Path(catalogue.__file__).parents[2]

# Every key of `spark.streaming.` that Spark has, and what it is when nobody sets it.
_STREAMING_DEFAULTS = {
    "backpressure.enabled": "false",
    "backpressure.initialRate": None,
    "backpressure.rateEstimator": "pid",
    "backpressure.pid.proportional": "1.0",
    "backpressure.pid.integral": "0.2",
    "backpressure.pid.derived": "0.0",
    "backpressure.pid.minRate": "100",
    "blockInterval": "200",
    "blockQueueSize": "10",
    "receiver.maxRate": None,
    "receiver.blockStoreTimeout": "30",
    "receiver.writeAheadLog.enable": "false",
    "receiver.writeAheadLog.class": None,
    "receiver.writeAheadLog.rollingIntervalSecs": "60",
    "receiver.writeAheadLog.maxFailures": "3",
    "receiver.writeAheadLog.closeFileAfterWrite": "false",
    "driver.writeAheadLog.class": None,
    "driver.writeAheadLog.rollingIntervalSecs": "60",
    "driver.writeAheadLog.maxFailures": "3",
    "driver.writeAheadLog.closeFileAfterWrite": "false",
    "driver.writeAheadLog.allowBatching": "true",
    "driver.writeAheadLog.batchingTimeout": "5000",
    "receiverRestartDelay": "2000",
    "unpersist": "true",
    "concurrentJobs": "1",
    "gracefulStopTimeout": None,
    "stopGracefullyOnShutdown": None,
    "stopSparkContextByDefault": "true",
    "checkpoint.directory": None,
    "minRememberDuration": "60",
    "fileStream.minRememberDuration": None,
    "sessionByKey.deltaChainThreshold": "20",
    "ui.retainedBatches": "1000",
    "clock": "SystemClock",
    "manualClock.jump": "0",
    "dynamicAllocation.enabled": "false",
    "dynamicAllocation.minExecutors": None,
    "dynamicAllocation.maxExecutors": None,
    "dynamicAllocation.scalingInterval": "60",
    "dynamicAllocation.scalingUpRatio": "0.9",
    "dynamicAllocation.scalingDownRatio": "0.3",
    "dynamicAllocation.testing": None,
    "kafka.maxRatePerPartition": "0",
    "kafka.minRatePerPartition": "1",
    "kafka.consumer.cache.enabled": "true",
    "kafka.consumer.cache.initialCapacity": None,
    "kafka.consumer.cache.maxCapacity": "64",
    "kafka.consumer.cache.loadFactor": None,
    "kafka.consumer.poll.ms": "30000",
    "kafka.allowNonConsecutiveOffsets": None,
    "kafka.maxRetries": None,
}


@pytest.mark.parametrize(("key", "default"), _STREAMING_DEFAULTS.items())
def test_every_streaming_key_has_an_entry_of_its_own(
    key: str, default: str | None
) -> None:
    """With Spark's default, so that a near miss is told by name.

    Kafka's polls wait for less, and what does nothing there has none.
    """
    assert CATALOGUE[f"spark.streaming.{key}"].default == default


@pytest.mark.parametrize(
    "key",
    [
        "spark.executor.memory",
        "spark.driver.extraJavaOptions",
        "spark.memory.storageFraction",
        "spark.shuffle.file.buffer",
        "spark.broadcast.blockSize",
        "spark.speculation.efficiency.enabled",
        "spark.kryoserializer.buffer",
        "spark.hadoop.fs.s3a.access.key",
        "spark.sql.shuffle.partitions",
        "spark.jars.packages",
        "spark.python.worker.reuse",
        "spark.python.task.killTimeout",
        "spark.yarn.queue",
        "spark.akka.frameSize",
        "spark.cleaner.referenceTracking",
        "spark.connect.grpc.binding.port",
    ],
)
def test_keys_of_spark_without_effect_say_why(key: str) -> None:
    """Each has a reason, whether it has its own entry or its family's."""
    setting = find_setting(key)

    assert setting is not None
    assert setting.does_nothing
    assert remarks([key]) == [
        (key, f"'{key}' does nothing here: {setting.does_nothing}")
    ]


def test_a_key_that_works_is_read_by_somebody() -> None:
    """The catalogue promises no effect that no module has."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in _SOURCE.rglob("*.py")
        if path.name != "catalogue.py"
    ]
    unread = [
        key
        for key, setting in CATALOGUE.items()
        if setting.does_nothing is None
        and not key.endswith("*")  # What a library reads.
        and not any(f'"{key}"' in text for text in texts)
    ]

    assert unread == []


def test_the_closest_family_answers() -> None:
    """A longer prefix knows better; an entry of its own knows best."""
    assert find_setting("spark.python.profile") == CATALOGUE["spark.python.profile"]
    assert find_setting("spark.python.other") == CATALOGUE["spark.python.*"]
    assert find_setting("spark.submit.pyFiles") == CATALOGUE["spark.submit.pyFiles"]
    assert find_setting("spark.nothing.like.it") is None


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("spark.streaming.backpresure.enabled", "spark.streaming.backpressure.enabled"),
        ("spark.default.paralellism", "spark.default.parallelism"),
        ("spark.exectuor.memory", "spark.executor.memory"),
        ("spark.streaming.stopGracefully", "spark.streaming.stopGracefullyOnShutdown"),
    ],
)
def test_a_misspelt_key_is_told_with_the_name_that_was_meant(
    misspelt: str, meant: str
) -> None:
    """Keys without effect are suggested too."""
    assert remarks([misspelt]) == [
        (
            misspelt,
            f"unknown configuration key '{misspelt}'; did you mean '{meant}'?",
        )
    ]


def test_keys_that_work_and_keys_of_others_get_no_remark() -> None:
    """Only what starts with `spark.` is ours to judge."""
    assert remarks(["spark.master", "spark.cleaner.ttl", "my.own.key"]) == []


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "spark.millstream.gc",
            "sometimes",
            "should be one of between-batches, automatic, but was 'sometimes'",
        ),
        (
            "spark.streaming.backpressure.rateEstimator",
            "guess",
            "should be one of pid, but was 'guess'",
        ),
        (
            "spark.streaming.backpressure.pid.integral",
            "nan",
            "should be a number, at least 0, but was 'nan'",
        ),
        (
            "spark.streaming.blockInterval",
            "0",
            "should be a duration such as 200ms or 5s, in ms if no unit is given, at least 1 ms, but was '0'",
        ),
        (
            "spark.streaming.receiver.writeAheadLog.enable",
            "maybe",
            "should be true or false, but was 'maybe'",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_words(
    key: str, value: str, expected: str
) -> None:
    """Key, what is expected, its bound, and the value; also for keys of later parts."""
    with pytest.raises(IllegalArgumentError) as caught:
        Settings({key: value}).check()

    assert caught.value.message == f"{key} {expected}"


def test_every_default_is_a_legal_value() -> None:
    """Texts, too: a default outside its own choices would refuse every program."""
    Settings(
        {
            key: setting.default
            for key, setting in CATALOGUE.items()
            if setting.default is not None
        }
    ).check()


_TEN_TO_12 = st.integers(-(10**12), 10**12)
_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


@given(_TEN_TO_12, st.sampled_from(sorted(_MS)), st.booleans())
def test_a_duration_that_is_written_can_be_read(
    count: int, unit: str, is_upper: bool
) -> None:
    """Number, unit in any case, and the same with the unit as the key's default."""
    written = f"{count}{unit.upper() if is_upper else unit}"

    assert parse_duration_ms(written) == count * _MS[unit]
    assert parse_duration_ms(str(count), unit) == count * _MS[unit]


@given(_TEN_TO_12, st.sampled_from("bkmgtp"))
def test_a_size_that_is_written_can_be_read(count: int, unit: str) -> None:
    """Each unit is 1024 of the one before, as a suffix and as a default."""
    size = count * 1024 ** "bkmgtp".index(unit)

    assert parse_size_bytes(f"{count}{unit}") == size
    assert parse_size_bytes(str(count), unit) == size


def test_default_units_are_those_of_the_key() -> None:
    """A bare number is ms, seconds or MiB, by the kind."""
    settings = Settings(
        {
            "spark.streaming.blockInterval": "50",
            "spark.cleaner.ttl": "50",
            "spark.millstream.memory": "50",
        }
    )

    assert CATALOGUE["spark.cleaner.ttl"].kind is Kind.DURATION_S
    assert settings.get_ms("spark.streaming.blockInterval") == 50
    assert settings.get_ms("spark.cleaner.ttl") == 50_000
    assert settings.get_bytes("spark.millstream.memory") == 50 << 20

"""Tests of engine/base/config.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import machine
from millstream.engine.base.config import (
    CATALOGUE,
    Kind,
    Settings,
    parse_duration_ms,
    parse_size_bytes,
    remarks,
    tell_remarks,
)
from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.machine import Share


@pytest.mark.parametrize(
    ("text", "unit", "ms"),
    [
        ("100", "ms", 100),
        ("5s", "ms", 5000),
        ("2min", "ms", 120_000),
        ("1h", "s", 3_600_000),
        ("3d", "s", 259_200_000),
        ("7", "s", 7000),
        ("2000us", "ms", 2),
        (" 5 ", "ms", 5),
    ],
)
def test_durations_are_read_as_sparks_are(text: str, unit: str, ms: int) -> None:
    """Number and unit; the key says what a bare number means."""
    assert parse_duration_ms(text, unit) == ms


@given(
    st.integers(0, 10**6),
    st.sampled_from(["", "k", "m", "g"]),
    st.sampled_from(["", "b"]),
)
def test_sizes_are_powers_of_1024(number: int, unit: str, tail: str) -> None:
    """k, m, g with or without b."""
    power = ["", "k", "m", "g"].index(unit)

    assert parse_size_bytes(f"{number}{unit}{tail}") == number * 1024**power


@pytest.mark.parametrize("text", ["", "x", "1.5s", "5 parsecs", "s"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Fractions and unknown units too, as in Spark."""
    with pytest.raises(ValueError, match="whole number"):
        parse_duration_ms(text)


def test_settings_are_typed_by_the_catalogue() -> None:
    """Defaults, conversions, and whether a key was set."""
    settings = Settings(
        {"spark.streaming.concurrentJobs": "3", "spark.rdd.compress": "TRUE"}
    )

    assert settings.get_int("spark.streaming.concurrentJobs") == 3
    assert settings.get_bool("spark.rdd.compress")
    assert settings.get_ms("spark.streaming.blockInterval") == 200
    assert settings.find_ms("spark.cleaner.ttl") is None
    assert settings.get_str("spark.streaming.clock") == "SystemClock"
    assert settings.is_set("spark.rdd.compress")
    assert not settings.is_set("spark.cleaner.ttl")


@pytest.mark.parametrize(
    ("share", "memory", "state_memory", "worker_memory"),
    [
        (None, 1 << 30, 2 << 30, 2 << 30),
        (Share(64 << 30, 64 << 30), 1 << 30, 2 << 30, 2 << 30),
        (Share(8 << 30, 64 << 30), 1 << 30, 2 << 30, 2 << 30),
        (Share(2 << 30, 64 << 30), 1 << 28, 1 << 29, 1 << 30),
    ],
)
def test_less_memory_is_taken_where_there_is_little(
    monkeypatch: pytest.MonkeyPatch,
    share: Share | None,
    memory: int,
    state_memory: int,
    worker_memory: int,
) -> None:
    """An eighth, a quarter and half of it, unless the program asks for more."""
    monkeypatch.setattr(machine, "memory", lambda: share)
    unset = Settings({})
    given = Settings({"spark.millstream.memory": "3g"})

    assert unset.get_bytes("spark.millstream.memory") == memory
    assert unset.get_bytes("spark.millstream.state.memory") == state_memory
    assert unset.get_bytes("spark.millstream.worker.memory") == worker_memory
    assert given.get_bytes("spark.millstream.memory") == 3 << 30


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("spark.streaming.blockInterval", "soon", "should be a duration"),
        ("spark.streaming.blockInterval", "0", "at least 1"),
        ("spark.streaming.unpersist", "yes", "true or false"),
        ("spark.streaming.concurrentJobs", "many", "whole number"),
        ("spark.millstream.memory", "much", "size"),
    ],
)
def test_a_bad_value_names_key_value_and_type(
    key: str, value: str, expected: str
) -> None:
    """The error says what is expected; the hint what the key is for."""
    with pytest.raises(IllegalArgumentError, match=expected) as caught:
        Settings({key: value}).check()

    assert key in str(caught.value)
    assert f"'{value}'" in str(caught.value)
    assert caught.value.hint


def test_keys_without_effect_and_unknown_ones_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once each, with the reason or the nearest name."""
    keys = ["spark.executor.memory", "spark.streaming.blockIntervall", "other.key"]
    told = dict(remarks(keys))

    assert "does nothing here" in told["spark.executor.memory"]
    assert "did you mean 'spark.streaming.blockInterval'?" in told[keys[1]]
    assert "other.key" not in told
    tell_remarks(["spark.driver.testOnce"])
    tell_remarks(["spark.driver.testOnce"])
    assert caplog.text.count("spark.driver.testOnce") == 1


def test_every_default_can_be_read() -> None:
    """The catalogue is consistent with itself."""
    for key, setting in CATALOGUE.items():
        assert setting.effect
        if setting.default is not None and setting.kind is not Kind.TEXT:
            Settings({key: setting.default}).check()

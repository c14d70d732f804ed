"""Tests of KafkaSource: pairs of texts as columns are those of the rows."""

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.columnar.blocks import Columns, rows_of
from millstream.engine.columnar.execution import ROWS_MIN
from millstream.engine.sources.kafka.cluster import (
    Chosen,
    Partitions,
    TopicPattern,
    Topics,
)
from millstream.engine.sources.kafka.offsets import (
    OffsetRange,
    PerPartitionConfig,
    TopicAndPartition,
)
from millstream.engine.sources.kafka.reading import Reading
from millstream.engine.sources.kafka.settings import read_settings
from millstream.engine.sources.kafka.source import (
    KafkaSource,
    Start,
    text_blocks,
    utf8_decoder,
)

Raw = list[bytes | None]


def taken(keys: Raw, values: Raw) -> tuple[list[Any], str | None, list[bool]]:
    """Return the rows of blocks, what they raise, and which blocks are columns."""
    rows: list[Any] = []
    kinds: list[bool] = []
    try:
        for block in text_blocks(keys, values):
            rows.extend(rows_of(block))
            kinds.append(isinstance(block, Columns))
    except UnicodeDecodeError as error:
        return rows, str(error), kinds
    return rows, None, kinds


def decoded(keys: Raw, values: Raw) -> tuple[list[Any], str | None]:
    """Return what row by row gives."""
    rows: list[Any] = []
    try:
        for key, value in zip(keys, values, strict=True):
            rows.append((utf8_decoder(key), utf8_decoder(value)))
    except UnicodeDecodeError as error:
        return rows, str(error)
    return rows, None


RAW = st.none() | st.text().map(str.encode) | st.binary(max_size=5)


@settings(max_examples=25)
@given(st.lists(st.tuples(RAW, RAW), min_size=1, max_size=30), st.booleans())
def test_blocks_have_the_rows_of_the_decoder(
    pairs: list[tuple[bytes | None, bytes | None]], is_large: bool
) -> None:
    """Also None, also what isn't UTF-8: the same rows, then the same error."""
    if is_large:
        pairs = pairs * (ROWS_MIN // len(pairs) + 1)
    keys, values = [k for k, _ in pairs], [v for _, v in pairs]
    rows, error, _ = taken(keys, values)

    assert (rows, error) == decoded(keys, values)


@pytest.mark.parametrize("keys", [[None], [b"k"], [b"k", None]])
@pytest.mark.parametrize("values", [[None], [b"v"], [b"v", None, "\u00e4".encode()]])
def test_large_blocks_are_columns(keys: Raw, values: Raw) -> None:
    """Unless there is nothing in them, or only what isn't text."""
    size = ROWS_MIN * 2
    long_keys, long_values = (keys * size)[:size], (values * size)[:size]
    rows, error, kinds = taken(long_keys, long_values)

    assert (rows, error) == decoded(long_keys, long_values)
    assert kinds == [keys != [None] or values != [None]]
    long_values[-1] = b"\xff"
    assert taken(long_keys, long_values)[2] == [False]


def source(chosen: Chosen) -> KafkaSource:
    """Return a source that isn't started."""
    parameters = read_settings(
        {"bootstrap.servers": "one:9092", "group.id": "g", "sasl.password": "hunter2"}
    )
    reading = Reading(parameters.for_tasks(), 1.0)
    return KafkaSource(parameters, chosen, Start(), reading, PerPartitionConfig(), list)


@pytest.mark.parametrize(
    ("chosen", "identity"),
    [
        (Topics(("a", "b")), "kafka a,b"),
        (TopicPattern("a.*"), "kafka a.*"),
        (Partitions((TopicAndPartition("a", 3),)), "kafka a-3"),
    ],
)
def test_a_stream_is_known_by_its_topics(chosen: Chosen, identity: str) -> None:
    """The same words after the program has changed."""
    assert source(chosen).identity == identity


def test_a_range_is_plain_data_and_comes_back() -> None:
    """As checkpoints have it; and it can be told in words."""
    made, of = source(Topics(("a",))), OffsetRange("a", 0, 3, 8)

    assert made.of_data(made.as_data(of)) == of
    assert made.count(of) == 5
    assert made.describe(of) == "topic: a\tpartition: 0\toffsets: 3 to 8\tcount: 5"


def test_a_copy_in_a_task_commits_nothing() -> None:
    """Offsets are the driver's; and no text shows a password."""
    copy = pickle.loads(pickle.dumps(source(Topics(("a",)))))

    with pytest.raises(IllegalStateError, match="doesn't run here"):
        copy.commit_later([OffsetRange("a", 0, 0, 1)], None)
    assert copy.lost == 0
    assert "hunter2" not in repr(copy.settings)

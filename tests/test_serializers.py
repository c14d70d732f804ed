"""Tests of serializers.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.context import SparkContext
from millstream.serializers import (
    AutoBatchedSerializer,
    BatchedSerializer,
    CloudPickleSerializer,
    CPickleSerializer,
    MarshalSerializer,
    NoOpSerializer,
    PickleSerializer,
    Serializer,
    UTF8Deserializer,
)

_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    _PLAIN,
    st.sampled_from(
        [
            CPickleSerializer(),
            CloudPickleSerializer(),
            MarshalSerializer(),
            BatchedSerializer(CPickleSerializer(), 2),
            AutoBatchedSerializer(MarshalSerializer()),
        ]
    ),
)
@pytest.mark.slow
def test_what_is_dumped_is_loaded(value: Any, serializer: Serializer) -> None:
    """Every serializer gives the value back."""
    assert serializer.loads(serializer.dumps(value)) == value


def test_functions_travel_by_value() -> None:
    """A lambda over a variable comes back whole."""
    step = 3
    serializer = CloudPickleSerializer()

    assert serializer.loads(serializer.dumps(lambda x: x + step))(4) == 7


def test_bytes_and_text_pass_through() -> None:
    """As they are, or decoded."""
    assert NoOpSerializer().dumps(b"x") == NoOpSerializer().loads(b"x") == b"x"
    assert UTF8Deserializer().loads("é".encode()) == "é"
    assert UTF8Deserializer(use_unicode=False).loads(b"\xff") == b"\xff"


def test_a_base_class_does_neither() -> None:
    """Subclasses say how."""
    with pytest.raises(NotImplementedError):
        Serializer().dumps(1)
    with pytest.raises(NotImplementedError):
        UTF8Deserializer().dumps("x")
    with pytest.raises(NotImplementedError):
        Serializer().loads(b"")


def test_equal_settings_make_equal_serializers() -> None:
    """Compared by class and settings, so that they can be keys."""
    assert PickleSerializer is CPickleSerializer
    assert CPickleSerializer() == CPickleSerializer() != MarshalSerializer()
    assert BatchedSerializer(CPickleSerializer(), 2) != BatchedSerializer(
        CPickleSerializer(), 3
    )
    assert len({CPickleSerializer(), CPickleSerializer(), MarshalSerializer()}) == 2
    assert repr(MarshalSerializer()) == "MarshalSerializer()"


@given(st.lists(st.integers()), st.integers(-1, 7))
def test_batches_are_full_but_the_last(rows: list[int], size: int) -> None:
    """In order, nothing lost; without a size all in one."""
    batches = list(BatchedSerializer(CPickleSerializer(), size).batches(rows))

    assert [row for batch in batches for row in batch] == rows
    if size < 1:
        assert len(batches) == 1
    else:
        assert all(len(batch) == size for batch in batches[:-1])


def test_a_context_takes_any_of_them() -> None:
    """Results don't depend on it."""
    with SparkContext("local", "marshal", serializer=MarshalSerializer()) as sc:
        assert sc.parallelize([1, 2]).map(str).collect() == ["1", "2"]
        assert sc.serializer == MarshalSerializer()

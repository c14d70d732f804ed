"""Tests of broadcast.py."""

import functools
import gc
import io
from pathlib import Path

import pytest

from millstream import broadcast as broadcasts
from millstream.broadcast import Broadcast
from millstream.context import SparkContext
from millstream.engine.base import frames
from millstream.engine.base.errors import (
    JobFailedError,
    PySparkPicklingError,
    PySparkRuntimeError,
    SparkError,
)


def test_the_driver_sees_the_object_itself_and_tasks_a_copy(sc: SparkContext) -> None:
    """Tasks see what it was when it was broadcast."""
    words = ["a", "b"]
    shared: Broadcast[list[str]] = sc.broadcast(words)
    words.append("later")

    assert shared.value is words
    assert sc.parallelize([0, 1], 2).map(lambda i: shared.value[i]).collect() == [
        "a",
        "b",
    ]
    assert sc.parallelize([0]).map(lambda _: len(shared.value)).collect() == [2]


@pytest.mark.usefixtures("threads")
def test_a_process_makes_one_copy(sc: SparkContext) -> None:
    """Tasks share it, however many there are."""
    shared = sc.broadcast({"a": 1})

    identities = sc.parallelize(range(6), 6).map(lambda _: id(shared.value)).collect()

    assert len(set(identities)) == 1
    assert identities[0] != id(shared.value)


def test_it_travels_by_name_not_by_value(sc: SparkContext) -> None:
    """A closure stays small, whatever it shares; nested ones travel too."""
    big = sc.broadcast(b"x" * 1_000_000)
    outer = sc.broadcast([big])

    assert len(frames.dumps_function(lambda: big.value)) < 2_000
    sizes = sc.parallelize([0]).map(lambda _: len(outer.value[0].value))
    assert sizes.collect() == [1_000_000]


def test_unpersisted_copies_are_made_again(sc: SparkContext) -> None:
    """Dropping them is no loss."""
    shared = sc.broadcast([1])
    rdd = sc.parallelize([0]).map(lambda _: shared.value)
    assert rdd.collect() == [[1]]
    shared.unpersist()

    assert rdd.collect() == [[1]]


def test_a_destroyed_one_fails_the_job_that_uses_it(sc: SparkContext) -> None:
    """On the driver, in a closure made later, and in a task that knew it before."""
    shared = sc.broadcast([1])
    before = sc.parallelize([0]).map(lambda _: shared.value)
    assert before.collect() == [[1]]
    shared.destroy()
    shared.destroy()

    with pytest.raises(SparkError, match="after it was destroyed"):
        _ = shared.value
    with pytest.raises(JobFailedError, match="after it was destroyed"):
        before.collect()
    with pytest.raises(SparkError, match="after it was destroyed"):
        sc.parallelize([0]).map(lambda _: shared.value).collect()


def test_only_the_driver_may_drop_it(sc: SparkContext) -> None:
    """Both calls are refused in a task."""
    shared = sc.broadcast([1])

    for drop in (lambda _: shared.unpersist(), lambda _: shared.destroy()):
        with pytest.raises(JobFailedError, match="in driver") as caught:
            sc.parallelize([0], 1).foreach(drop)
        assert isinstance(caught.value.user_error, PySparkRuntimeError)


@pytest.mark.parametrize("what", ["context", "rdd"])
def test_a_context_or_rdd_is_not_broadcast(sc: SparkContext, what: str) -> None:
    """The text programs match on; told at once."""
    value = sc if what == "context" else sc.parallelize([1])

    with pytest.raises(PySparkPicklingError, match="Could not serialize broadcast"):
        sc.broadcast([value])


def test_a_later_context_does_not_answer_for_an_earlier_one() -> None:
    """Ids begin anew, but a broadcast never finds another's value."""
    with SparkContext("local") as sc:
        old = sc.broadcast("old")
    with SparkContext("local") as sc:
        new = sc.broadcast("new")
        assert new._id == old._id
        with pytest.raises(SparkError, match="after it was destroyed"):
            sc.parallelize([0]).map(lambda _: old.value).collect()
        assert sc.parallelize([0]).map(lambda _: new.value).collect() == ["new"]

    assert old.value == "old", "the driver's own object is still at hand"


@pytest.mark.slow
def test_one_that_nobody_holds_is_forgotten(sc: SparkContext) -> None:
    """Broadcasting anew in every batch costs no memory; an RDD's function holds its own."""
    shared = sc.broadcast(["kept"])
    rdd = sc.parallelize([0]).map(functools.partial(_value_of, shared))
    gone_key, kept_key = sc.broadcast([1])._key, shared._key
    del shared
    gc.collect()

    assert gone_key not in broadcasts._pickled
    assert rdd.collect() == [["kept"]]
    del rdd
    gc.collect()
    assert kept_key not in broadcasts._pickled
    assert kept_key not in broadcasts._copies


def _value_of(shared: Broadcast[list[str]], _: int) -> list[str]:
    return shared.value


def test_values_are_written_and_read(sc: SparkContext, tmp_path: Path) -> None:
    """`dump` closes the file it was given."""
    shared: Broadcast[list[int]] = sc.broadcast([1])
    file = (tmp_path / "value").open("wb")
    shared.dump([2, 3], file)

    assert file.closed
    assert shared.load_from_path(str(tmp_path / "value")) == [2, 3]
    assert shared.load(io.BytesIO(frames.dumps("x"))) == "x"  # type: ignore[comparison-overlap]

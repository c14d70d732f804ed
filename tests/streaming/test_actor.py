"""ActorUtils: what reaches the receiver, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from millstream.engine.base import extras
from millstream.engine.base.levels import StorageLevel
from millstream.errors import MissingDependencyError, PySparkTypeError
from millstream.streaming.actor import (
    ActorHelper,
    ActorUtils,
    OneForOneStrategy,
    RemotePort,
)
from millstream.testing import StreamHarness


@pytest.fixture
def harness() -> Iterator[StreamHarness]:
    """A program."""
    with StreamHarness() as made:
        yield made


class Silent(ActorHelper):
    """Does nothing."""


def test_a_stream_has_its_settings(harness: StreamHarness) -> None:
    """Arguments of the actor by position, those of the stream by name."""
    strategy = OneForOneStrategy(restarts_max=3, within_ms=1000)
    remote = RemotePort(4040, "a key of a test, long enough")
    level = StorageLevel.MEMORY_ONLY
    stream: Any = ActorUtils.createStream(
        harness.ssc,
        Silent,
        1,
        "two",
        name="silent",
        storageLevel=level,
        supervisorStrategy=strategy,
        remote=remote,
    )
    receiver = stream._operator.receiver

    assert (receiver.kind, receiver.args, receiver.name) == (
        Silent,
        (1, "two"),
        "silent",
    )
    assert (receiver.strategy, receiver.remote) == (strategy, remote)
    assert receiver.storageLevel == level


def test_defaults_are_spark_s(harness: StreamHarness) -> None:
    """Serialized, in memory and on disk, twice; nobody listens."""
    stream: Any = ActorUtils.createStream(harness.ssc, Silent)
    receiver = stream._operator.receiver

    assert receiver.storageLevel == StorageLevel.MEMORY_AND_DISK_SER_2
    assert (receiver.name, receiver.args, receiver.remote) == ("Silent", (), None)
    assert (receiver.strategy.restarts_max, receiver.strategy.within_ms) == (10, 15)


def test_a_class_without_the_helper_is_refused(harness: StreamHarness) -> None:
    """When the stream is made."""
    with pytest.raises(PySparkTypeError, match="ActorHelper"):
        ActorUtils.createStream(harness.ssc, dict)  # type: ignore[arg-type]


def test_without_the_extra_it_says_what_installs_it(
    harness: StreamHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not in the receiver."""

    def missing(module: str) -> Any:
        raise ImportError(name=module)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(MissingDependencyError, match="pykka") as raised:
        ActorUtils.createStream(harness.ssc, Silent)

    assert raised.value.hint == "pip install 'millstream[actor]'"


def test_the_context_makes_the_same_stream(harness: StreamHarness) -> None:
    """Under the name that Spark's contexts had."""
    stream: Any = harness.ssc.actorStream(Silent, 1, name="silent")
    receiver = stream._operator.receiver

    assert (receiver.kind, receiver.args, receiver.name) == (Silent, (1,), "silent")
    assert receiver.storageLevel == StorageLevel.MEMORY_AND_DISK_SER_2

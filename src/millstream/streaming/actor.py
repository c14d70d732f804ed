"""ActorUtils: streams of what actors store, in the shape of Spark 1.x's `actorStream`."""

from typing import Any

from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.sources.actor.feed import RemotePort
from millstream.engine.sources.actor.feeder import FeedRefusedError, RemoteFeeder
from millstream.engine.sources.actor.receiver import ActorReceiver
from millstream.engine.sources.actor.strategy import (
    Directive,
    OneForOneStrategy,
    Statistics,
)
from millstream.engine.sources.actor.workers import (
    ActorHelper,
    Worker,
    WorkerGoneError,
)
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream

__all__ = [
    "ActorHelper",
    "ActorUtils",
    "Directive",
    "FeedRefusedError",
    "OneForOneStrategy",
    "RemoteFeeder",
    "RemotePort",
    "Statistics",
    "Worker",
    "WorkerGoneError",
]


class ActorUtils:
    """Makes streams of what actors store."""

    @staticmethod
    def createStream(
        ssc: StreamingContext,
        actorClass: type[ActorHelper],
        *args: Any,
        name: str | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_SER_2,
        supervisorStrategy: OneForOneStrategy | None = None,
        remote: RemotePort | None = None,
    ) -> DStream[Any]:
        """Return what an actor `actorClass(*args)`, and those that it adds, store.

        The actor runs in the receiver, which may be in another process: the class and the
        arguments travel there. `name` is what remote feeders and logs call it; the class's
        name without one. With `remote`, the receiver listens for `RemoteFeeder`s.

        Raises:
            MissingDependencyError: The extra `actor` isn't installed.
            PySparkTypeError: The class has no ActorHelper among its bases.
        """
        needed("pykka", "actor", "ActorUtils")
        receiver = ActorReceiver(
            actorClass,
            args,
            name,
            storageLevel,
            strategy=supervisorStrategy,
            remote=remote,
        )
        return ssc.receiverStream(receiver, "ActorInputDStream")

"""ActorReceiver: a receiver whose records come from actors that a program writes itself."""

from typing import Any

from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.async_receiver import AsyncReceiver, Store
from millstream.engine.sources.actor.feed import FeedServer, RemotePort
from millstream.engine.sources.actor.strategy import OneForOneStrategy
from millstream.engine.sources.actor.supervisor import Supervisor
from millstream.engine.sources.actor.workers import ActorHelper, check_actor_class

_STOP_S = 5.0


class ActorReceiver(AsyncReceiver[Any]):
    """Runs a supervisor and its first worker; stores what workers store."""

    def __init__(
        self,
        kind: type[ActorHelper],
        args: tuple[Any, ...],
        name: str | None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_SER_2,
        *,
        strategy: OneForOneStrategy | None = None,
        remote: RemotePort | None = None,
    ) -> None:
        """Start with a worker `kind(*args)`, named `name` or as the class; listen at `remote`, if given.

        Raises:
            PySparkTypeError: The class has no ActorHelper among its bases.
        """
        check_actor_class(kind)
        super().__init__(storageLevel)
        self.kind = kind
        self.args = args
        self.name = name or kind.__name__
        self.strategy = strategy or OneForOneStrategy()
        self.remote = remote

    @property
    def identity(self) -> str:
        """What it reads: the actor's name."""
        return f"actor {self.name}"

    async def run(self, store: Store) -> None:
        """Run the workers until cancelled."""
        import asyncio  # noqa: PLC0415  Programs without such a receiver don't need it.

        del store  # Workers store on threads of their own.
        supervisor = Supervisor(
            self.store, self._escalate, self.isStopped, self.strategy
        )
        try:
            supervisor.start(self.kind, self.args, self.name)
            if self.remote is None:
                await asyncio.Event().wait()
            else:
                await FeedServer(self.remote, supervisor, self.name).run()
        finally:
            supervisor.stop(_STOP_S)

    def _escalate(self, message: str, error: Exception) -> None:
        self.restart(message, error)

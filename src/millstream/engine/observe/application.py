"""Application: what pages, REST and metrics ask of a program, running or over.

A running one is asked in its process; one that is over is read from its event log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.control import Action
from millstream.engine.observe.progress import Picture

ACTIONS_MAX = 200
"""How many of the newest things that were done are remembered."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What doesn't change while a program runs; times in ms since the epoch."""

    id: str
    name: str
    user: str
    started_ms: int
    version: str
    """The version of Spark whose API this is."""
    environment: Mapping[str, Mapping[str, str]]
    """Tables by title: settings, versions, the machine; without any secret."""


@dataclass(frozen=True, slots=True)
class StoredRdd:
    """An RDD whose partitions are kept."""

    id: int
    name: str
    level: str
    partition_count: int
    stored_count: int
    memory_bytes: int
    disk_bytes: int
    site: str = ""
    """The line of the program that has made it."""


@dataclass(frozen=True, slots=True)
class OutputJobs:
    """The jobs that an output operation of a batch has run."""

    batch_ms: int
    output_id: int
    job_ids: tuple[int, ...]


class Application(Protocol):
    """One program."""

    @property
    def facts(self) -> Facts:
        """What doesn't change."""
        ...

    @property
    def ended_ms(self) -> int | None:
        """When it ended; None while it runs."""
        ...

    @property
    def version(self) -> int:
        """A number that grows with every change; see `wait_for_news`."""
        ...

    def wait_for_news(self, known_version: int, timeout_s: float) -> bool:
        """Block until something is newer than `known_version`; False when time runs out."""
        ...

    def picture(self) -> Picture | None:
        """Return the progress of its stream; None if it has none."""
        ...

    def input_names(self) -> Mapping[int, str]:
        """Return what the stream's inputs are called, by their ids."""
        ...

    def receiver_count(self) -> int:
        """Return how many receivers the stream has."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """Return its gauges by Spark's names and ours; see `StreamingContext.metrics`."""
        ...

    def jobs(self) -> Sequence[JobRecord]:
        """Return the jobs that are known, newest first."""
        ...

    def stages(self) -> Sequence[StageRecord]:
        """Return the stages that are known, newest first."""
        ...

    def stored(self) -> Sequence[StoredRdd]:
        """Return the RDDs that are kept."""
        ...

    def actions(self) -> Sequence[Action]:
        """Return what was done to it from its page and by REST, newest first.

        The newest `ACTIONS_MAX` are known.
        """
        ...

"""Running: a live SparkContext as pages, REST and metrics see it."""

import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from millstream.engine.base import machine
from millstream.engine.base.secrets import is_secret_key, without_password
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import ACTIONS_MAX, Facts, StoredRdd
from millstream.engine.observe.control import Action
from millstream.engine.observe.progress import Picture, StreamProgress
from millstream.engine.streams.inputs import ReceiverInput

if TYPE_CHECKING:
    from millstream.context import SparkContext

_LIBRARIES = ("millstream", "polars", "pyarrow", "ray", "pysail", "confluent-kafka")


class RunningApplication:
    """What a SparkContext does now, and the stream on it, when there is one."""

    ended_ms: int | None = None

    def __init__(self, context: "SparkContext") -> None:
        """Look at `context`."""
        self._context = context
        self._driver = context._driver
        self.stream: Any = None
        """The StreamingContext, once it has started."""
        self.progress: StreamProgress | None = None
        self._actions: deque[Action] = deque(maxlen=ACTIONS_MAX)
        self._action_count = 0
        self._noting = threading.Lock()

    def attach(self, stream: Any, progress: StreamProgress) -> None:
        """Hear of a stream that starts, and of where its events are folded."""
        self.stream, self.progress = stream, progress

    def note(self, action: Action) -> None:
        """Hear of what somebody has done to it."""
        with self._noting:
            self._actions.appendleft(action)
            self._action_count += 1

    @cached_property
    def facts(self) -> Facts:
        """What doesn't change."""
        import platform  # noqa: PLC0415  Programs without a page needn't wait for it.

        context = self._context
        return Facts(
            context.applicationId,
            context.appName,
            _user(),
            context.startTime,
            context.version,
            {
                "Settings": _without_secrets(dict(context.getConf().getAll())),
                "Python": {
                    "version": sys.version.split()[0],
                    "executable": sys.executable,
                    "program": sys.argv[0],
                    "platform": platform.platform(),
                    "processors": _processors(),
                },
                "Libraries": _libraries(),
            },
        )

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        streamed = 0 if self.progress is None else self.progress.version
        return self._driver.book.version + streamed + self._action_count

    def wait_for_news(self, known_version: int, timeout_s: float) -> bool:
        """Block until something is newer than `known_version`; False when time runs out."""
        if self.version > known_version:
            return True
        if self.progress is not None:
            seen = self.progress.version
            self.progress.wait_for_news(seen, timeout_s)
        return self.version > known_version

    def picture(self) -> Picture | None:
        """Return the progress of the stream; None if there is none."""
        return None if self.progress is None else self.progress.picture()

    def input_names(self) -> Mapping[int, str]:
        """Return what the stream's inputs are called, by their ids."""
        if self.stream is None:
            return {}
        return {each.id: each.name for each in self.stream._graph.inputs}

    def receiver_count(self) -> int:
        """Return how many receivers the stream has."""
        if self.stream is None:
            return 0
        return sum(isinstance(e, ReceiverInput) for e in self.stream._graph.inputs)

    def gauges(self) -> Mapping[str, float]:
        """Return the gauges of the stream, of jobs and tasks, and of what is kept.

        Those of a stream that has stopped stay as they were.
        """
        kept = self._driver.blocks.statistics()
        jobs = self._driver.book.counts()
        gauges: dict[str, float] = {
            "millstream.blocks.memoryBytes": kept.memory_bytes,
            "millstream.blocks.diskBytes": kept.disk_bytes,
            "millstream.blocks.evicted": kept.evicted_blocks,
            "millstream.blocks.spilled": kept.spilled_blocks,
            "millstream.jobs.running": jobs.running,
            "millstream.jobs.succeeded": jobs.succeeded,
            "millstream.jobs.failed": jobs.failed,
            "millstream.tasks.running": jobs.running_tasks,
            "millstream.tasks.completed": jobs.completed_tasks,
            "millstream.tasks.failed": jobs.failed_tasks,
        }
        if self.stream is None:
            return gauges
        gauges["millstream.stream.active"] = int(self.is_active)
        return {**gauges, **self.stream.metrics()}

    @property
    def is_active(self) -> bool:
        """Whether a stream has started and hasn't stopped."""
        if self.stream is None:
            return False
        state: str = self.stream.getState().value
        return state == "ACTIVE"

    def jobs(self) -> Sequence[JobRecord]:
        """Return the jobs that are known, newest first."""
        return self._driver.book.jobs()

    def stages(self) -> Sequence[StageRecord]:
        """Return the stages that are known, newest first."""
        return self._driver.book.stages()

    def stored(self) -> Sequence[StoredRdd]:
        """Return the RDDs that are kept, oldest first."""
        found = []
        for node in self._driver.persisted():
            held = self._driver.held_of(node)
            found.append(
                StoredRdd(
                    node.id,
                    node.title(),
                    str(node.level),
                    node.partition_count,
                    held.count,
                    held.memory_bytes,
                    held.disk_bytes,
                    node.call_site,
                )
            )
        return found

    def actions(self) -> Sequence[Action]:
        """Return what was done to it from its page, newest first."""
        with self._noting:
            return tuple(self._actions)


def _processors() -> str:
    share = machine.cores()
    return f"{share.amount} of {share.machine}: {share.reason}"


def _user() -> str:
    import getpass  # noqa: PLC0415  See `facts`.

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _without_secrets(settings: Mapping[str, str]) -> dict[str, str]:
    return {
        key: "*" * 8 if is_secret_key(key) else _shown(value)
        for key, value in sorted(settings.items())
    }


def _shown(value: str) -> str:
    if "://" not in value:
        return value
    try:
        return without_password(value)
    except ValueError:  # Not a URL after all; what is secret in it can't be told.
        return "*" * 8


def _libraries() -> dict[str, str]:
    from importlib import metadata  # noqa: PLC0415  See `facts`.

    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

"""DriverClaim: which driver has a checkpoint directory: the newest that took it over.

A driver takes a directory over by a file `driver-<number>` with a number higher than any
before, and then deletes those of older ones. It has the directory for as long as its own
file is there, as it wrote it. So nothing has to be removed after a crash, and no time has
to run out: the next driver just takes over.

Take over first, read then. Write first, look then. Of two drivers that keep to this order
the older one finds that its file is gone, or the newer one reads what the older one wrote:
what counts as accepted is never unknown to the newer one.
"""

import json
import os  # noqa: TID251  Which process this is.
import re
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from millstream.engine.base.clock import SystemClock, monotonic_s
from millstream.engine.base.errors import (
    DurabilityError,
    MissingDependencyError,
    TakenOverError,
    UnsupportedOperationError,
)
from millstream.engine.base.storage import Storage, open_storage, read_small

_NAME = re.compile(r"driver-([0-9]+)")
_TRIES_MAX = 100
"""How many drivers may begin at the same moment, each just before this one."""
_RECENT_S = 1.0


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """A driver that took a checkpoint directory over."""

    host: str
    pid: int
    since_ms: int
    application: str
    token: str = ""
    """What no other driver's file has, should two have the same number."""

    def __str__(self) -> str:
        """Say it in words."""
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC)
        return (
            f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S} UTC, "
            f"application '{self.application}'"
        )


class DriverClaim:
    """A driver's hold on a checkpoint directory, until a newer driver takes it over.

    Thread-safe.
    """

    def __init__(self, uri: str, storage: Storage, path: str, data: bytes) -> None:
        """Hold `uri` for as long as the file `path` has `data`; see `take_over`."""
        self.uri = uri
        self._storage = storage
        self._path = path
        self._data = data
        self._lock = threading.Lock()
        self._lost: str | None = None
        self._on_lost: Callable[[TakenOverError], None] | None = None
        self._looked_s = monotonic_s()

    @classmethod
    def take_over(cls, uri: str, application: str) -> "DriverClaim":
        """Take a directory over from whoever has it.

        What is in it must be read after that, not before.

        Raises:
            TakenOverError: A newer driver has done the same meanwhile.
            DurabilityError, OSError: The storage refuses it.
        """
        storage, directory = open_storage(uri)
        facts = DriverFacts(
            socket.gethostname(),
            os.getpid(),
            SystemClock().now_ms(),
            application,
            secrets.token_hex(8),
        )
        data = json.dumps(asdict(facts)).encode()
        for _ in range(_TRIES_MAX):
            number = max(_numbers(storage, directory), default=0) + 1
            path = f"{directory}/driver-{number}"
            try:
                _write(storage, path, data)
            except FileExistsError:
                continue  # Another driver begins, or an earlier try seemed to fail.
            others = [each for each in _numbers(storage, directory) if each != number]
            if max(others, default=0) > number:
                # The number was free again: newer drivers have come and tidied up since.
                continue
            for each in others:
                storage.delete(f"{directory}/driver-{each}")
            claim = cls(uri, storage, path, data)
            claim.check()
            return claim
        msg = f"checkpoint directory '{uri}' can't be taken over: others always do"
        raise DurabilityError(msg, hint="how many drivers are started with it?")

    def when_lost(self, tell: Callable[[TakenOverError], None]) -> None:
        """Call `tell` when it is noticed that another driver has the directory, once.

        On the thread that notices it, or here and now if that has happened.
        """
        with self._lock:
            self._on_lost = tell
            lost = self._lost
        if lost is not None:
            tell(_error(lost))

    def check(self) -> None:
        """Return if no newer driver had taken over by the time of this call.

        Reads one small file.

        Raises:
            TakenOverError: One has. From then on it is always raised.
            DurabilityError, OSError: Nobody knows: the storage can't be asked.
        """
        if self._lost is not None:
            raise _error(self._lost)
        began_s = monotonic_s()
        try:
            is_held = read_small(self._storage, self._path) == self._data
        except FileNotFoundError:
            is_held = False
        if is_held:
            self._looked_s = began_s
            return
        self._lose()
        assert self._lost is not None, "it has just been lost"
        raise _error(self._lost)

    def check_unless_recent(self) -> None:
        """Do the same, unless it was done within the last second.

        For what does no harm so soon: it finds out that this process was stopped, or its
        machine asleep, while another driver began.

        Raises:
            TakenOverError, DurabilityError, OSError: As `check` does.
        """
        if self._lost is not None or monotonic_s() - self._looked_s > _RECENT_S:
            self.check()

    def _lose(self) -> None:
        newest = newest_driver(self.uri)
        told = (
            f"checkpoint directory '{self.uri}' isn't this driver's any more: its file "
            f"'{self._path}' was deleted or changed"
            if newest is None or newest.token == json.loads(self._data)["token"]
            else f"checkpoint directory '{self.uri}' was taken over by a newer driver: "
            f"{newest}"
        )
        with self._lock:
            is_first = self._lost is None
            self._lost = self._lost or told
            tell = self._on_lost
        if is_first and tell is not None:
            tell(_error(told))


def newest_driver(uri: str) -> DriverFacts | None:
    """Return the driver that took a checkpoint directory over last.

    None when nobody has, or when its file can't be read: only messages need to know.

    Raises:
        OSError: The directory can't be listed.
    """
    storage, directory = open_storage(uri)
    for number in sorted(_numbers(storage, directory), reverse=True):
        try:
            data = read_small(storage, f"{directory}/driver-{number}")
            return DriverFacts(**json.loads(data))
        except FileNotFoundError:
            continue  # A newer one has just taken over.
        except (ValueError, TypeError):
            return None
    return None


def _numbers(storage: Storage, directory: str) -> list[int]:
    if not storage.exists(directory):
        return []
    names = (_NAME.fullmatch(info.name) for info in storage.list(directory))
    return [int(name[1]) for name in names if name is not None]


def _write(storage: Storage, path: str, data: bytes) -> None:
    try:
        storage.write_new(path, data)
    except (UnsupportedOperationError, MissingDependencyError):
        # Of two that write at the same time the last one has it, and the other finds
        # that out as it would later: by what is in the file.
        storage.write_atomic(path, data)


def _error(told: str) -> TakenOverError:
    """Return a new error: raised on several threads, one would collect their traces."""
    return TakenOverError(
        told,
        hint="this driver writes nothing more, and its stream has stopped. Let only one "
        "run: don't start this one again while the other one does",
    )

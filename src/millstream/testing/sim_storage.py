"""SimStorage: a disk in memory that fails where a test wants it to.

The fault model. Every call that changes something has a number, from 1: opening a file to
create or append to it, write, flush, sync, close, rename, delete, delete_tree, make_dirs,
write_atomic, write_new, and both ends of open_atomic. Calls that only look have none.

A crash is a power failure in the middle of call `crash_at`. Whether that call had its
effect is up to the random: a write may have got any part of its bytes in, delete_tree may
have deleted some files, everything else happened or didn't. From then on every call raises
SimulatedCrashError; it is a BaseException, so that no handler of errors survives the crash.

What the disk holds after that is `after_crash()`:

- Synced bytes of a file are there. Of the bytes behind them, any number may be: the file
  is cut there. Flushing and closing sync nothing.
- A file written by write_atomic, write_new or open_atomic is there, whole. Without `sync` there may
  be what was there before instead, or nothing.
- Files and directories that were made, renamed or deleted stay so.

A failure is an error of call number `fail_at`, once: the call may have had its effect, as
above, and the disk goes on. Streams and atomic writes raise DurabilityError, other calls
OSError. Nothing here damages bytes that are on disk: for that, tests change files.
"""

import errno
import io
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import BinaryIO, Self, TypeVar

from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import AppendStream, FileInfo

T = TypeVar("T")


class SimulatedCrashError(BaseException):
    """The machine lost its power, as the test asked."""


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0
    modified: int = 0
    # An atomic write without sync: a crash may bring `before` back.
    is_sure: bool = True
    before: "_File | None" = None

    def survivor(self, random: Random) -> "_File | None":
        if not self.is_sure and random.random() < 0.5:
            return None if self.before is None else self.before.survivor(random)
        kept = random.randint(self.synced, len(self.data))
        return _File(self.data[:kept], kept, self.modified)


class SimStorage:
    """Storage in memory, with the faults of this module's fault model. Thread-safe."""

    def __init__(
        self,
        *,
        crash_at: int | None = None,
        fail_at: Collection[int] = (),
        random: Random | None = None,
        now_ms: Callable[[], int] | None = None,
        on_call: Callable[[str], None] | None = None,
        on_crash: Callable[[str], None] | None = None,
    ) -> None:
        """Begin empty; crash and fail at the calls with these numbers.

        Files carry the time of `now_ms`, or the number of the call. `on_call` is told the
        path before each call that changes something, `on_crash` of the crash.
        """
        self._calls = 0
        self._crash_at = crash_at
        self._fail_at = frozenset(fail_at)
        self._random = random or Random(0)
        self._now_ms = now_ms or (lambda: self._calls)
        self._on_call = on_call or (lambda _: None)
        self._on_crash = on_crash or (lambda _: None)
        self._lock = threading.RLock()
        self._files: dict[str, _File] = {}
        self._directories: set[str] = set()
        self._is_crashed = False
        self._crash_reason = f"the machine crashed at call {crash_at}"

    @property
    def calls(self) -> int:
        """How many calls there were that change something."""
        return self._calls

    @property
    def is_crashed(self) -> bool:
        """Whether the crash has happened."""
        return self._is_crashed

    def after_crash(
        self,
        *,
        crash_at: int | None = None,
        fail_at: Collection[int] = (),
        loses_power: bool = True,
    ) -> "SimStorage":
        """Return a disk with what survives now: a power failure, or only a kill.

        It has no faults but the new ones; its calls are counted from 1 again.
        """
        with self._lock:
            found = SimStorage(
                crash_at=crash_at,
                fail_at=fail_at,
                random=self._random,
                now_ms=self._now_ms,
                on_call=self._on_call,
                on_crash=self._on_crash,
            )
            for path, file in self._files.items():
                survivor = file.survivor(self._random) if loses_power else file
                if survivor is not None:
                    found._files[path] = survivor
            found._directories = set(self._directories)
            return found

    def put_file(self, path: str, data: bytes) -> None:
        """Let somebody else, on another machine, put a whole and safe file here."""
        with self._lock:
            self._put(path, _File(bytearray(data), len(data)))

    def crash(self, why: str) -> None:
        """Refuse every call from now on."""
        self._is_crashed = True
        self._crash_reason = why

    def _change(
        self,
        path: str,
        effect: Callable[[], T],
        *,
        partly: Callable[[], object] | None = None,
        error: Callable[[str, int], Exception] | None = None,
    ) -> T:
        """Do a call that changes something; `partly` is what is left of one that fails."""
        self._on_call(path)
        with self._lock:
            self._look()
            self._calls += 1
            if self._calls != self._crash_at and self._calls not in self._fail_at:
                return effect()
            if partly is not None:
                partly()
            elif self._random.random() < 0.5:
                with suppress(OSError):  # It would have failed without us.
                    effect()
            if self._calls == self._crash_at:
                self._is_crashed = True
                self._on_crash(self._crash_reason)
                self._look()
            raise (error or _os_error)(path, self._calls)

    def _look(self) -> None:
        if self._is_crashed:
            raise SimulatedCrashError(self._crash_reason)

    def _is_directory(self, path: str) -> bool:
        return path in self._directories or any(
            each.startswith(f"{path}/") for each in (*self._files, *self._directories)
        )

    def _put(self, path: str, file: _File) -> None:
        self._make_parents(path)
        file.modified = self._now_ms()
        self._files[path] = file

    def _make_parents(self, path: str) -> None:
        while "/" in path:
            path = path.rpartition("/")[0]
            self._directories.add(path)

    def uri(self, path: str) -> str:
        """Return `sim:` and the path."""
        return f"sim:{path}"

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading, as it is now."""
        with self._lock:
            self._look()
            if path not in self._files:
                raise _missing(path)
            return io.BytesIO(bytes(self._files[path].data))

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing; nothing can make it safe."""
        file = _File()
        self._change(path, lambda: self._put(path, file))
        return _Output(self, path, file)

    def append(self, path: str) -> "SimAppendStream":
        """Open a file at its end; that the file is there is safe."""

        def effect() -> _File:
            if path not in self._files:
                self._put(path, _File())
            return self._files[path]

        return SimAppendStream(self, path, self._change(path, effect))

    @contextmanager
    def open_atomic(self, path: str, *, sync: bool = True) -> Iterator[BinaryIO]:
        """Write apart; the end of the block puts the file in place."""
        self._change(path, lambda: None)
        scratch = _File()
        with _Output(self, path, scratch) as out:
            yield out
        self._put_atomic(path, scratch, sync=sync)

    def write_atomic(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """Write a whole file, in one call."""
        self._put_atomic(path, _File(bytearray(data)), sync=sync)

    def _put_atomic(self, path: str, file: _File, *, sync: bool) -> None:
        def effect() -> None:
            file.synced = len(file.data)
            file.is_sure = sync
            file.before = None if sync else self._files.get(path)
            self._put(path, file)

        self._change(path, effect, error=_durability_error)

    def write_new(self, path: str, data: bytes) -> None:
        """Write a whole file if there is none, in one call."""

        def effect() -> None:
            if path in self._files:
                raise FileExistsError(errno.EEXIST, "File exists", path)
            self._put(path, _File(bytearray(data), len(data)))

        self._change(path, effect, error=_durability_error)

    def sync(self, path: str) -> None:
        """Make what is in a file safe."""

        def effect() -> None:
            if path not in self._files:
                raise _missing(path)
            file = self._files[path]
            file.synced, file.is_sure = len(file.data), True

        self._change(path, effect, error=_durability_error)

    def rename(self, source: str, target: str) -> None:
        """Move a file or directory."""

        def effect() -> None:
            if source in self._files:
                self._make_parents(target)
                self._files[target] = self._files.pop(source)
                return
            if not self._is_directory(source):
                raise _missing(source)
            self._directories.add(target)
            self._make_parents(target)
            for path in self._below(source):
                self._files[target + path[len(source) :]] = self._files.pop(path)
            for path in [*self._directories]:
                if path == source or path.startswith(f"{source}/"):
                    self._directories.remove(path)
                    self._directories.add(target + path[len(source) :])

        self._change(source, effect)

    def _below(self, directory: str) -> list[str]:
        return [path for path in self._files if path.startswith(f"{directory}/")]

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        self._change(path, lambda: self._files.pop(path, None))

    def delete_tree(self, path: str) -> None:
        """Delete a directory and all in it, if it is there."""

        def effect() -> None:
            for each in (path, *self._below(path)):
                self._files.pop(each, None)
            self._directories = {
                each
                for each in self._directories
                if each != path and not each.startswith(f"{path}/")
            }

        def partly() -> None:
            for each in self._below(path):
                if self._random.random() < 0.5:
                    del self._files[each]

        self._change(path, effect, partly=partly)

    def make_dirs(self, path: str) -> None:
        """Make a directory and its parents."""
        self._change(path, lambda: self._make_parents(f"{path}/"))

    def exists(self, path: str) -> bool:
        """Say whether there is a file or directory."""
        with self._lock:
            self._look()
            return path in self._files or self._is_directory(path.rstrip("/"))

    def stat(self, path: str) -> FileInfo:
        """Return what is known of a path; the time is the number of the last change."""
        with self._lock:
            self._look()
            name = path.rpartition("/")[2]
            file = self._files.get(path)
            if file is not None:
                return FileInfo(path, name, len(file.data), file.modified, is_dir=False)
            if self._is_directory(path):
                return FileInfo(path, name, 0, 0, is_dir=True)
            raise _missing(path)

    def list(self, path: str) -> list[FileInfo]:
        """Return the entries of a directory, in order of names."""
        with self._lock:
            self._look()
            path = path.rstrip("/")
            if not self._is_directory(path):
                raise _missing(path)
            paths = (*self._files, *self._directories)
            below = (p[len(path) + 1 :] for p in paths if p.startswith(f"{path}/"))
            names = {each.partition("/")[0] for each in below}
            return [self.stat(f"{path}/{name}") for name in sorted(names)]


class SimAppendStream(AppendStream):
    """A file of a SimStorage that grows."""

    def __init__(self, storage: SimStorage, path: str, file: _File) -> None:
        """Append to `file`, also when it was renamed or deleted meanwhile."""
        self._storage = storage
        self._path = path
        self._data = file
        self._is_closed = False

    def write(self, data: bytes) -> None:
        """Append; not safe before `sync`."""
        assert not self._is_closed, "a closed stream isn't written to"
        _write(self._storage, self._path, self._data, data)

    def flush(self) -> None:
        """Do nothing that a crash would leave."""
        self._change(lambda: None)

    def sync(self) -> None:
        """Make everything written safe."""

        def effect() -> None:
            self._data.synced = len(self._data.data)

        self._change(effect)

    def close(self) -> None:
        """Close; this makes nothing safe. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._change(lambda: None)

    def _change(self, effect: Callable[[], None]) -> None:
        self._storage._change(self._path, effect, error=_durability_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class _Output(io.BytesIO):
    """A file for writing, as `BinaryIO`; its own buffer stays empty."""

    def __init__(self, storage: SimStorage, path: str, file: _File) -> None:
        super().__init__()
        self._storage = storage
        self._path = path
        self._data = file

    def write(self, data: object, /) -> int:
        raw = bytes(memoryview(data))  # type: ignore[arg-type]  # Whatever has a buffer.
        _write(self._storage, self._path, self._data, raw)
        return len(raw)

    def flush(self) -> None:
        self._storage._change(self._path, lambda: None, error=_durability_error)

    def tell(self) -> int:
        return len(self._data.data)


def _write(storage: SimStorage, path: str, file: _File, data: bytes) -> None:
    def effect() -> None:
        file.data += data
        file.modified = storage._now_ms()

    def partly() -> None:
        file.data += data[: storage._random.randint(0, len(data))]

    storage._change(path, effect, partly=partly, error=_durability_error)


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "No such file or directory", path)


def _os_error(path: str, call: int) -> OSError:
    return OSError(errno.EIO, f"simulated failure of call {call}", path)


def _durability_error(path: str, call: int) -> DurabilityError:
    return DurabilityError(f"can't write '{path}': simulated failure of call {call}")


def at_every_crash(
    scenario: Callable[[SimStorage], None], *, seed: int = 0
) -> Iterator[SimStorage]:
    """Run `scenario` once for each call it makes, crashing there; yield what survives.

    The last run meets no crash before its end, where the power fails. What the scenario
    knows at the crash, such as which writes returned, it keeps in a variable of its own.

    >>> def scenario(storage: SimStorage) -> None:
    ...     storage.write_atomic("a/b", b"x")
    >>> len(list(at_every_crash(scenario)))
    2
    """
    for number in count(1):
        storage = SimStorage(crash_at=number, random=Random(f"{seed} {number}"))
        with suppress(SimulatedCrashError):
            scenario(storage)
        yield storage.after_crash()
        if not storage.is_crashed:
            return


def at_every_failure(
    scenario: Callable[[SimStorage], None], *, seed: int = 0
) -> Iterator[SimStorage]:
    """Run `scenario` once for each call it makes, which fails; yield what survives it.

    The scenario may let the error out or go on. The power fails when it has ended. In the
    last run no call fails.
    """
    for number in count(1):
        storage = SimStorage(fail_at={number}, random=Random(f"{seed} {number}"))
        with suppress(DurabilityError, OSError):
            scenario(storage)
        yield storage.after_crash()
        if storage.calls < number:
            return

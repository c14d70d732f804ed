"""Machine: how many cores and how much memory this process may use, and who says so.

Beside the machine itself that is the scheduler, which may keep a process to some cores (its
affinity), and on Linux the process's cgroup, by which containers and services are limited.
Both versions of cgroups count, and of each the process's own group and all above it that
can be seen: the tightest limit holds.

Cores of a quota are counted as the JVM counts them for `availableProcessors`, and so for
Spark's `local[*]`: quota divided by period, rounded up (OpenJDK,
`CgroupUtil::processor_count`). Polars' own count rounds down, has no memory, and takes
longer to import than all of this takes.
"""

import logging
import os  # noqa: TID251  What the machine is like.
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

__all__ = ["Share", "cores", "memory", "share_of_cores", "share_of_memory"]

_log = logging.getLogger(__name__)
_ROOT = Path("/")
_UNLIMITED = ("max", "-1")
_VERSION_2 = ""
"""What /proc/self/cgroup has in place of a controller's name."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the machine's cores, or bytes of memory, this process may use."""

    amount: int
    machine: int
    """What the machine has."""
    cgroup_file: Path | None = None
    """The file with the limit that `amount` is; None where no cgroup makes it less."""

    @property
    def reason(self) -> str:
        """Why it is that many, in words."""
        if self.cgroup_file is not None:
            return f"its container's limit, says {self.cgroup_file}"
        return "all of the machine's" if self.amount == self.machine else "its affinity"


def cores() -> Share:
    """Return how many cores this process may use, at least one: what `local[*]` means."""
    machine = os.cpu_count() or 1
    allowed = machine
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    return share_of_cores(_ROOT, machine, allowed)


def memory() -> Share | None:
    """Return how many bytes of memory this process may use; None where nobody says."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return share_of_memory(_ROOT, machine)


def share_of_cores(root: Path, machine: int, allowed: int) -> Share:
    """Return the share of cores, of which the scheduler allows that many.

    /proc and /sys are below `root`. A file there that can't be read, or makes no sense,
    sets no limit; the log says so.
    """
    return _tightest(
        Share(allowed, machine), _limits(root, "cpu", _quota, _quota_version_1)
    )


def share_of_memory(root: Path, machine: int) -> Share:
    """Return the share of memory, in bytes; files are read as for `share_of_cores`."""
    return _tightest(
        Share(machine, machine), _limits(root, "memory", _bytes, _bytes_version_1)
    )


_Limit = tuple[Path, int]
_Reader = Callable[[Path], Iterator[_Limit]]
"""Yields the limits of a group that has the directory."""


def _tightest(share: Share, limits: Iterator[_Limit]) -> Share:
    for file, limit in limits:
        # A version 1 that has no limit has one of nearly 2**63, more than any machine.
        if limit < share.amount:
            share = replace(share, amount=limit, cgroup_file=file)
    return share


def _limits(
    root: Path, controller: str, version_2: _Reader, version_1: _Reader
) -> Iterator[_Limit]:
    for name, reader in ((_VERSION_2, version_2), (controller, version_1)):
        for directory in _groups(root, name):
            yield from reader(directory)


def _quota(directory: Path) -> Iterator[_Limit]:
    file = directory / "cpu.max"
    return _whole_cores(file, _words(file))


def _quota_version_1(directory: Path) -> Iterator[_Limit]:
    file = directory / "cpu.cfs_quota_us"
    quota = _words(file)
    return _whole_cores(file, [*quota, *_words(directory / "cpu.cfs_period_us")])


def _whole_cores(file: Path, words: list[str]) -> Iterator[_Limit]:
    """Yield a quota as whole cores; the words are the quota and the period."""
    match words:
        case [quota, period] if _is_amount(quota) and _is_amount(period):
            yield file, -(-int(quota) // int(period))
        case _:
            _tell_unless_unlimited(file, words)


def _bytes(directory: Path) -> Iterator[_Limit]:
    for name in ("memory.max", "memory.high"):
        yield from _whole_bytes(directory / name)


def _bytes_version_1(directory: Path) -> Iterator[_Limit]:
    return _whole_bytes(directory / "memory.limit_in_bytes")


def _whole_bytes(file: Path) -> Iterator[_Limit]:
    match _words(file):
        case [size] if _is_amount(size):
            yield file, int(size)
        case words:
            _tell_unless_unlimited(file, words)


def _is_amount(word: str) -> bool:
    return word.isdecimal() and int(word) > 0


def _tell_unless_unlimited(file: Path, words: list[str]) -> None:
    if words and words[0] not in _UNLIMITED:
        _log.warning("no limit that makes sense file=%s text=%s", file, " ".join(words))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's group and of those above it."""
    path = _path_of_group(root, controller)
    if path is None:
        return
    for group, mounted in _mounts(root, controller):
        top = root / mounted.lstrip("/")
        own = PurePosixPath(path)
        # Otherwise it is a group that can't be seen from here: the top is all there is.
        is_below = own.is_relative_to(group) and ".." not in own.parts
        directory = top / own.relative_to(group) if is_below else top
        while directory != top:
            yield directory
            directory = directory.parent
        yield top


def _path_of_group(root: Path, controller: str) -> str | None:
    for line in _lines(root / "proc/self/cgroup"):
        match line.split(":", 2):
            case [_, names, path] if controller in names.split(","):
                return path
            case _:
                pass
    return None


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, str]]:
    """Yield which group is mounted, and where, for each place that has the controller."""
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, system = line.partition(" - ")
        match place.split(), system.split():
            case [_, _, _, group, mounted, *_], ["cgroup2", *_]:
                if controller == _VERSION_2:
                    yield group, mounted
            case [_, _, _, group, mounted, *_], ["cgroup", *_, options]:
                if controller in options.split(","):
                    yield group, mounted
            case _:
                pass


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    """Return the lines of a file; none if it isn't there or can't be read."""
    try:
        return file.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []  # No cgroups, or none of this kind.
    except OSError as error:
        _log.warning("what limits this process can't be read: %s", error)
        return []

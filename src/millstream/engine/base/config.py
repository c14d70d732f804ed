"""Configuration: one catalogue of keys, and typed reading of their values.

Durations and sizes are written as Spark's: `200ms`, `5s`, `2min`; `64k`, `512m`, `1g`.
"""

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from millstream.engine.base.errors import IllegalArgumentError

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class Kind(Enum):
    """What a value is."""

    TEXT = "text"
    BOOLEAN = "true or false"
    INTEGER = "whole number"
    NUMBER = "number"
    DURATION_MS = "duration, ms if no unit is given"
    DURATION_S = "duration, seconds if no unit is given"
    SIZE_BYTES = "size, bytes if no unit is given"
    SIZE_MIB = "size, MiB if no unit is given"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `does_nothing` says why a key Spark has is without effect here."""

    key: str
    kind: Kind
    default: str | None
    effect: str
    at_least: float | None = None
    does_nothing: str | None = None


def _works(
    key: str,
    kind: Kind,
    default: str | None,
    effect: str,
    at_least: float | None = None,
) -> Setting:
    return Setting(key, kind, default, effect, at_least)


def _nothing(key: str, why: str, kind: Kind = Kind.TEXT) -> Setting:
    return Setting(key, kind, None, "accepted; no effect", None, why)


_T, _B, _I, _N = Kind.TEXT, Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER
_MS, _S, _BYTES, _MIB = (
    Kind.DURATION_MS,
    Kind.DURATION_S,
    Kind.SIZE_BYTES,
    Kind.SIZE_MIB,
)
_JVM = "there is no JVM to configure"
_LOCAL = "everything runs in one process; there are no executors to place"
_LATER = "arrives with a later part; see the README's list of what works today"

_SETTINGS = (
    _works(
        "spark.master",
        _T,
        None,
        "where tasks run: local, local[N], local[*], local[N,F]",
    ),
    _works("spark.app.name", _T, None, "the name of the application"),
    _works("spark.home", _T, None, "reported by SparkContext.sparkHome"),
    _works(
        "spark.default.parallelism",
        _I,
        None,
        "partitions when a program names none; else the cores of the master",
        1,
    ),
    _works(
        "spark.task.maxFailures",
        _I,
        "4",
        "tries of a task; a local master uses 1 unless it is local[N,F]",
        1,
    ),
    _works(
        "spark.local.dir",
        _T,
        None,
        "where blocks spill to; else the system's temporary directory",
    ),
    _works("spark.log.level", _T, None, "the level of Millstream's log"),
    _works(
        "spark.rdd.compress",
        _B,
        "false",
        "compress kept partitions: less memory, more CPU",
    ),
    _works(
        "spark.cleaner.ttl",
        _S,
        None,
        "forget kept partitions, shuffles and batch metadata older than this",
        1,
    ),
    _works(
        "spark.python.profile",
        _B,
        "false",
        "profile tasks; see SparkContext.show_profiles",
    ),
    _works(
        "spark.python.profile.dump",
        _T,
        None,
        "directory for profiles when the context stops",
    ),
    _works(
        "spark.submit.pyFiles",
        _T,
        None,
        "modules to add to the import path, comma-separated",
    ),
    _works(
        "spark.files",
        _T,
        None,
        "files to add, as SparkContext.addFile does, comma-separated",
    ),
    _works(
        "spark.executor.allowSparkContext",
        _B,
        "false",
        "allow a SparkContext inside a task",
    ),
    _works(
        "spark.hadoop.validateOutputSpecs",
        _B,
        "true",
        "refuse to save into an existing directory",
    ),
    _works(
        "spark.millstream.memory",
        _MIB,
        "1024",
        "memory for kept partitions, shuffles and received blocks, before they spill or are dropped",
        1,
    ),
    _works(
        "spark.millstream.gc",
        _T,
        "between-batches",
        "when the collector runs while a stream is active: between-batches, or automatic",
    ),
    _works(
        "spark.streaming.blockInterval",
        _MS,
        "200",
        "received records are cut into blocks, hence partitions, this long",
        1,
    ),
    _works(
        "spark.streaming.blockQueueSize",
        _I,
        "10",
        "finished blocks that wait to be stored",
        1,
    ),
    _works(
        "spark.streaming.receiver.maxRate",
        _I,
        None,
        "records a second and receiver; 0 or less: no limit",
    ),
    _works(
        "spark.streaming.receiver.blockStoreTimeout",
        _S,
        "30",
        "how long storing one block may take",
        1,
    ),
    _works(
        "spark.streaming.receiverRestartDelay",
        _MS,
        "2000",
        "pause before a receiver restarts",
        0,
    ),
    _works(
        "spark.streaming.unpersist",
        _B,
        "true",
        "drop generated RDDs and received blocks that are no longer needed",
    ),
    _works(
        "spark.streaming.concurrentJobs",
        _I,
        "1",
        "output operations that run at the same time, over batches too",
        1,
    ),
    _works(
        "spark.streaming.gracefulStopTimeout",
        _MS,
        None,
        "limit of a graceful stop; else ten batches",
        0,
    ),
    _works(
        "spark.streaming.stopGracefullyOnShutdown",
        _B,
        "false",
        "finish received data when the process is told to end",
    ),
    _works(
        "spark.streaming.stopSparkContextByDefault",
        _B,
        "true",
        "default of StreamingContext.stop()",
    ),
    _works(
        "spark.streaming.checkpoint.directory",
        _T,
        None,
        "calls StreamingContext.checkpoint() at construction",
    ),
    _works(
        "spark.streaming.minRememberDuration",
        _S,
        "60",
        "older name of spark.streaming.fileStream.minRememberDuration",
        0,
    ),
    _works(
        "spark.streaming.fileStream.minRememberDuration",
        _S,
        None,
        "how old a file may be to be taken, and how long names are remembered",
        0,
    ),
    _works(
        "spark.streaming.clock",
        _T,
        "SystemClock",
        "a class name that ends in ManualClock makes time virtual",
    ),
    _works(
        "spark.streaming.manualClock.jump",
        _MS,
        "0",
        "ms a manual clock jumps on recovery",
    ),
    _works(
        "spark.streaming.ui.retainedBatches",
        _I,
        "1000",
        "batches remembered for status",
        1,
    ),
    _works(
        "spark.streaming.extraListeners",
        _T,
        None,
        "classes to register as streaming listeners, comma-separated",
    ),
    _nothing("spark.streaming.receiver.writeAheadLog.enable", _LATER, _B),
    _nothing("spark.streaming.receiver.writeAheadLog.*", _LATER),
    _nothing("spark.streaming.driver.writeAheadLog.*", _LATER),
    _nothing("spark.streaming.backpressure.*", _LATER),
    _nothing("spark.streaming.kafka.*", _LATER),
    _nothing("spark.streaming.sessionByKey.deltaChainThreshold", _LATER, _I),
    _nothing("spark.streaming.dynamicAllocation.*", _LOCAL),
    _nothing("spark.dynamicAllocation.*", _LOCAL),
    _nothing("spark.executor.*", _LOCAL),
    _nothing("spark.executorEnv.*", _LOCAL),
    _nothing("spark.cores.max", _LOCAL),
    _nothing("spark.driver.*", _JVM),
    _nothing("spark.memory.*", "use spark.millstream.memory"),
    _nothing("spark.storage.*", "use spark.millstream.memory"),
    _nothing(
        "spark.shuffle.*",
        "shuffles stay in this process; spark.millstream.memory bounds them",
    ),
    _nothing("spark.reducer.*", "shuffles stay in this process"),
    _nothing("spark.broadcast.*", "broadcasts are handed over inside the process"),
    _nothing("spark.serializer*", "records are pickled with protocol 5"),
    _nothing("spark.kryo*", "records are pickled with protocol 5"),
    _nothing("spark.io.*", "files are compressed by their extension"),
    _nothing("spark.checkpoint.compress", "RDD checkpoints are not compressed", _B),
    _nothing("spark.cleaner.*", "what nothing refers to goes at once"),
    _nothing("spark.locality.*", _LOCAL),
    _nothing("spark.speculation*", "not with a local master, as in Spark"),
    _nothing("spark.scheduler.*", "jobs share the slots first come, first served"),
    _nothing("spark.task.cpus", "a task takes one slot", _I),
    _nothing("spark.task.resource.*", _LOCAL),
    _nothing("spark.network.*", "there is no network between driver and tasks"),
    _nothing("spark.rpc.*", "there is no network between driver and tasks"),
    _nothing("spark.port.*", "no ports are opened"),
    _nothing("spark.blockManager.*", "no ports are opened"),
    _nothing("spark.python.worker.*", "tasks run in this process"),
    _nothing("spark.python.authenticate.*", "tasks run in this process"),
    _nothing("spark.pyspark.*", "tasks run in this process's Python"),
    _nothing("spark.jars*", _JVM),
    _nothing("spark.jvm*", _JVM),
    _nothing("spark.archives", "use SparkContext.addArchive"),
    _nothing(
        "spark.hadoop.*",
        "files are read by Python libraries, which have settings of their own",
    ),
    _nothing("spark.sql.*", _LATER),
    _nothing("spark.ui.*", _LATER),
    _nothing("spark.eventLog.*", _LATER),
    _nothing("spark.history.*", _LATER),
    _nothing("spark.metrics.*", _LATER),
    _nothing("spark.extraListeners", _JVM),
    _nothing("spark.eventqueue.*", _JVM),
    _nothing("spark.yarn.*", _LOCAL),
    _nothing("spark.kubernetes.*", _LOCAL),
    _nothing("spark.mesos.*", _LOCAL),
    _nothing("spark.deploy.*", _LOCAL),
    _nothing("spark.submit.*", "programs are started with `millstream run`"),
    _nothing("spark.authenticate*", "there is no network between driver and tasks"),
    _nothing("spark.ssl.*", "there is no network between driver and tasks"),
    _nothing("spark.security.*", "there is no network between driver and tasks"),
    _nothing("spark.acls.*", _LATER),
    _nothing("spark.modify.*", _LATER),
    _works("spark.app.id", _T, None, "the name of this run; made by the context"),
    _nothing("spark.app.*", "set by the context itself"),
    _nothing("spark.excludeOnFailure.*", _LOCAL),
    _nothing("spark.blacklist.*", _LOCAL),
    _nothing("spark.stage.*", "a stage is tried four times"),
    _nothing("spark.files.*", "files are read with buffers of 1 MiB"),
    _nothing("spark.logConf", "ask SparkConf.toDebugString()", _B),
    _nothing("spark.log.*", "use Python's logging"),
    _nothing("spark.redaction.*", _LATER),
    _nothing("spark.worker.*", _LOCAL),
    _nothing("spark.barrier.*", "a barrier waits as long as its tasks run"),
    _nothing("spark.job.*", "set by the context itself"),
    _nothing("spark.connect.*", _LATER),
    _nothing("spark.remote", _LATER),
    _nothing("spark.resources.*", _LOCAL),
    _nothing("spark.decommission.*", _LOCAL),
    _nothing("spark.api.*", _JVM),
)

CATALOGUE: Final[Mapping[str, Setting]] = {each.key: each for each in _SETTINGS}
_PREFIXES = tuple(key[:-1] for key in CATALOGUE if key.endswith("*"))

_DURATION_MS = {
    "us": 0.001,
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}
_SIZE_BYTES = {
    unit + tail: 1 << 10 * power
    for power, unit in enumerate(["", "k", "m", "g", "t", "p"])
    for tail in ("", "b")
    if unit + tail
}


def parse_duration_ms(text: str, default_unit: str = "ms") -> int:
    """Return a duration in ms: '5s', '200ms', '2min'; a bare number has `default_unit`.

    >>> parse_duration_ms("2min"), parse_duration_ms("3", "s")
    (120000, 3000)

    Raises:
        ValueError: It is no duration.
    """
    return int(_amount(text, default_unit, _DURATION_MS))


def parse_size_bytes(text: str, default_unit: str = "b") -> int:
    """Return a size in bytes: '64k', '512m', '1g'; a bare number has `default_unit`.

    >>> parse_size_bytes("2k"), parse_size_bytes("1", "m")
    (2048, 1048576)

    Raises:
        ValueError: It is no size.
    """
    return int(_amount(text, default_unit, _SIZE_BYTES))


def _amount(text: str, default_unit: str, units: Mapping[str, float]) -> float:
    found = re.fullmatch(r"(-?[0-9]+)([a-z]*)", text.strip().lower())
    if found is None or (found[2] and found[2] not in units):
        msg = f"'{text}' needs a whole number and one of the units {', '.join(units)}"
        raise ValueError(msg)
    return int(found[1]) * units[found[2] or default_unit]


class Settings:
    """The values of one context, read by their catalogue type. Immutable."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Read `values`; keys that aren't set have the catalogue's default."""
        self._values = dict(values)

    def is_set(self, key: str) -> bool:
        """Say whether the program set `key`."""
        return key in self._values

    def find_str(self, key: str) -> str | None:
        """Return the text of `key`, its default, or None."""
        return self._values.get(key, CATALOGUE[key].default)

    def get_str(self, key: str) -> str:
        """Return the text of `key`, which has a default."""
        return _known(self.find_str(key), key)

    def find_bool(self, key: str) -> bool | None:
        """Return true or false, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        if text.strip().lower() not in ("true", "false"):
            raise _bad(key, text)
        return text.strip().lower() == "true"

    def get_bool(self, key: str) -> bool:
        """Return true or false."""
        return _known(self.find_bool(key), key)

    def find_int(self, key: str) -> int | None:
        """Return a whole number, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        try:
            return int(_checked(key, text, int(text)))
        except ValueError:
            raise _bad(key, text) from None

    def get_int(self, key: str) -> int:
        """Return a whole number."""
        return _known(self.find_int(key), key)

    def find_float(self, key: str) -> float | None:
        """Return a number, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        try:
            return _checked(key, text, float(text))
        except ValueError:
            raise _bad(key, text) from None

    def get_float(self, key: str) -> float:
        """Return a number."""
        return _known(self.find_float(key), key)

    def find_ms(self, key: str) -> int | None:
        """Return a duration in ms, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        unit = "s" if CATALOGUE[key].kind is Kind.DURATION_S else "ms"
        try:
            return int(_checked(key, text, parse_duration_ms(text, unit)))
        except ValueError:
            raise _bad(key, text) from None

    def get_ms(self, key: str) -> int:
        """Return a duration in ms."""
        return _known(self.find_ms(key), key)

    def find_bytes(self, key: str) -> int | None:
        """Return a size in bytes, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        unit = "m" if CATALOGUE[key].kind is Kind.SIZE_MIB else "b"
        try:
            return int(_checked(key, text, parse_size_bytes(text, unit)))
        except ValueError:
            raise _bad(key, text) from None

    def get_bytes(self, key: str) -> int:
        """Return a size in bytes."""
        return _known(self.find_bytes(key), key)

    def check(self) -> None:
        """Read every known key once, so that a bad value is told at the start.

        Raises:
            IllegalArgumentError: A value can't be read; names key, value and type.
        """
        readers = {
            Kind.BOOLEAN: self.find_bool,
            Kind.INTEGER: self.find_int,
            Kind.NUMBER: self.find_float,
            Kind.DURATION_MS: self.find_ms,
            Kind.DURATION_S: self.find_ms,
            Kind.SIZE_BYTES: self.find_bytes,
            Kind.SIZE_MIB: self.find_bytes,
        }
        for key in self._values:
            setting = CATALOGUE.get(key)
            if setting is not None and setting.kind in readers:
                readers[setting.kind](key)


def _known(value: _Value | None, key: str) -> _Value:
    assert value is not None, f"{key} has no default"
    return value


def _checked(key: str, text: str, value: float) -> float:
    least = CATALOGUE[key].at_least
    if least is not None and value < least:
        raise _bad(key, text)
    return value


def _bad(key: str, text: str) -> IllegalArgumentError:
    setting = CATALOGUE[key]
    least = "" if setting.at_least is None else f", at least {setting.at_least:g}"
    return IllegalArgumentError(
        f"{key} should be a {setting.kind.value}{least}, but was '{text}'",
        hint=f"{key}: {setting.effect}",
    )


def remarks(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return (key, remark) for keys that have no effect or that nobody knows. Pure."""
    found = []
    for key in sorted(keys):
        setting = CATALOGUE.get(key) or _by_prefix(key)
        if setting is None:
            if key.startswith("spark."):
                found.append((key, f"unknown configuration key '{key}'{_nearest(key)}"))
        elif setting.does_nothing is not None:
            found.append((key, f"'{key}' does nothing here: {setting.does_nothing}"))
    return found


def _by_prefix(key: str) -> Setting | None:
    matching = [prefix for prefix in _PREFIXES if key.startswith(prefix)]
    return CATALOGUE[max(matching, key=len) + "*"] if matching else None


def _nearest(key: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  Only for a warning.

    names = [name for name in CATALOGUE if not name.endswith("*")]
    close = get_close_matches(key, names, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


_told: set[str] = set()
_lock = threading.Lock()


def tell_remarks(keys: Iterable[str]) -> None:
    """Log each remark once in the life of this process."""
    for key, remark in remarks(keys):
        with _lock:
            if key in _told:
                continue
            _told.add(key)
        _log.warning("%s", remark)

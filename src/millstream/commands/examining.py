"""Examining: what of this machine matters to programs, each with a verdict."""

import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from millstream.commands.kernel_clock import UnknownClockError, ask_kernel
from millstream.engine.base import machine
from millstream.engine.base.clock import SystemClock, monotonic_s
from millstream.engine.base.errors import MillstreamError
from millstream.engine.base.storage import LocalStorage, open_storage
from millstream.version import __version__

Verdict = Literal["good", "told", "doubtful", "bad"]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "actor": ("pykka",),
    "delta": ("deltalake", "pyarrow"),
    "duckdb": ("duckdb", "pyarrow"),
    "files": ("fsspec", "pyarrow", "zstandard", "lz4"),
    "flume": ("fastavro",),
    "iceberg": ("pyiceberg", "pyarrow"),
    "kafka": ("confluent-kafka",),
    "kinesis": ("boto3", "aws-kinesis-agg"),
    "mqtt": ("paho-mqtt",),
    "nats": ("nats-py",),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "postgres": ("psycopg",),
    "profile": ("py-spy",),
    "ray": ("ray", "pyarrow"),
    "redis": ("redis",),
    "s3": ("boto3", "fsspec", "pyarrow"),
    "sql": ("pysail", "pyspark-client", "pandas", "psutil", "pyarrow", "sqlglot"),
    "terminal": ("rich",),
    "twitter": ("tweepy",),
    "web": ("httpx", "httpx-sse", "websockets"),
}
"""The libraries that an extra brings."""

_NEEDED = (
    "click",
    "cloudpickle",
    "jinja2",
    "polars",
    "prometheus-client",
    "starlette",
    "uvicorn",
)
_OLDEST = (3, 11)
_FREE_BYTES_MIN = 1_000_000_000
_SHARED_BYTES_MIN = 64_000_000
_OPEN_FILES_MIN = 1024
_YEAR_2025_MS = 1_735_689_600_000
_STEP_MS_MAX = 50
_SKEW_MS_MAX = 2_000
_ERROR_MS_MAX = 100
_UI_PORTS = 16
_JAVA_S = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    text: str
    hint: str = ""


def examine(
    extras: Collection[str] = (),
    local_dir: str | None = None,
    ui_port: int = 4040,
    checkpoint: str | None = None,
) -> list[Finding]:
    """Return what this machine is like; the `extras` must be there.

    In the directory `checkpoint`, which may be in a bucket, a file is written and deleted.
    """
    spill = Path(local_dir or tempfile.gettempdir())
    return [
        *_python(),
        *_libraries(extras),
        *_ports(ui_port),
        *_clock(),
        *_disk(spill),
        *([] if checkpoint is None else _store(checkpoint)),
        *_machine(),
        *_others(),
    ]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    is_new = sys.version_info[:2] >= _OLDEST
    yield Finding(
        "Python",
        "good" if is_new else "bad",
        f"{version} ({platform.python_implementation()}), {sys.executable}",
        "" if is_new else "Python 3.11 or newer is needed",
    )
    yield Finding(
        "Millstream",
        "good",
        f"{_version('millstream') or 'not installed as a package'}",
    )
    yield Finding("API", "told", f"that of Spark {__version__}")
    yield Finding("platform", "told", platform.platform())


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _libraries(wanted: Collection[str]) -> Iterator[Finding]:
    for each in _NEEDED:
        version = _version(each)
        yield Finding(
            each,
            "bad" if version is None else "good",
            version or "isn't installed",
            "pip install millstream" if version is None else "",
        )
    for name in sorted({*EXTRAS, *wanted}):
        yield _extra(name, is_wanted=name in wanted)


def _extra(name: str, *, is_wanted: bool) -> Finding:
    about = f"extra {name}"
    if name not in EXTRAS:
        return Finding(
            about, "bad", "there is no such extra", f"of: {', '.join(EXTRAS)}"
        )
    versions = {each: _version(each) for each in EXTRAS[name]}
    there = ", ".join(f"{each} {v}" for each, v in versions.items() if v is not None)
    missing = [each for each, version in versions.items() if version is None]
    if not missing:
        return Finding(about, "good", there)
    text = f"not installed: {', '.join(missing)}"
    hint = f"pip install 'millstream[{name}]'"
    return Finding(
        about, "bad" if is_wanted else "told", text, hint if is_wanted else ""
    )


def _ports(ui_port: int) -> Iterator[Finding]:
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=5),
        ):
            pass
    except OSError as error:
        yield Finding(
            "loopback",
            "bad",
            f"a connection to 127.0.0.1 fails: {error}",
            "the page and worker processes need it: look at firewalls and sandboxes",
        )
    else:
        yield Finding("loopback", "good", "connections to 127.0.0.1 work")
    free = next((p for p in range(ui_port, ui_port + _UI_PORTS) if _is_free(p)), None)
    if free is None:
        text = f"none of {ui_port} to {ui_port + _UI_PORTS - 1} is free"
        yield Finding("port of the page", "doubtful", text, "set spark.ui.port")
    else:
        busy = "" if free == ui_port else f"; {ui_port} is taken"
        yield Finding("port of the page", "good", f"{free} is free{busy}")


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def _clock() -> Iterator[Finding]:
    clock = SystemClock()
    wall_ms, begin_s = clock.now_ms(), monotonic_s()
    if wall_ms < _YEAR_2025_MS:
        yield Finding(
            "clock",
            "bad",
            f"says {wall_ms} ms since 1970, years ago",
            "batch times, and which files are new, go by it: set it",
        )
        return
    # Long enough that a clock which is being set shows; short enough not to be waited for.
    while (passed_s := monotonic_s() - begin_s) < 0.1:
        pass
    apart_ms = (clock.now_ms() - wall_ms) - passed_s * 1000
    is_steady = abs(apart_ms) <= _STEP_MS_MAX
    yield Finding(
        "clock",
        "good" if is_steady else "doubtful",
        "goes as fast as time does" if is_steady else f"jumped by {apart_ms:.0f} ms",
        "" if is_steady else "is it being set? Batches are timed by it",
    )
    yield _time_server()


def _time_server() -> Finding:
    """Return whether somebody keeps the clock right, as far as the kernel knows."""
    about = "set by a server"
    try:
        told = ask_kernel()
    except UnknownClockError as error:
        return Finding(about, "told", f"unknown: {error}")
    error_ms = f"about {told.error_ms:.3g} ms off, {told.error_ms_max:.3g} ms at most"
    if not told.is_synchronised:
        return Finding(
            about,
            "doubtful",
            "the clock isn't synchronised, says the kernel",
            "let chrony, systemd-timesyncd or ntpd run, in a container on its host; "
            "records' times of other machines don't fit otherwise",
        )
    is_near = told.error_ms <= _ERROR_MS_MAX
    return Finding(
        about,
        "good" if is_near else "doubtful",
        f"synchronised, {error_ms}, says the kernel",
        "" if is_near else "look at what sets it: chronyc tracking, timedatectl",
    )


def _disk(spill: Path) -> Iterator[Finding]:
    about = "spill directory"
    try:
        with tempfile.NamedTemporaryFile(dir=spill) as file:
            file.write(b"x")
            file.flush()
            written_ms = int(Path(file.name).stat().st_mtime * 1000)
            now_ms = SystemClock().now_ms()
        free = shutil.disk_usage(spill).free
    except OSError as error:
        hint = "choose another with spark.local.dir"
        yield Finding(about, "bad", f"{spill} can't be written: {error}", hint)
        return
    is_roomy = free >= _FREE_BYTES_MIN
    yield Finding(
        about,
        "good" if is_roomy else "doubtful",
        f"{spill}, {_size(free)} free",
        "" if is_roomy else "what has no room in memory goes there: spark.local.dir",
    )
    if abs(now_ms - written_ms) > _SKEW_MS_MAX:
        yield Finding(
            "clock of the disk",
            "doubtful",
            f"{written_ms - now_ms} ms off the machine's",
            "a stream of files on it takes new ones for old, or old ones for new",
        )
    yield from _shared_memory()


def _store(directory: str) -> Iterator[Finding]:
    """Yield whether a checkpoint directory can be written, and how its clock goes."""
    about, clock = "checkpoints", SystemClock()
    try:
        storage, path = open_storage(directory)
        if isinstance(storage, LocalStorage) and not storage.exists(path):
            text = f"{directory} isn't there yet, and wasn't tried"
            yield Finding(about, "told", text, "make it, and look again")
            return
        file = f"{path.rstrip('/')}/.millstream-doctor-{secrets.token_hex(8)}"
        begin_ms = clock.now_ms()
        storage.write_atomic(file, b"x")
        end_ms = clock.now_ms()
        try:
            written_ms = storage.stat(file).modified_ms
        finally:
            storage.delete(file)
    except (MillstreamError, OSError) as error:
        hint = "see ssc.checkpoint and its rights; nothing can be restored without it"
        yield Finding(about, "bad", f"{directory} can't be used: {error}", hint)
        return
    yield Finding(
        about, "good", f"{directory}, a file is written in {end_ms - begin_ms} ms"
    )
    yield _store_clock(begin_ms, written_ms, end_ms)


def _store_clock(begin_ms: int, written_ms: int, end_ms: int) -> Finding:
    """Return how a store's clock goes that says when a file was written."""
    # Stores tell whole seconds: it may have been at the end of that one.
    latest_ms = written_ms + 999 if written_ms % 1000 == 0 else written_ms
    apart_ms = max(written_ms - end_ms, 0) or min(latest_ms - begin_ms, 0)
    is_near = abs(apart_ms) <= _SKEW_MS_MAX
    return Finding(
        "clock of the store",
        "good" if is_near else "doubtful",
        "goes with the machine's, to a second or two"
        if is_near
        else f"{apart_ms} ms off the machine's",
        ""
        if is_near
        else "one of them is wrong; times of its files don't fit times of batches",
    )


def _shared_memory(directory: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108
    if not directory.is_dir():
        text = f"there is no {directory}: worker processes exchange data by files"
        yield Finding("shared memory", "told", text)
        return
    free = shutil.disk_usage(directory).free
    is_roomy = free >= _SHARED_BYTES_MIN
    yield Finding(
        "shared memory",
        "good" if is_roomy else "doubtful",
        f"{directory}, {_size(free)} free",
        "" if is_roomy else "in a container: --shm-size=256m",
    )


def _machine() -> Iterator[Finding]:
    yield _cores(machine.cores())
    memory = machine.memory()
    if memory is not None:
        yield _memory(memory)
    limit = _open_files()
    if limit is not None:
        is_roomy = limit >= _OPEN_FILES_MIN
        yield Finding(
            "open files",
            "good" if is_roomy else "doubtful",
            f"{limit} at most",
            "" if is_roomy else "shuffles and state open many: ulimit -n 4096",
        )


def _cores(share: machine.Share) -> Finding:
    count = f"{share.amount} for this process, what local[*] means"
    return Finding("cores", "told", f"{count}: {_reason(share, str(share.machine))}")


def _memory(share: machine.Share) -> Finding:
    reason = _reason(share, _size(share.machine))
    return Finding("memory", "told", f"{_size(share.amount)}: {reason}")


def _reason(share: machine.Share, machine_has: str) -> str:
    if share.amount == share.machine:
        return share.reason
    return f"{share.reason}; the machine has {machine_has}"


def _open_files() -> int | None:
    try:
        import resource  # noqa: PLC0415  Where there is none.
    except ImportError:
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _others() -> Iterator[Finding]:
    ray = _version("ray")
    yield Finding("Ray", "told", ray or "isn't installed; only --master ray needs it")
    java = shutil.which("java")
    text = "there is none, and none is needed" if java is None else _java(java)
    yield Finding("Java", "told", text)
    pyspark = _version("pyspark")
    if pyspark is not None:
        text = f"{pyspark} is installed; `millstream run` answers for it"
        yield Finding("PySpark", "told", text)


def _java(program: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  What is on the path.
            [program, "-version"],
            capture_output=True,
            text=True,
            timeout=_JAVA_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} doesn't run: {error}; none is needed"
    first = (done.stderr or done.stdout).strip().split("\n", 1)[0]
    return f"{first}; not needed"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"

"""Fixtures for all tests: settings of Hypothesis, and a look-out for what is left behind."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from millstream.context import SparkContext
from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings
from millstream.engine.columnar.execution import ROWS_MIN, Columnar, Mode
from millstream.engine.jobs import driver
from millstream.engine.jobs.placement import Processes
from millstream.sql import SparkSession
from millstream.streaming import StreamingContext

_SOURCE = str(Path(__file__).parent.parent / "src")
_JOIN_S = 2.0

# Child processes that tests start find the package as the tests do.
_paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if _SOURCE not in _paths:
    os.environ["PYTHONPATH"] = os.pathsep.join([_SOURCE, *filter(None, _paths)])


def _forced(mode: Mode, given: Mode, rows_min: int) -> Columnar:
    """Return what a context takes when the environment chooses: unless a test chose."""
    is_chosen = given is not Mode.ON or rows_min != ROWS_MIN
    return Columnar(given, rows_min) if is_chosen else Columnar(mode, 0)


def _chosen(mode: Processes, settings: Settings, clock: Clock | None) -> Processes:
    """Return where stages run when the environment chooses: unless a test chose."""
    if settings.get_bool("spark.python.profile"):
        return Processes.OFF
    given = settings.get_str("spark.millstream.processes")
    if clock is not None or given != "auto":
        return Processes(given) if clock is None else Processes.OFF
    return mode


_RELAXED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "dev", max_examples=50, deadline=None, suppress_health_check=_RELAXED
)
settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=_RELAXED,
)
settings.register_profile(
    "deep", max_examples=2000, deadline=None, suppress_health_check=_RELAXED
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# MILLSTREAM_COLUMNAR=verify runs every test with both paths compared, on any data size.
_mode = os.environ.get("MILLSTREAM_COLUMNAR")
if _mode is not None:
    vars(driver)["Columnar"] = partial(_forced, Mode(_mode))

# MILLSTREAM_PROCESSES=always runs in worker processes whatever can run there.
_processes = os.environ.get("MILLSTREAM_PROCESSES")
if _processes is not None:
    vars(driver)["_processes_mode"] = partial(_chosen, Processes(_processes))


@pytest.fixture(autouse=True)
def _no_strays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or an active context behind."""
    if "spark" in request.fixturenames:  # It outlives the test, and looks out itself.
        yield
        return
    with _look_out():
        yield


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Handle SIGTERM and Ctrl-C as a program does that was started by hand.

    A shell's background jobs ignore Ctrl-C, and Ray leaves a handler of its own.
    """
    usual: dict[int, Any] = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    before = {number: signal.signal(number, how) for number, how in usual.items()}
    yield
    for number, how in before.items():
        signal.signal(number, how)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """Return a session for queries, which all tests of a module share."""
    with _look_out():
        session = SparkSession.builder.master("local[2]").getOrCreate()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        with session:
            yield session


@contextmanager
def _look_out() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    active = StreamingContext.getActive()
    live = SparkContext._active_spark_context
    if active is not None:
        active.stop()
    if live is not None:
        live.stop()
    left = [
        thread
        for thread in threading.enumerate()
        # Worker processes outlive a context, for the next one.
        if thread not in before and not thread.name.startswith("millstream-worker-")
    ]
    for thread in left:
        thread.join(_JOIN_S)

    assert active is None, "the test leaves an active StreamingContext behind"
    assert live is None, "the test leaves a live SparkContext behind"
    assert not any(thread.is_alive() for thread in left), f"threads left: {left}"


@pytest.fixture
def threads() -> None:
    """Skip a test that tells of threads where the environment sends all to processes."""
    if _processes == "always":
        pytest.skip("it tells of tasks in this process")


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    """Return a SparkContext with two slots."""
    with SparkContext("local[2]", "test") as context:
        yield context


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """Return a directory for checkpoints."""
    return str(tmp_path / "checkpoint")

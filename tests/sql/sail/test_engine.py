"""Tests of sql/sail/engine.py: the engine's process begins and ends with what needs it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.sql.gates import WAIT_S, Gate, running, until

from millstream.context import SparkContext
from millstream.engine.base.errors import (
    IllegalStateError,
    OutputOperationError,
    SparkError,
)
from millstream.errors import QueryExecutionException
from millstream.sql import SparkSession, functions
from millstream.sql.sail import engine
from millstream.sql.sail.engine import Engine
from millstream.testing import StreamHarness

F: Any = functions


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Return a gate, which is open at the end."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()


@pytest.mark.slow
def test_in_a_stream_only_the_batch_fails_whose_process_ended() -> None:
    """The next one has another."""
    outcomes: list[Any] = []

    def output(rdd: Any) -> None:
        session = SparkSession.builder.getOrCreate()
        frame = session.createDataFrame(rdd, "n int")
        frame.createOrReplaceTempView("numbers")
        if rdd.first()[0] == 2:

            def end(value: int) -> int:
                import os

                os._exit(value)

            frame.select(F.udf(end, "int", useArrow=False)("n")).collect()
        outcomes.append(session.sql("select sum(n) from numbers").first()[0])

    with StreamHarness() as harness:
        stream = harness.stream([[(1,)], [(2,)], [(3,)]])
        stream.foreachRDD(output)
        harness.run()
        with pytest.raises(
            OutputOperationError, match=r"process ended \(exit code 2\)"
        ):
            harness.run()
        harness.run()
        session = SparkSession.builder.getOrCreate()
        assert session.table("numbers").collect() == [(3,)]
        session.stop()

    assert outcomes == [1, 3]


@pytest.mark.slow
def test_a_query_that_takes_too_long_is_cancelled(gate: Gate) -> None:
    """By a setting, which its error names."""
    conf = {"spark.millstream.sql.timeout": "2s"}
    builder = SparkSession.builder.master("local[2]").config(map=conf)
    with builder.getOrCreate() as session:
        query = session.range(1).select(gate.stay("id"))
        with pytest.raises(
            QueryExecutionException, match="cancelled after 2 s"
        ) as told:
            query.collect()
        assert "spark.millstream.sql.timeout" in told.value.__notes__[0]
        assert session.sql("select 1").first() == (1,)


@pytest.mark.slow
def test_a_session_that_stops_ends_its_queries(gate: Gate) -> None:
    """At once, with their process; later ones say that it was stopped."""
    session = SparkSession.builder.master("local[2]").getOrCreate()
    old = session._backend.pid
    frame = session.range(1)
    with running(session, gate, 1) as (query,):
        begun = time.monotonic()
        session.stop()
        error = query.exception(WAIT_S)
        assert time.monotonic() - begun < 5

    assert "end of the SparkSession" in str(error)
    assert not psutil.pid_exists(old)
    with pytest.raises(IllegalStateError, match="was stopped"):
        frame.collect()


@pytest.mark.slow
def test_a_context_that_stops_ends_the_engine_first() -> None:
    """The order doesn't matter to a program."""
    with SparkContext("local") as sc:
        session = SparkSession(sc)
        old = session._backend.pid
    assert not psutil.pid_exists(old)
    session.stop()
    assert not [each for each in threading.enumerate() if "sql" in each.name]


PROGRAM = """
import os, sys, psutil
from millstream.sql import SparkSession
from millstream.sql.sail import engine
session = SparkSession.builder.master("local").getOrCreate()
session.range(1).collect()
print(session._backend.pid, flush=True)
{end}
"""


def _run(end: str) -> tuple[int, "subprocess.Popen[str]"]:
    """Return the engine's process of a program that ends so, and the program's."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None, "a pipe"
    return int(program.stdout.readline()), program


@pytest.mark.slow
def test_a_program_that_ends_without_a_stop_leaves_no_process() -> None:
    """And ends at once, silently."""
    engine, program = _run("")
    _, errors = program.communicate(timeout=WAIT_S)

    until(lambda: not psutil.pid_exists(engine))
    assert (program.returncode, errors) == (0, "")


@pytest.mark.slow
def test_a_program_that_is_killed_leaves_no_process() -> None:
    """The engine hears the end of its standard input."""
    engine, program = _run("import time; time.sleep(60)")
    os.kill(program.pid, signal.SIGKILL)
    program.communicate(timeout=WAIT_S)

    until(lambda: not psutil.pid_exists(engine))


@pytest.mark.slow
def test_what_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of the process, whichever way it went; nothing of it is left."""
    before = psutil.Process().children()
    start = "import sys; print('one way'); print('or another', file=sys.stderr)"
    monkeypatch.setattr("millstream.sql.sail.engine._START", start)
    with pytest.raises(SparkError, match="didn't start: ") as told:
        Engine()
    assert {"one way", "or another"} <= set(
        str(told.value).partition(": ")[2].split("\n")
    )
    assert set(psutil.Process().children()) <= set(before)


@pytest.mark.slow
def test_an_engine_that_is_not_installed_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client alone doesn't answer."""
    start = "import sys; sys.modules['pysail'] = None; " + engine._START
    monkeypatch.setattr(engine, "_START", start)
    with pytest.raises(SparkError, match="'pysail'") as told:
        Engine()
    assert told.value.__notes__ == ["hint: pip install 'millstream[sql]'"]


@pytest.mark.slow
def test_what_is_printed_before_it_is_ready_is_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Modules print when they are imported."""
    monkeypatch.setattr(engine, "_START", "print('hello');" + engine._START)
    started = Engine()
    assert started.address.startswith("sc://127.0.0.1:")
    assert started.end_of() is None
    assert started.memory_bytes > 0
    started.stop()
    assert started.end_of() == "exit code 0"
    assert started.memory_bytes == 0

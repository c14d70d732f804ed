"""Tests of sql/sail/operations.py: queries are cancelled, one by one or many."""

import _thread
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sql.gates import WAIT_S, Gate, running

from millstream.errors import QueryExecutionException
from millstream.sql import SparkSession


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Return a gate, which is open at the end."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cancel", "how"),
    [
        (lambda session: session.interruptAll(), "interruptAll"),
        (lambda session: session.interruptTag("t"), r"interruptTag\('t'\)"),
        (
            lambda session: session.interruptOperation(
                next(iter(session._backend._now.operations._running))
            ),
            "interruptOperation",
        ),
        (
            lambda session: session.sparkContext.cancelJobGroup("group of t"),
            r"cancelJobGroup\('group of t'\)",
        ),
        (lambda session: session.sparkContext.cancelAllJobs(), "cancelAllJobs"),
    ],
    ids=["all", "tag", "operation", "group", "jobs"],
)
def test_a_query_is_cancelled(
    spark: SparkSession, gate: Gate, cancel: Callable[[Any], Any], how: str
) -> None:
    """It ends at once, says by what, and the next one doesn't wait for it."""
    with running(spark, gate, 1, "t") as (query,):
        cancel(spark)
        error = query.exception(WAIT_S)
        assert spark.sql("select 1").first() == (1,)

    assert isinstance(error, QueryExecutionException)
    with pytest.raises(QueryExecutionException, match=f"was cancelled by {how}"):
        raise error
    assert error.getCondition() == "OPERATION_CANCELED"


@pytest.mark.slow
def test_what_does_not_fit_is_not_cancelled(spark: SparkSession, gate: Gate) -> None:
    """By tag, group, or id; a query that runs on an old process can be, too."""
    with running(spark, gate, 1, "t") as (query,):
        assert spark.interruptTag("u") == []
        assert spark.interruptOperation("nothing") == []
        spark.sparkContext.cancelJobGroup("another")
        spark._backend.replace()
        assert not query.done()

        assert len(spark.interruptAll()) == 1
        assert query.exception(WAIT_S) is not None


@pytest.mark.slow
def test_a_process_with_tables_goes_on_after_a_cancelled_query(
    spark: SparkSession, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be lost with it."""
    monkeypatch.chdir(tmp_path)  # Where its process has its tables.
    session = spark.newSession()
    session.sql("create table here (a int)")
    session.sql("insert into here values (1)")
    old = session._backend.pid
    with running(session, gate, 1) as (query,):
        session.interruptAll()
        assert query.exception(WAIT_S) is not None
        assert session.sql("select * from here").collect() == [(1,)]
    assert session._backend.pid == old


@pytest.mark.slow
@pytest.mark.usefixtures("usual_signals")
def test_ctrl_c_cancels_the_query_that_it_interrupts(
    spark: SparkSession, gate: Gate
) -> None:
    """It doesn't wait for the engine, and neither does the next query."""

    def interrupt() -> None:
        gate.wait_for(1)
        _thread.interrupt_main()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        spark.range(1).select(gate.stay("id")).collect()
    interrupting.join()
    assert spark.sql("select 1").first() == (1,)

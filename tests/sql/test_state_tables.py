"""Tests of sql/state_tables.py."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.receiving import until

from millstream.errors.sql import AnalysisException
from millstream.sql import Row, SparkSession
from millstream.streaming.state import StateSpec
from millstream.testing import StreamHarness

pytest.importorskip("pysail", reason="needs the extra `sql`")
pytestmark = pytest.mark.slow


@pytest.fixture
def h(checkpoint: str) -> Iterator[StreamHarness]:
    """Return a harness of streams that keep state."""
    with StreamHarness(batch=1.0, checkpoint=checkpoint) as harness:
        yield harness


def spark() -> Any:
    """Return the session of the harness's context."""
    return SparkSession.builder.getOrCreate()


def counted(h: StreamHarness, batches: list[Any], name: str = "counts") -> None:
    """Count the records of a stream by key, under a name."""
    pairs = h.stream(batches).map(lambda key: (key, 1))
    totals = pairs.updateStateByKey(lambda ones, old: (old or 0) + len(ones))
    h.collect(totals.named(name))


def run(h: StreamHarness, batches: int) -> None:
    """Run batches, until the state of the last one is committed."""
    h.run(batches)
    until(lambda: all(s.states.files.latest == h.clock.now_ms() for s in states(h)))


def states(h: StreamHarness) -> list[Any]:
    """Return the streams that keep state."""
    return h.ssc._graph.keyed_states()


def rows(frame: Any) -> list[Row]:
    """Return a frame's rows, by their keys."""
    return sorted(frame.collect(), key=lambda row: str(row.key))


def test_the_state_of_a_stream_is_a_table(h: StreamHarness) -> None:
    """By its name in whatever case, in a query and by `table`; as of the last batch."""
    counted(h, [["a", "b"], ["a"]], "Counts")
    run(h, 1)
    assert rows(spark().table("state.counts")) == [
        Row(key="a", value=1),
        Row(key="b", value=1),
    ]
    run(h, 1)

    found = spark().table("state.Counts")
    assert found.dtypes == [("key", "string"), ("value", "bigint")]
    assert rows(found) == [Row(key="a", value=2), Row(key="b", value=1)]
    query = "select c.value from state.`counts` c where c.key = 'a'"
    assert spark().sql(query).collect() == [Row(value=2)]
    assert spark().sql("select max(value) m from STATE.COUNTS").first() == Row(m=2)


def test_a_frame_of_a_state_stays_as_it_was(h: StreamHarness) -> None:
    """Later batches don't reach it: it is as of the batch when it was made."""
    counted(h, [["a"], ["a", "a"]])
    run(h, 1)
    before = spark().sql("select * from state.counts")
    run(h, 1)

    assert before.collect() == [Row(key="a", value=1)]
    assert spark().table("state.counts").collect() == [Row(key="a", value=3)]


def test_keys_and_values_that_are_tuples_are_structs(h: StreamHarness) -> None:
    """With fields `_1`, `_2`; of mapWithState, too."""

    def remember(_key: Any, value: Any, state: Any) -> Any:
        state.update((value, value * 0.5))
        return value

    pairs = h.stream([[(("a", 1), 2)], [(("b", 2), 4)]])
    h.collect(pairs.mapWithState(StateSpec.function(remember)).named("last"))
    run(h, 2)

    frame = spark().sql("select key._1 k, value._2 v from state.last order by k")
    assert frame.collect() == [Row(k="a", v=1.0), Row(k="b", v=2.0)]
    found = spark().table("state.last")
    assert [field.dataType.simpleString() for field in found.schema] == [
        "struct<_1:string,_2:bigint>",
        "struct<_1:bigint,_2:double>",
    ]


def test_a_state_joins_a_batch(h: StreamHarness) -> None:
    """In a stream's own query, which sees what was committed before."""
    counted(h, [["a", "b"], []])
    query = "select s.word, c.value from stream s join state.counts c on s.word = c.key"
    joined = h.collect(h.stream([[], [("b",)]]).sql(query, "word string"))
    run(h, 1)
    run(h, 1)

    assert joined.records == [[], [Row(word="b", value=1)]]


def test_a_state_without_keys_has_no_rows(h: StreamHarness) -> None:
    """Before the first batch is committed, and after one without records."""
    counted(h, [[]])
    h._start()
    assert spark().table("state.counts").columns == ["key", "value"]
    run(h, 1)

    assert spark().sql("select count(*) n from state.counts").first() == Row(n=0)


def test_an_unknown_state_is_told_with_those_there_are(h: StreamHarness) -> None:
    """By `table`, in a query, and where no stream keeps any."""
    with pytest.raises(AnalysisException, match="there are none"):
        spark().table("state.counts")
    counted(h, [])
    counted(h, [], "totals")
    h._start()
    known = r"`state`.`other` cannot be found; there are `state`.`counts`, `state`.`t"

    with pytest.raises(AnalysisException, match=known):
        spark().table("state.other")
    with pytest.raises(AnalysisException, match=known):
        spark().sql("select * from state.other")
    assert not spark().catalog.tableExists("state.other")


def test_a_column_may_be_called_state(h: StreamHarness) -> None:
    """Where no table can stand, none is looked for; not even if there is one."""
    counted(h, [["a"]])
    run(h, 1)
    session = spark()
    frame = session.sql("select named_struct('counts', 7, 'other', 8) state")
    frame.createOrReplaceTempView("people")

    query = "select state.counts, state.other from people where state.other > 0"
    assert session.sql(query).collect() == [Row(counts=7, other=8)]
    query = "select p.state.counts, c.key from people p, state.counts c"
    assert session.sql(query).collect() == [Row(counts=7, key="a")]


def test_states_are_listed(h: StreamHarness) -> None:
    """As tables of their namespace, or those that a pattern fits."""
    counted(h, [["a"]])
    counted(h, [], "totals")
    run(h, 1)
    catalog = spark().catalog

    assert [(each.name, each.namespace) for each in catalog.listTables("state")] == [
        ("counts", ["state"]),
        ("totals", ["state"]),
    ]
    assert [each.name for each in catalog.listTables("state", "tot*")] == ["totals"]
    assert catalog.tableExists("state.counts")
    assert catalog.getTable("state.counts").name == "counts"
    assert [c.name for c in catalog.listColumns("state.counts")] == ["key", "value"]
    assert catalog.listTables() == []


def test_a_state_that_is_no_table_is_told(h: StreamHarness) -> None:
    """With the types that don't go together, and what reads it all the same."""
    pairs = h.stream([[("a", 1), ("b", (1,))]])
    last = pairs.updateStateByKey(lambda new, old: new[-1] if new else old)
    h.collect(last.named("mixed"))
    run(h, 1)

    with pytest.raises(
        AnalysisException, match="the state of 'mixed' is no table"
    ) as e:
        spark().table("state.mixed")
    assert "ssc.state('mixed')" in "".join(e.value.__notes__)


def test_queries_while_batches_run_see_whole_batches(h: StreamHarness) -> None:
    """Every batch adds one to each of 50 keys: they never differ."""
    keys = [f"key {n}" for n in range(50)]
    counted(h, [keys] * 30)
    run(h, 1)
    seen: list[tuple[int, int, int]] = []
    done = threading.Event()

    def watch() -> None:
        query = "select count(*), min(value), max(value) from state.counts"
        while not done.is_set():
            seen.append(tuple(spark().sql(query).first()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        until(lambda: seen)
        h.run(29)
    finally:
        done.set()
        watcher.join()

    assert {count for count, _, _ in seen} == {50}
    assert all(least == most for _, least, most in seen)
    assert [most for _, _, most in seen] == sorted(most for _, _, most in seen)
    assert len({most for _, _, most in seen}) > 1

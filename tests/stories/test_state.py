"""Stories of keyed state: mapWithState, updateStateByKey, reading them from outside."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.thoroughness import tries

from millstream.engine.base.errors import (
    IllegalArgumentError,
    IllegalStateError,
    MillstreamError,
    PySparkPicklingError,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.engine.plan.kernels import StateFunction
from millstream.engine.plan.partitioners import Partitioner
from millstream.streaming.dstream import DStream
from millstream.streaming.state import State, StateSpec
from millstream.testing import StreamHarness


def count(key: str, value: int | None, state: State) -> tuple[str, Any]:
    """Count, and say when a key times out."""
    if state.isTimingOut():
        return key, f"out at {state.get()}"
    state.update((state.getOption() or 0) + (value or 0))
    return key, state.get()


def outputs(h: StreamHarness, name: str) -> dict[int, list[Any]]:
    """Return the last output of each batch, sorted."""
    out = h.output(name)
    pairs = zip(out.times_ms, out.records, strict=True)
    return {time // 1000: sorted(records, key=repr) for time, records in pairs}


def test_one_call_a_record_in_order(checkpoint: str) -> None:
    """Each record sees the state the one before left; all results come out."""
    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1), ("a", 2), ("b", 5)], [("a", 10)], None, []], 1)
        mapped = stream.mapWithState(StateSpec.function(count))
        out, snap = h.collect(mapped), h.collect(mapped.stateSnapshots())
        h.run(4)

        assert out.records == [[("a", 1), ("a", 3), ("b", 5)], [("a", 13)], [], []]
        assert [sorted(records) for records in snap.records] == [
            [("a", 3), ("b", 5)],
            *[[("a", 13), ("b", 5)]] * 3,
        ]


def test_a_key_may_have_any_number_of_records(checkpoint: str) -> None:
    """Each sees what the one before left, also removed, however long ago that was."""

    def keep(key: str, value: int, state: State) -> int:
        if value:
            state.update((state.getOption() or 0) + value)
        elif state.exists():
            state.remove()
        return state.getOption() or 0

    with StreamHarness(checkpoint=checkpoint) as h:
        others = [(n, 1) for n in range(2000)]
        records = [("a", 1), *others, ("a", 1), ("a", 0), *others, ("a", 5)]
        spec = StateSpec.function(keep).numPartitions(1)
        mapped = h.stream([records], 1).mapWithState(spec)
        out = h.collect(mapped.named("s"))
        h.run(1)
        assert out.records == [[1, *[1] * 2000, 2, 0, *[2] * 2000, 5]]
        found = dict(h.ssc.state("s").items())
        assert found == {"a": 5} | {n: 2 for n, _ in others}


def test_the_four_argument_form_may_emit_nothing(checkpoint: str) -> None:
    """Time first; None is no record. What the three-argument form returns always is."""
    times = []

    def evens(time: Any, key: str, value: int, state: State) -> int | None:
        state.update(str(time))
        return value if value % 2 == 0 else None

    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1), ("a", 2), ("a", 4)]])
        mapped = stream.mapWithState(StateSpec.function(evens)).named("evens")
        nothing = stream.mapWithState(StateSpec.function(lambda k, v, s: None))
        out, nones = h.collect(mapped), h.collect(nothing)
        h.run(1)
        times.append(h.ssc.state("evens").get("a"))
        assert sorted(out.records[0]) == [2, 4]
        assert nones.records == [[None] * 3]
    assert times[0].endswith(":01")


def test_removing_and_setting_again(checkpoint: str) -> None:
    """A removed key has no state for the next record, which may set one."""

    def toggle(key: str, value: int, state: State) -> bool:
        if state.exists():
            state.remove()
        else:
            state.update(value)
        return state.exists()

    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1)], [("a", 2)], [("a", 3), ("a", 4), ("a", 5)]], 1)
        mapped = stream.mapWithState(StateSpec.function(toggle)).named("t")
        out = h.collect(mapped)
        h.run(3)

        assert out.records == [[True], [False], [True, False, True]]
        assert dict(h.ssc.state("t").items()) == {"a": 5}


def test_idle_keys_time_out_at_checkpoints_as_in_spark(checkpoint: str) -> None:
    """Every tenth batch; with `exact` in the first batch that may."""
    for exact, at in ((False, 10), (True, 4)):
        with StreamHarness(checkpoint=f"{checkpoint}{exact}") as h:
            stream = h.stream([[("a", 1), ("b", 1)], [("b", 1)]])
            spec = StateSpec.function(count).timeout(2, exact=exact)
            out = h.collect(stream.mapWithState(spec), "out")
            h.run(10)
            found = [
                time // 1000
                for time, records in zip(out.times_ms, out.records, strict=True)
                if ("a", "out at 1") in records
            ]
            assert found == [at]


def test_a_late_record_revives_an_idle_key(checkpoint: str) -> None:
    """Records come before timeouts."""
    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1)], [], [], [("a", 1)]])
        spec = StateSpec.function(count).timeout(2, exact=True)
        out = h.collect(stream.mapWithState(spec))
        h.run(5)
        assert out.records == [[("a", 1)], [], [], [("a", 2)], []]


def test_initial_state_partitions_and_partitioner(checkpoint: str) -> None:
    """From a list or an RDD; the first of several states of a key counts."""
    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1)], [("c", 1)]])
        place = Partitioner(3, lambda key: 1)
        first = StateSpec.function(count).initialState([("a", 10), ("a", 99), ("b", 5)])
        mapped = stream.mapWithState(first.partitioner(place)).named("one")
        rdd = h.sc.parallelize([("z", 1)])
        other = StateSpec.function(count).initialState(rdd).numPartitions(5)
        out = h.collect(mapped)
        h.collect(stream.mapWithState(other).named("two"))
        h.run(1)

        assert out.partitions[0] == [[], [("a", 11)], []]
        assert dict(h.ssc.state("one").items()) == {"a": 11, "b": 5}
        assert dict(h.ssc.state("two").items()) == {"z": 1, "a": 1}
        h.crash()
        h.restart()
        h.run(1)
        assert dict(h.ssc.state("one").items()) == {"a": 11, "b": 5, "c": 1}


def test_states_are_copies(checkpoint: str) -> None:
    """A list changed in place without update() isn't kept."""

    def sneaky(key: str, value: int, state: State) -> int:
        if not state.exists():
            state.update([])
        state.get().append(value)
        return len(state.get())

    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1)], [("a", 2)], [("a", 3)]])
        out = h.collect(stream.mapWithState(StateSpec.function(sneaky)))
        h.run(3)
        assert out.records == [[1], [2], [2]]


def test_state_misuse_is_refused() -> None:
    """Each rule of State, in words."""
    with pytest.raises(KeyError, match="State is not set"):
        State().get()
    assert str(State()) == "<state not set>"
    removed = State(1)
    removed.remove()
    with pytest.raises(IllegalArgumentError, match="already been removed"):
        removed.remove()
    with pytest.raises(IllegalArgumentError, match="after it has been removed"):
        removed.update(2)
    old = State(1, is_timing_out=True)
    for misuse in (old.remove, lambda: old.update(2)):
        with pytest.raises(IllegalArgumentError, match="timing out"):
            misuse()
    assert (State(3).getOption(), State().getOption()) == (3, None)


def test_spec_misuse_is_refused(checkpoint: str) -> None:
    """Before anything runs."""
    with pytest.raises(IllegalArgumentError, match="cannot be null"):
        StateSpec.function(None)  # type: ignore[arg-type]
    with pytest.raises(PySparkTypeError, match="needs a function"):
        StateSpec.function(3)  # type: ignore[arg-type]
    with pytest.raises(PySparkTypeError, match="this one takes 2"):
        StateSpec.function(lambda a, b: None)
    lock = threading.Lock()
    with pytest.raises(PySparkPicklingError):
        StateSpec.function(lambda k, v, s: lock)
    with pytest.raises(PySparkValueError, match="must be positive"):
        StateSpec.function(count).timeout(0)
    with StreamHarness() as h:
        stream = h.stream([])
        with pytest.raises(PySparkTypeError, match="needs a StateSpec"):
            stream.mapWithState(count)  # type: ignore[arg-type]
        with pytest.raises(PySparkTypeError, match="must be text"):
            stream.named("")
        stream.named("x")
        with pytest.raises(PySparkValueError, match="two streams are named 'x'"):
            stream.map(str).named("x")
        h.collect(stream.mapWithState(StateSpec.function(count)))
        with pytest.raises(IllegalArgumentError, match="checkpoint directory"):
            h.run(1)


def test_an_error_in_the_function_names_the_record(checkpoint: str) -> None:
    """The batch fails; the state stays as it was."""

    def fail(key: str, value: int, state: State) -> float:
        state.update(value)
        return 1 / value

    with StreamHarness(checkpoint=checkpoint) as h:
        stream = h.stream([[("a", 1)], [("a", 0)]])
        h.collect(stream.mapWithState(StateSpec.function(fail)).named("s"))
        h.run(1)
        with pytest.raises(MillstreamError, match=r"\('a', 0\)"):
            h.run(1)
        assert h.ssc.state("s").get("a") == 1


def test_reading_from_outside(checkpoint: str) -> None:
    """By name, a key or all, as of one batch; unknown names are told the known ones."""
    with StreamHarness(checkpoint=checkpoint) as h:
        pairs = h.stream([[("a", 1), ("b", 2)], [("a", 1)]])
        h.collect(pairs.updateStateByKey(lambda v, s: sum(v) + (s or 0)).named("sums"))
        with pytest.raises(IllegalStateError, match="before start"):
            h.ssc.state("sums")
        h._start()
        reader = h.ssc.state("sums")
        assert (reader.batch_ms, reader.get("a"), list(reader.items())) == (
            None,
            None,
            [],
        )
        h.run(2)

        assert (reader.batch_ms, reader.get("a"), reader.get("zz", 0)) == (2000, 2, 0)
        table = reader.to_arrow().sort_by("key").to_pydict()
        assert table == {"key": ["a", "b"], "state": [2, 2]}
        with pytest.raises(KeyError, match="there are \\['sums'\\]"):
            h.ssc.state("nope")


def test_arrow_has_the_types_of_keys_and_states(checkpoint: str) -> None:
    """Plain ones as columns of their types, others as Arrow finds; else an error says so."""
    import pyarrow as pa

    def summed(script: list[Any], step: Any) -> Any:
        with StreamHarness(checkpoint=f"{checkpoint}{len(script)}{step}") as h:
            h.collect(h.stream(script).updateStateByKey(step).named("s"))
            h._start()
            assert h.ssc.state("s").to_arrow().num_rows == 0
            h.run(len(script))
            return h.ssc.state("s").to_arrow()

    table = summed([[("a", 1)], [("b", 2)]], lambda v, s: sum(v) + (s or 0))
    assert table.schema.field("state").type == pa.int64()
    assert dict(zip(*table.to_pydict().values(), strict=True)) == {"a": 1, "b": 2}
    table = summed([[("a", 1)], [("b", 2)], []], lambda v, s: [*(s or []), *v])
    assert table.schema.field("state").type == pa.list_(pa.int64())
    assert table.sort_by("key").to_pydict()["state"] == [[1], [2]]
    with pytest.raises(PySparkTypeError, match="the states are of no type that Arrow"):
        summed([[("a", 1)], [("b", "x")]], lambda v, s: (s or v)[0:1])


@pytest.mark.parametrize("mode", ["columns", "rows", "moving keys", "mapWithState"])
def test_gauges_know_how_many_keys_have_state(checkpoint: str, mode: str) -> None:
    """Of each kind and path; keys that go, and a restart, count too."""

    def until_zero(new: list[int], old: int | None) -> int | None:
        return None if 0 in new else sum(new) + (old or 0)

    def all_until_zero(rows: Any) -> Any:
        states = ((key, until_zero(new, old)) for key, new, old in rows)
        return (pair for pair in states if pair[1] is not None)

    def drop_at_zero(key: str, value: int, state: State) -> str:
        if value:
            state.update(value)
        else:
            state.remove()
        return key

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([[(key, 1) for key in "abcd"], [("a", 0), ("e", 1)], [], []])
        out: DStream[Any]
        if mode == "mapWithState":
            out = pairs.mapWithState(StateSpec.function(drop_at_zero))
        elif mode == "moving keys":
            form = StateFunction.ITERATOR  # It may give keys other names.
            out = pairs.updateStateByKey(all_until_zero, form=form)
        else:
            out = pairs.updateStateByKey(until_zero)
        h.collect(out.named("s"))

    conf = {"spark.millstream.columnar": "off" if mode == "rows" else "on"}
    with StreamHarness(checkpoint=checkpoint, setup=setup, conf=conf) as h:
        h.run()
        gauges = h.ssc.metrics()
        assert gauges["millstream.state.rows"] == 4
        assert gauges["millstream.state.partitions"] == 2
        assert gauges["millstream.state.memoryBytes"] > 0
        h.run()
        assert h.ssc.metrics()["millstream.state.rows"] == 4
        h.crash()
        h.restart()
        h.run()
        assert h.ssc.metrics()["millstream.state.rows"] == 4


def test_a_stream_without_state_has_no_gauges_of_state() -> None:
    """Instead of naughts that look like lost state."""
    with StreamHarness() as h:
        h.collect(h.stream([[1]]))
        h.run()
        assert not [name for name in h.ssc.metrics() if ".state." in name]


@pytest.mark.slow
def test_state_over_its_memory_gives_the_same_results(tmp_path: Path) -> None:
    """In files, with timeouts and snapshots, over a crash: as if it were in memory."""
    seen = []
    for memory in ("1k", "1g"):

        def setup(h: StreamHarness) -> None:
            pairs = h.stream(
                [[(n % 97, n) for n in range(b * 50, b * 80)] for b in range(9)]
            )
            spec = StateSpec.function(count).timeout(2, exact=True).numPartitions(2)
            mapped = pairs.mapWithState(spec)
            h.collect(mapped.named("s"), "mapped")
            h.collect(mapped.stateSnapshots(), "snapshots")

        conf = {"spark.millstream.state.memory": memory}
        directory = str(tmp_path / memory)
        with StreamHarness(checkpoint=directory, setup=setup, conf=conf) as h:
            for _ in range(2):
                h.run(6)
                gauges = h.ssc.metrics()
                assert gauges["millstream.state.partitions"] == 2
                spilled = gauges["millstream.state.spilledPartitions"]
                assert spilled == (2 if memory == "1k" else 0)
                h.crash()
                h.restart()
            h.run(1)
            state = sorted(h.ssc.state("s").items())
            seen.append((outputs(h, "mapped"), outputs(h, "snapshots"), state))
    assert seen[0] == seen[1]


def test_updated_state_larger_than_memory_is_read_from_its_files(
    tmp_path: Path,
) -> None:
    """No partition of it ever fits; a batch reads what the batch before has committed."""

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([[(key, 1) for key in range(b, 60)] for b in range(8)])
        counts = pairs.updateStateByKey(lambda v, s: sum(v) + (s or 0), 3).named("c")
        h.collect(counts, "counts")

    conf = {"spark.millstream.memory": "1b"}
    with StreamHarness(checkpoint=str(tmp_path), setup=setup, conf=conf) as h:
        h.run(4)
        assert h.sc._driver.blocks.statistics().memory_blocks == 0
        h.crash()
        h.restart()
        h.run(4)
        expected = [(key, min(key + 1, 8)) for key in range(60)]
        assert sorted(h.ssc.state("c").items()) == expected
        assert sorted(outputs(h, "counts")[8]) == expected


@pytest.mark.slow
def test_windows_over_mapped_records_read_old_batches_again(tmp_path: Path) -> None:
    """With no memory for them they are mapped again, each from the state it began with."""
    seen = []
    for memory in ("1b", "1g"):

        def setup(h: StreamHarness) -> None:
            pairs = h.stream([[("a", 1), ("b", b)] for b in range(9)])
            mapped = pairs.mapWithState(StateSpec.function(count).numPartitions(2))
            h.collect(mapped.window(4, 2), "window")
            h.collect(mapped.stateSnapshots().window(3, 1), "snapshots")

        conf = {"spark.millstream.memory": memory}
        directory = str(tmp_path / memory)
        with StreamHarness(checkpoint=directory, setup=setup, conf=conf) as h:
            h.run(6)
            h.crash()
            h.restart()
            h.run(3)
            seen.append((outputs(h, "window"), outputs(h, "snapshots")))
    assert seen[0] == seen[1]
    assert seen[0][0][8] == sorted(
        [*(("a", n) for n in range(5, 9)), ("b", 10), ("b", 15), ("b", 21), ("b", 28)]
    )


def test_a_batch_whose_output_fails_counts_once(checkpoint: str) -> None:
    """Its records are in the state; mapping them again for another output adds nothing."""
    failing = [2000]

    def fail_once(time: Any, rdd: Any) -> None:
        rdd.take(1)
        if failing and rdd.count() and str(time).endswith(":02"):
            failing.pop()
            msg = "the database is away"
            raise OSError(msg)

    with StreamHarness(
        checkpoint=checkpoint, conf={"spark.millstream.memory": "1b"}
    ) as h:
        pairs = h.stream([[("a", 1), ("b", 1)]] * 4)
        spec = StateSpec.function(count).numPartitions(2)
        mapped = pairs.mapWithState(spec).named("s")
        mapped.foreachRDD(fail_once)
        mapped.foreachRDD(lambda rdd: rdd.take(1))
        h.run(1)
        with pytest.raises(MillstreamError, match="the database is away"):
            h.run(1)
        assert dict(h.ssc.state("s").items()) == {"a": 2, "b": 2}
        h.run(2)
        assert dict(h.ssc.state("s").items()) == {"a": 4, "b": 4}


@pytest.mark.slow
def test_outputs_that_run_at_once_map_each_record_once(checkpoint: str) -> None:
    """Nothing is cached, so each of them maps the batch anew: all see the same state."""
    conf = {"spark.millstream.memory": "1b", "spark.streaming.concurrentJobs": "4"}
    with StreamHarness(checkpoint=checkpoint, conf=conf, master="local[4]") as h:
        script = [[(n % 600, 1) for n in range(1200)] for _ in range(6)]
        spec = StateSpec.function(count).numPartitions(2)
        mapped = h.stream(script, 4).mapWithState(spec)
        outs = [h.collect(mapped.map(lambda pair: pair)) for _ in range(3)]
        outs.append(h.collect(mapped.named("s")))
        snapshots = h.collect(mapped.stateSnapshots())
        h.run(6)

        for batch in range(6):
            expected = sorted((n, 2 * batch + i) for n in range(600) for i in (1, 2))
            assert all(sorted(out.records[batch]) == expected for out in outs)
            assert dict(snapshots.records[batch]) == dict.fromkeys(
                range(600), 2 * batch + 2
            )
        assert dict(h.ssc.state("s").items()) == dict.fromkeys(range(600), 12)


def test_none_is_a_key_and_a_list_is_none(checkpoint: str) -> None:
    """What has no hash is refused by name, whether or not keys are moved around."""
    for partitions in (1, 2):
        with StreamHarness(checkpoint=f"{checkpoint}{partitions}") as h:
            pairs = h.stream([[(None, 1), (None, 2)], [((1, None), 1), (["x"], 2)]], 1)
            spec = StateSpec.function(count).numPartitions(partitions)
            h.collect(pairs.mapWithState(spec).named("s"))
            h.run(1)
            assert list(h.ssc.state("s").items()) == [(None, 3)]
            assert h.ssc.state("s").get(None) == 3
            with pytest.raises(MillstreamError, match=r"mapWithState[^$]*\['x'\]"):
                h.run(1)


def test_every_partition_is_kept_though_an_output_reads_only_some(
    tmp_path: Path,
) -> None:
    """Pprint looks at the first partitions; the checkpoint has all of them."""

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([[(key, 1) for key in range(20)]] * 3)
        counts = pairs.updateStateByKey(lambda v, s: sum(v) + (s or 0), 4).named("c")
        counts.foreachRDD(lambda rdd: rdd.take(1))

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(2)
        assert dict(h.ssc.state("c").items()) == dict.fromkeys(range(20), 2)
        h.crash()
        h.restart()
        h.run(1)
        assert dict(h.ssc.state("c").items()) == dict.fromkeys(range(20), 3)


@pytest.mark.parametrize("form", [StateFunction.TIMED, StateFunction.ITERATOR])
def test_the_other_forms_survive_too(form: StateFunction, tmp_path: Path) -> None:
    """With the time and key, and by iterators that may change keys."""

    def timed(time: Any, key: int, new: list[int], old: int | None) -> int:
        return sum(new) + (old or 0)

    def iterated(rows: Any) -> Any:
        return ((key, sum(new) + (old or 0)) for key, new, old in rows)

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([[(1, 1), (2, 1)], [(1, 1)], [(3, 1)], [(1, 1)]])
        function = timed if form is StateFunction.TIMED else iterated
        h.collect(pairs.updateStateByKey(function, 2, form=form).named("s"), "out")

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(2)
        h.crash()
        h.restart()
        h.run(2)
        assert outputs(h, "out")[4] == [(1, 3), (2, 1), (3, 1)]
        assert dict(h.ssc.state("s").items()) == {1: 3, 2: 1, 3: 1}


def test_keys_that_functions_may_change_have_one_state_each(tmp_path: Path) -> None:
    """The iterator form has no place for its keys: not for initial ones either."""

    def iterated(rows: Any) -> Any:
        return ((key, sum(new) + (old or 0)) for key, new, old in rows)

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([[(11, 1)], [(12, 2), (3, 1)], [(1, 5)]])
        initial = [(n, 100) for n in range(1, 5)]
        stream = pairs.updateStateByKey(
            iterated, 3, initialRDD=initial, form=StateFunction.ITERATOR
        )
        h.collect(stream.named("s"), "s")

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(2)
        h.crash()
        h.restart()
        h.run(1)
        expected = {1: 105, 2: 100, 3: 101, 4: 100, 11: 1, 12: 2}
        reader = h.ssc.state("s")
        assert sorted(reader.items()) == sorted(expected.items())
        assert {key: reader.get(key) for key in expected} == expected
        assert outputs(h, "s")[3] == sorted(expected.items(), key=repr)


def test_a_batch_that_waits_for_its_commit_is_compared_once(checkpoint: str) -> None:
    """The next batch finds it uncommitted still, and leaves its changes alone."""

    def iterated(rows: Any) -> Any:
        return ((key, sum(new) + (old or 0)) for key, new, old in rows)

    with StreamHarness(checkpoint=checkpoint) as h:
        pairs = h.stream([[("a", 1)], [("a", 1), ("b", 1)]])
        stream = pairs.updateStateByKey(iterated, 2, form=StateFunction.ITERATOR)
        h.collect(stream.named("s"))
        h.run(1)
        operator: Any = stream._operator
        operator.get_or_compute(2000)
        operator.stage_missing(2000)
        operator.stage_missing(2000)
        operator.states.commit(2000)

        assert dict(h.ssc.state("s").items()) == {"a": 2, "b": 1}


batches = st.lists(
    st.one_of(
        st.none(),
        st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=5),
    ),
    min_size=1,
    max_size=9,
)


@pytest.mark.slow
@settings(
    max_examples=tries(12, 30), suppress_health_check=list(HealthCheck), deadline=None
)
@given(
    batches,
    st.sets(st.integers(1, 9)),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from(["1b", "400b", "1g"]),
)
def test_any_crashes_leave_the_same_state(
    tmp_path_factory: pytest.TempPathFactory,
    script: list[list[tuple[int, int]] | None],
    crashes: set[int],
    idle: int | None,
    memory: str,
) -> None:
    """Both kinds of state equal a plain fold, whenever the driver was killed."""

    def keep(key: int, value: int | None, state: State) -> tuple[int, Any]:
        if state.isTimingOut():
            return key, None
        total = (state.getOption() or 0) + (value or 0)
        if total == 2:
            if state.exists():
                state.remove()
        else:
            state.update(total)
        return key, total

    def setup(h: StreamHarness) -> None:
        pairs = h.stream(script)
        spec = StateSpec.function(keep).numPartitions(2)
        if idle is not None:
            spec.timeout(idle, exact=True)
        h.collect(pairs.mapWithState(spec).named("mapped"), "mapped")
        h.collect(
            pairs.updateStateByKey(
                lambda v, s: None if sum(v) + (s or 0) == 2 else sum(v) + (s or 0)
            ).named("updated"),
            "updated",
        )

    def fold(upto: int) -> tuple[dict[int, int], dict[int, int]]:
        mapped: dict[int, tuple[int, int]] = {}
        updated: dict[int, int] = {}
        for number, batch in enumerate(script[:upto], 1):
            new: dict[int, list[int]] = {}
            for key, value in batch or []:
                new.setdefault(key, []).append(value)
                total = (mapped[key][0] if key in mapped else 0) + value
                if total == 2:
                    mapped.pop(key, None)
                else:
                    mapped[key] = total, number
            if batch is not None:
                for key in {*updated, *new}:
                    total = sum(new.get(key, [])) + updated.get(key, 0)
                    updated[key] = total
                    if total == 2:
                        del updated[key]
            if idle is not None:
                old = [k for k, (_, at) in mapped.items() if at < number - idle]
                for key in old:
                    del mapped[key]
        return {k: v for k, (v, _) in mapped.items()}, updated

    directory = str(tmp_path_factory.mktemp("state"))
    conf = {"spark.millstream.state.memory": memory}
    with StreamHarness(checkpoint=directory, setup=setup, conf=conf) as h:
        for number in range(1, len(script) + 1):
            h.run(1)
            state = [dict(h.ssc.state(name).items()) for name in ("mapped", "updated")]
            assert state == list(fold(number))
            if number in crashes:
                h.crash()
                h.restart()


@pytest.mark.parametrize("kind", ["updated", "mapped"])
def test_initial_state_survives_a_crash_before_the_first_batch(
    checkpoint: str, kind: str
) -> None:
    """It is in the first checkpoint, and no batch makes it again."""

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([[("a", 1)], [("b", 1)]])
        if kind == "updated":
            total = pairs.updateStateByKey(
                lambda new, old: sum(new) + (old or 0),
                initialRDD=[("a", 10), ("b", 20)],
            )
            h.collect(total, "out")
        else:
            spec = StateSpec.function(count).initialState([("a", 10), ("b", 20)])
            h.collect(pairs.mapWithState(spec).stateSnapshots(), "out")

    with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
        h.ssc.start()
        h.crash()
        h.restart()
        h.run(2)

        out = h.output("out")
        assert out.times_ms == [1000, 2000]
        assert [sorted(each) for each in out.records] == [
            [("a", 11), ("b", 20)],
            [("a", 11), ("b", 21)],
        ]


@pytest.mark.parametrize("kind", ["updated", "mapped"])
def test_the_first_initial_state_of_a_key_counts(checkpoint: str, kind: str) -> None:
    """An initial RDD may repeat keys, also in other partitions."""
    initial = [("a", 1), ("b", 5), ("a", 2), ("a", 3)]
    with StreamHarness(checkpoint=checkpoint) as h:
        pairs = h.stream([[("a", 10)]])
        if kind == "updated":
            total = pairs.updateStateByKey(
                lambda new, old: sum(new) + (old or 0), initialRDD=initial
            )
        else:
            spec = StateSpec.function(count).initialState(initial)
            total = pairs.mapWithState(spec).stateSnapshots()
        out = h.collect(total)
        h.run()

        assert sorted(out.records[0]) == [("a", 11), ("b", 5)]

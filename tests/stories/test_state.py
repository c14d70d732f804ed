"""Stories of keyed state: mapWithState, updateStateByKey, reading them from outside."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


batches = st.lists(
    st.one_of(
        st.none(),
        st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=5),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(batches, st.sets(st.integers(1, 9)), st.sampled_from([None, 1, 2, 3]))
def test_any_crashes_leave_the_same_state(
    tmp_path_factory: pytest.TempPathFactory,
    script: list[list[tuple[int, int]] | None],
    crashes: set[int],
    idle: int | None,
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
    with StreamHarness(checkpoint=directory, setup=setup) as h:
        for number in range(1, len(script) + 1):
            h.run(1)
            state = [dict(h.ssc.state(name).items()) for name in ("mapped", "updated")]
            assert state == list(fold(number))
            if number in crashes:
                h.crash()
                h.restart()

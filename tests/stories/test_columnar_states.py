"""Stories of mapWithState whose function goes by columns."""

from typing import Any

import pytest

from millstream.streaming.state import State, StateSpec
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow

VERIFY = {
    "spark.millstream.columnar": "verify",
    "spark.millstream.columnar.rows.min": "0",
}
ON = {**VERIFY, "spark.millstream.columnar": "on"}
OFF = {"spark.millstream.columnar": "off"}
LINES = [["a b a", "c"], ["b b a b"], [], ["a"], ["d d", "c"], ["a c"], [], ["b"]]


def fates(h: StreamHarness) -> set[str]:
    """Return a line a step and way."""
    stages = h.sc._driver.book._stages.values()
    return {line for stage in stages for line in stage.report.lines()}


def words(h: StreamHarness, lines: list[list[str]] = LINES) -> Any:
    """Return a stream of words, each with a one."""
    return (
        h.stream(lines, 2).flatMap(lambda line: line.split(" ")).map(lambda w: (w, 1))
    )


def count(key: str, value: int | None, state: State) -> tuple[str, Any]:
    """Count, and say when a key times out."""
    if value is None:
        return key, -1
    total = (state.getOption() or 0) + value
    state.update(total)
    return key, total


def up_to_two(key: str, value: int, state: State) -> tuple[str, int]:
    """Count to two, and begin anew."""
    total = (state.getOption() or 0) + value
    if total >= 2:
        state.remove()
    else:
        state.update(total)
    return key, total


def told(spec: StateSpec, conf: dict[str, str], checkpoint: str) -> Any:
    """Return mapped records, snapshots, and which ways were gone."""
    with StreamHarness(checkpoint=checkpoint, conf=conf) as h:
        mapped = words(h).mapWithState(spec)
        out, snapshots = h.collect(mapped), h.collect(mapped.stateSnapshots())
        h.run(10)
        return out.partitions, snapshots.partitions, fates(h)


@pytest.mark.parametrize("function", [count, up_to_two])
def test_words_are_counted_by_columns(checkpoint: str, function: Any) -> None:
    """Records, order and state are those of the row path."""
    spec = StateSpec.function(function).numPartitions(2)
    *by_columns, lines = told(spec, VERIFY, checkpoint)

    *by_rows, _ = told(spec, OFF, f"{checkpoint}-off")

    assert by_columns == by_rows
    assert any(line.startswith("mapWithState: columns") for line in lines)


def test_what_times_out_comes_behind_the_records(checkpoint: str) -> None:
    """Keys that were idle are called one by one, in either way."""
    spec = StateSpec.function(count).numPartitions(1).timeout(2, exact=True)
    out, snapshots, lines = told(spec, VERIFY, checkpoint)

    assert (out, snapshots) == told(spec, OFF, f"{checkpoint}-off")[:2]
    assert "mapWithState: columns" in {line.partition(" and")[0] for line in lines}
    assert out[3] == [[("a", 4), ("c", -1)]]


def test_what_is_made_of_a_timeout_may_be_any_object(checkpoint: str) -> None:
    """Also one that no column holds, and that somebody could change."""

    def ended(key: str, value: int | None, state: State) -> Any:
        if value is None:
            return [key, {state.get()}]
        state.update(value)
        return key, value

    spec = StateSpec.function(ended).numPartitions(1).timeout(2, exact=True)
    out, snapshots, lines = told(spec, ON, checkpoint)

    assert (out, snapshots) == told(spec, OFF, f"{checkpoint}-off")[:2]
    assert out[3] == [[("a", 1), ["c", {1}]]]
    assert "mapWithState: columns" in {line.partition(" and")[0] for line in lines}


def test_keys_stand_in_the_state_as_rows_would_have_put_them(checkpoint: str) -> None:
    """One that goes and comes again much later in a batch is behind those between."""
    others = [f"w{n}" for n in range(900)]
    lines = [["a b", "a", *others, "a b", *others[:300], "c b b"]] * 2
    seen: list[Any] = []
    for conf in (VERIFY, OFF):
        directory = f"{checkpoint}-{len(seen)}"
        with StreamHarness(checkpoint=directory, conf=conf) as h:
            spec = StateSpec.function(up_to_two).numPartitions(1)
            mapped = words(h, lines).mapWithState(spec)
            out = h.collect(mapped.stateSnapshots())
            h.run(2)
            seen.append(out.records)
            if conf is VERIFY:
                assert "mapWithState: columns" in fates(h)

    assert seen[0] == seen[1]
    assert seen[0][0][0] != ("a", 1), "it came first, and went"


def test_what_follows_goes_on_in_columns(checkpoint: str) -> None:
    """Mapped records are reduced as they are."""
    with StreamHarness(checkpoint=checkpoint, conf=ON) as h:
        mapped = words(h, LINES[:2]).mapWithState(StateSpec.function(count))
        out = h.collect(mapped.map(lambda p: (p[0], p[1])).reduceByKey(max, 1))
        h.run(2)

        assert sorted(out.records[1]) == [("a", 3), ("b", 4)]
        ways = {line.partition(" and")[0] for line in fates(h)}
        assert {"mapWithState: columns", "map: columns", "by key: columns"} <= ways


def test_state_outlives_a_crash(checkpoint: str) -> None:
    """It is in the same files, whoever wrote them."""

    def setup(h: StreamHarness) -> None:
        mapped = words(h).mapWithState(StateSpec.function(count)).named("totals")
        h.collect(mapped, "mapped")

    with StreamHarness(checkpoint=checkpoint, conf=ON, setup=setup) as h:
        h.run(4)
        h.crash()
        h.restart()
        h.run(4)

        found = dict(h.ssc.state("totals").items())
        assert found == {"a": 5, "b": 5, "c": 3, "d": 2}
        assert "mapWithState: columns" in {
            line.partition(" and")[0] for line in fates(h)
        }


def test_taking_a_few_maps_the_whole_partition(checkpoint: str) -> None:
    """As pprint does: the state has all records."""
    with StreamHarness(checkpoint=checkpoint, conf=ON) as h:
        mapped = words(h, [["a a a b"]]).mapWithState(
            StateSpec.function(count).numPartitions(1)
        )
        taken: list[Any] = []
        mapped.foreachRDD(lambda rdd: taken.append(rdd.take(2)))
        out = h.collect(mapped.stateSnapshots())
        h.run(1)

        assert taken == [[("a", 1), ("a", 2)]]
        assert out.records == [[("a", 3), ("b", 1)]]


def test_a_record_that_fails_leaves_the_state_as_it_was(checkpoint: str) -> None:
    """The block goes by rows, Python raises, and nothing is kept of the batch."""

    def divided(key: str, value: int, state: State) -> Any:
        state.update((state.getOption() or 0) + value)
        return 12 // (state.get() - 3)

    batches = [[("a", 1), ("b", 1)], [("a", 1), ("a", 1), ("b", 1)]]
    with StreamHarness(checkpoint=checkpoint, conf=ON) as h:
        stream = h.stream(batches, 1).map(lambda p: (p[0], p[1]))
        mapped = stream.mapWithState(StateSpec.function(divided)).named("s")
        h.collect(mapped)
        h.run(1)
        with pytest.raises(Exception, match="by zero"):
            h.run(1)

        assert dict(h.ssc.state("s").items()) == {"a": 1, "b": 1}


def test_a_function_fails_before_a_later_record_of_a_step_does(
    checkpoint: str,
) -> None:
    """Steps before it that go by rows are worked out bit by bit, as ever."""

    def picky(key: str, value: int, state: State) -> int:
        if value == 2:
            raise ValueError("two")
        return value

    for conf in (ON, OFF):
        directory = f"{checkpoint}-{conf['spark.millstream.columnar']}"
        with StreamHarness(checkpoint=directory, conf=conf) as h:
            records = [*((n, 3) for n in range(700)), (700, 0)]
            pairs = h.stream([records], 1).reduceByKey(max, 1)
            # Where keys stay where they are, nothing is shuffled in between.
            stepped = pairs.mapValues(lambda n: (print(end=""), 6 // n)[1])
            spec = StateSpec.function(picky).numPartitions(1)
            h.collect(stepped.mapWithState(spec))
            with pytest.raises(Exception, match="two"):
                h.run(1)


def test_objects_and_small_batches_go_by_rows(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """To make columns of objects takes longer than to map them; and `explain` says so."""
    conf = {"spark.millstream.columnar.rows.min": "10"}
    with StreamHarness(checkpoint=checkpoint, conf=conf) as h:
        batches = [[("a", 1)] * 3, [("a", 1)] * 30]
        spec = StateSpec.function(count).numPartitions(1)
        mapped = h.stream(batches, 1).mapWithState(spec)
        h.collect(mapped)
        for reason in ("fewer than 10 records", "the records are Python objects"):
            h.run(1)
            mapped.explain()
            assert f"rows: {reason}" in capsys.readouterr().out

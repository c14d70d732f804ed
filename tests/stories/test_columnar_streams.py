"""Stories of streams whose state, windows and joins go by columns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow

VERIFY = {
    "spark.millstream.columnar": "verify",
    "spark.millstream.columnar.rows.min": "0",
}
OFF = {"spark.millstream.columnar": "off"}
LARGE = 2**63 - 1

Story = Callable[[StreamHarness], Any]


def told(story: Story, conf: dict[str, str], checkpoint: str, batches: int) -> Any:
    """Return what each batch of a story gave, and which way each step went."""
    with StreamHarness(checkpoint=checkpoint, conf=conf) as h:
        out = h.collect(story(h))
        h.run(batches)
        return out.records, fates(h)


def fates(h: StreamHarness) -> set[str]:
    """Return a line a step and way: "mapValues: columns"."""
    stages = h.sc._driver.book._stages.values()
    return {line for stage in stages for line in stage.report.lines()}


def check(story: Story, checkpoint: str, batches: int, *steps: str) -> list[Any]:
    """See that a story has one outcome, and that steps of it went by columns."""
    records: list[Any]
    records, lines = told(story, VERIFY, checkpoint, batches)
    assert records == told(story, OFF, f"{checkpoint}-off", batches)[0]
    for step in steps:
        assert f"{step}: columns" in lines, lines
    return records


LINES = [["a b a", "c"], ["b b"], [], ["a"], ["d d", "c"], ["a c"], [], ["b"], ["e"]]


def words(h: StreamHarness) -> Any:
    """Return a stream of words, each with a one."""
    return (
        h.stream(LINES, 2).flatMap(lambda line: line.split(" ")).map(lambda w: (w, 1))
    )


@pytest.mark.parametrize("keep", [None, lambda pair: pair[1] > 0])
def test_a_window_with_an_inverse_goes_by_columns(checkpoint: str, keep: Any) -> None:
    """What enters is added and what leaves taken away, with or without a filter."""

    def story(h: StreamHarness) -> Any:
        return words(h).reduceByKeyAndWindow(
            lambda a, b: a + b, lambda a, b: a - b, 5, 1, 2, keep
        )

    records = check(story, checkpoint, 12, "leftOuterJoin", "mapValues", "by key")

    assert ("a", 2) in records[5]
    assert (("d", 0) in records[11]) == (keep is None)


def test_a_window_without_an_inverse_goes_by_columns(checkpoint: str) -> None:
    """The union of its batches is reduced anew."""

    def story(h: StreamHarness) -> Any:
        return words(h).reduceByKeyAndWindow(lambda a, b: a + b, None, 4, 1, 2)

    records = check(story, checkpoint, 10, "by key")

    assert sorted(records[3]) == [("a", 3), ("b", 3), ("c", 1)]


@pytest.mark.parametrize("name", ["join", "leftOuterJoin", "rightOuterJoin"])
def test_streams_are_joined_by_columns(checkpoint: str, name: str) -> None:
    """Counts of one stream beside those of another."""

    def story(h: StreamHarness) -> Any:
        lengths = h.stream(LINES[::-1], 2).map(lambda line: (line[:1], len(line)))
        counts = words(h).reduceByKey(lambda a, b: a + b, 2)
        return getattr(counts, name)(lengths.reduceByKey(max, 2), 2)

    check(story, checkpoint, 9, name)


def test_state_goes_by_columns(checkpoint: str) -> None:
    """Counts over all batches; a batch without records calls the function too."""

    def story(h: StreamHarness) -> Any:
        return words(h).updateStateByKey(lambda new, old: sum(new) + (old or 0), 2)

    records = check(story, checkpoint, 10, "updateStateByKey")

    assert sorted(records[9]) == [("a", 4), ("b", 4), ("c", 3), ("d", 2), ("e", 1)]


def test_keys_leave_the_state(checkpoint: str) -> None:
    """None drops a key; when it comes again it begins anew, at the end."""

    def story(h: StreamHarness) -> Any:
        return words(h).updateStateByKey(
            lambda new, old: sum(new) + (old or 0) if new else None, 2
        )

    check(story, checkpoint, 10, "updateStateByKey")


def test_an_int_outgrows_its_column(checkpoint: str) -> None:
    """From then on its partition goes by rows, and the others as before."""

    def story(h: StreamHarness) -> Any:
        batches = [[(1, LARGE - 1), (2, 7)], [(1, 1)], [(1, 1)], [(2, 1)], [(1, -9)]]
        return h.stream(batches, 2).updateStateByKey(
            lambda new, old: sum(new) + (old or 0), 2
        )

    records = check(story, checkpoint, 5)

    assert sorted(records[4]) == [(1, LARGE - 8), (2, 8)]


def test_taking_a_few_leaves_the_state_in_columns(checkpoint: str) -> None:
    """As pprint does: what is kept doesn't depend on who asked first."""
    with StreamHarness(checkpoint=checkpoint, conf=VERIFY) as h:
        state = words(h).updateStateByKey(lambda new, old: sum(new) + (old or 0), 2)
        taken: list[Any] = []
        state.foreachRDD(lambda rdd: taken.append(rdd.take(2)))
        h.run(6)

        assert [len(each) for each in taken] == [2] * 6
        assert "updateStateByKey: columns" in fates(h)


@pytest.mark.parametrize("initial", [None, [("a", 100), ("z", 1)]])
@pytest.mark.slow
def test_state_in_columns_outlives_a_crash(checkpoint: str, initial: Any) -> None:
    """It is read back as columns, and goes on."""
    seen: list[Any] = []
    for conf in (VERIFY, OFF):

        def setup(h: StreamHarness) -> None:
            state = words(h).updateStateByKey(
                lambda new, old: sum(new) + (old or 0), 2, initial
            )
            h.collect(state.named("totals"), "state")

        directory = f"{checkpoint}-{len(seen)}"
        with StreamHarness(checkpoint=directory, conf=conf, setup=setup) as h:
            h.run(4)
            h.crash()
            h.restart()
            h.run(4)
            seen.append(
                (h.output("state").records, dict(h.ssc.state("totals").items()))
            )
            if conf is VERIFY:
                assert "updateStateByKey: columns" in fates(h)

    assert seen[0] == seen[1]
    assert seen[0][1]["b"] == 4


pairs = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-3, 3) | st.just(LARGE)), max_size=6
)


@given(st.lists(pairs, min_size=1, max_size=4))
@settings(max_examples=15)
@pytest.mark.slow
def test_any_batches_give_what_rows_give(batches: list[list[Any]]) -> None:
    """Windows, state and both joined, on data that overflows at times."""
    seen = []
    for conf in (VERIFY, OFF):
        with StreamHarness(conf={**conf, "spark.default.parallelism": "2"}) as h:
            stream = h.stream(batches, 2)
            counts = stream.reduceByKeyAndWindow(lambda a, b: a + b, None, 2, 1)
            least = stream.mapValues(lambda x: x % 5).reduceByKey(min)
            out = h.collect(counts.fullOuterJoin(least))
            h.run(len(batches) + 1)
            seen.append(out.records)

    assert seen[0] == seen[1]


def test_small_or_plain_joins_go_by_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objects are joined as they are; with columns on one side the other goes along."""
    conf = {"spark.millstream.columnar.rows.min": "100"}
    path = tmp_path / "words.txt"
    path.write_text("".join(f"word{n % 90}\n" for n in range(2000)))
    with StreamHarness(conf=conf) as h:
        counts = (
            h.sc.textFile(str(path), 1)
            .map(lambda w: (w, 1))
            .reduceByKey(lambda a, b: a + b, 1)
        )
        few = h.sc.parallelize([("word1", "a"), ("word2", "b")], 1)
        many = h.sc.parallelize([(f"word{n}", n) for n in range(200)], 1)
        for left, right, way in (
            (counts, few, "rows: fewer than 100 records"),
            (many, many, "rows: the records are Python objects"),
            (counts, many, "columns"),
        ):
            joined = left.join(right, 1)
            assert joined.count() == min(left.count(), right.count())
            joined.explain()
            assert capsys.readouterr().out.splitlines()[0].endswith(f": {way}")

"""Execution: each block its own way, one result, and a report that says why."""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from millstream.engine.columnar import execution
from millstream.engine.columnar.blocks import Columns, Frozen, rows_of
from millstream.engine.columnar.execution import Columnar, DifferenceError, Mode, verify
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.runs import Run
from millstream.engine.columnar.shapes import infer_shape, to_frame
from millstream.engine.plan import fusion
from millstream.engine.plan.partitions import FrozenRows, FrozenText, freeze
from millstream.engine.plan.steps import Filter, FlatMap, Map, Merge, Reduce, Step

WORDS: list[Step] = [FlatMap(lambda line: line.split(" ")), Map(lambda w: (w, 1))]
INVERSE: list[Step] = [Map(lambda x: ("k", 12 // x))]


def run(blocks: Iterable[Frozen], steps: Sequence[Step]) -> Run:
    """Return blocks and steps as a task has them."""
    keys = [repr(step).encode() for step in steps]
    return Run(blocks, 0, list(steps), keys, list(range(len(steps))))


def always(mode: Mode = Mode.ON) -> Columnar:
    """Return a rule that takes blocks of any size."""
    return Columnar(mode, 0)


def ways(report: StageReport) -> list[str]:
    """Return each step's fate in words."""
    return [fate.describe() for fate in report.steps.values()]


def test_text_goes_by_columns() -> None:
    """A word count over two blocks of bytes."""
    blocks = [FrozenText(b"a b\nb\n"), FrozenText(b"c\na")]
    report = StageReport()
    made = always().combine(run(blocks, WORDS), Reduce(operator.add), b"", report)

    assert isinstance(made, Columns)
    assert made.thaw() == [("a", 2), ("b", 2), ("c", 1)]
    assert ways(report) == ["columns", "columns"]


@pytest.mark.parametrize("merge", [operator.add, lambda a, b: b - a])
def test_blocks_of_text_are_reduced_together(
    merge: Callable[[Any, Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are few bytes, by columns or by rows; in their order."""
    monkeypatch.setattr(execution, "_TOGETHER_BYTES", 12)
    lines = [f"{n % 3} {n}\n".encode() for n in range(9)]
    blocks: list[Frozen] = [FrozenText(line) for line in lines]
    steps: list[Step] = [Map(lambda line: (line[:1], len(line)))]
    rows = [line.decode().strip() for line in lines]
    report = StageReport()
    columnar = always(Mode.VERIFY)
    columnar.combine(run(blocks, steps), Reduce(merge), b"", report)
    # Now the plan is known.
    made = columnar.combine(run(blocks, steps), Reduce(merge), b"", report)

    assert dict(made.thaw() if isinstance(made, Columns) else made) == dict(
        fusion.combine(rows, steps, Reduce(merge), 0)
    )
    assert columnar.count(run(blocks, steps), report) == 9


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_guard_sends_its_block_only(bad: int) -> None:
    """The others stay columns, and what comes out is as if all were rows."""
    blocks: list[FrozenRows] = [freeze([1, 2]), freeze([3, 4]), freeze([6])]
    blocks[bad] = freeze([2**70, 5])
    expected = fusion.combine(
        [x for block in blocks for x in block.thaw()], INVERSE, Reduce(max), 0
    )
    report = StageReport()
    made = always().combine(run(blocks, INVERSE), Reduce(max), b"", report)

    assert dict(made.thaw() if isinstance(made, Columns) else made) == expected


def test_a_failed_guard_is_reported_with_its_reason() -> None:
    """In how many blocks, too."""
    steps = [Map(lambda x: x + 1)]
    blocks = [freeze([1]), freeze([2**63 - 1]), freeze([3])]
    report = StageReport()
    made = [rows_of(each) for each in always().blocks(run(blocks, steps), report)]

    assert [list(rows) for rows in made] == [[2], [2**63], [4]]
    assert ways(report) == [
        "columns and rows: guard failed: an int of more than 64 bits in 1 of 3 blocks"
    ]


def test_sums_of_floats_wait_for_rows_among_them() -> None:
    """Added up in the order of the records, whichever way their blocks went."""
    steps = [Map(lambda x: ("k", x / 4))]
    blocks = [freeze([1, 3]), freeze([2**60, 5]), freeze([7])]
    expected = fusion.combine(
        [x for block in blocks for x in block.thaw()], steps, Reduce(operator.add), 0
    )
    made = always().combine(
        run(blocks, steps), Reduce(operator.add), b"", StageReport()
    )

    assert dict(made.thaw() if isinstance(made, Columns) else made) == expected


def test_combiners_of_blocks_that_went_both_ways() -> None:
    """Rows bring their first combiners, columns theirs."""
    mean = Merge(
        lambda v: (v, 1),
        lambda c, v: (c[0] + v, c[1] + 1),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
    )
    steps = [Map(lambda x: (x % 2, x + 1))]
    blocks = [freeze([1, 2]), freeze([2**63 - 1, 4]), freeze([5])]
    rows = [x for block in blocks for x in block.thaw()]
    made = always().combine(run(blocks, steps), mean, b"", StageReport())

    assert dict(made.thaw() if isinstance(made, Columns) else made) == dict(
        fusion.combine(rows, steps, mean, 0)
    )


def test_small_blocks_go_by_rows() -> None:
    """To start a query costs more than a few records."""
    report = StageReport()
    found = Columnar(rows_min=3).count(run([freeze([1, 2])], [Filter(bool)]), report)

    assert found == 2
    assert ways(report) == ["rows: a block of fewer than 3 records"]


def test_objects_become_columns_only_to_be_reduced() -> None:
    """What comes out as objects again had better stay objects."""
    columnar = Columnar(rows_min=1)
    steps = [Map(lambda x: x + 1)]
    report = StageReport()
    list(columnar.blocks(run([freeze([1, 2])], steps), report))

    assert ways(report) == ["rows: the records are Python objects"]

    report = StageReport()
    assert columnar.count(run([freeze([1, 2])], steps), report) == 2
    assert ways(report) == ["columns"]


def test_off_means_off() -> None:
    """No block goes by columns, and nobody says why."""
    report = StageReport()
    columnar = Columnar(Mode.OFF, 0)

    assert columnar.count(run([FrozenText(b"a\nb")], [Filter(bool)]), report) == 2
    assert not report.steps


def test_the_steps_left_over_are_rows() -> None:
    """Columns as far as they go."""
    seen: list[str] = []

    def note(word: str) -> str:
        seen.append(word)
        return word

    steps: list[Step] = [
        FlatMap(lambda line: line.split(" ")),
        Map(note),
        Map(len),
    ]
    report = StageReport()
    made = list(always().blocks(run([FrozenText(b"a bb\n")], steps), report))

    assert list(rows_of(made[0])) == [1, 2]
    assert seen == ["a", "bb"]
    assert ways(report)[0] == "columns"
    assert ways(report)[2] == "rows: a step before it takes rows"


def test_rows_are_made_one_by_one_where_somebody_may_stop() -> None:
    """An error behind what is asked for isn't met."""
    pieces = always().iterate(run([freeze([1, 0])], INVERSE), StageReport())

    assert next(pieces) == ("k", 12)
    with pytest.raises(ZeroDivisionError):
        next(pieces)


def columns(rows: Sequence[Any]) -> Columns:
    """Return rows as columns."""
    shape = infer_shape(rows)
    assert shape is not None
    return Columns(to_frame(rows, shape), shape)


@pytest.mark.parametrize(
    "buckets",
    [
        [columns([("a", 1)]), columns([("b", 2), ("a", 3)])],
        [columns([("a", 1)]), freeze([("b", 2), ("a", 3)])],
        [columns([("a", 1)]), columns([("a", 0.5)])],
        [columns([("a", 2**62)]), columns([("a", 2**62)])],
    ],
    ids=["columns", "some rows", "types", "overflow"],
)
def test_the_reduce_side_merges_whatever_came(buckets: list[Frozen]) -> None:
    """As a dict of all would be."""
    made = always().merge(buckets, operator.add, b"", StageReport())
    pairs = [pair for bucket in buckets for pair in bucket.thaw()]
    found = made.thaw() if isinstance(made, Columns) else list(made.items())

    assert found == list(fusion.combine(pairs, (), Reduce(operator.add), 0).items())


@pytest.mark.parametrize("rows", [[1, 2, 3], [2**62, 2**62], [0.1, 0.2, 0.3], [True]])
def test_totals_are_pythons(rows: list[Any]) -> None:
    """Large ints, floats and bools included."""
    found = always().total(run([freeze(rows)], [Map(lambda x: x)]), StageReport())

    assert repr(found) == repr(sum(rows))


def wrong(columnar: Columnar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let columns give what rows don't."""
    make: Callable[..., Any] = columnar.pipeline.columns_of

    def made(*args: Any) -> Columns:
        whole: Columns = make(*args)
        return Columns(whole.frame.head(1), whole.shape)

    monkeypatch.setattr(columnar.pipeline, "columns_of", made)


def test_verify_finds_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """And fails, with the records."""
    columnar = always(Mode.VERIFY)
    wrong(columnar, monkeypatch)
    made = columnar.blocks(run([freeze([1, 2])], [Map(lambda x: x + 1)]), StageReport())

    with pytest.raises(DifferenceError, match="columns gave 1 records and rows 2"):
        list(made)


@pytest.mark.parametrize(
    ("a", "b"), [(1, True), (1, 1.0), (0.0, -0.0), ((1,), [1]), ({"a": 1}, {"a": 2})]
)
def test_verify_minds_types(a: Any, b: Any) -> None:
    """What is equal for Python may still be another value."""
    with pytest.raises(DifferenceError):
        verify([a], [b], "map")
    verify([a], [a], "map")


def test_a_slip_of_ours_costs_speed_only(caplog: pytest.LogCaptureFixture) -> None:
    """The block goes by rows, and the log asks for a report; `verify` fails."""

    class Slipping:
        columnar_fields = ("gone",)
        calls = 0

        @property
        def gone(self) -> int:
            Slipping.calls += 1
            if Slipping.calls == 1:  # The translation asks first.
                msg = "a slip"
                raise RuntimeError(msg)
            return 1

        def __call__(self, x: int) -> int:
            return self.gone + x

    report = StageReport()
    made = list(always().blocks(run([freeze([1])], [Map(Slipping())]), report))

    assert made == [[2]]
    assert "translating it failed" in ways(report)[0]
    assert "please report it" in caplog.text

"""Tests of engine/columnar/zipping.py."""

import operator
from typing import Any

import pytest

from millstream.engine.columnar.blocks import Columns, Frozen
from millstream.engine.columnar.execution import Columnar, DifferenceError, Mode
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.zipping import folded, zipped
from millstream.engine.plan.kernels import Join, JoinKind, UpdateState
from millstream.engine.plan.partitions import freeze

PAIRS = [(n, n) for n in range(50)]


def columns(rows: list[Any]) -> Columns:
    """Return rows as columns."""
    made = gathered([rows])
    assert made is not None, "asked for rows only"
    return made


def reasons(report: StageReport) -> list[str]:
    """Return what a report says of each step."""
    return [line.partition(": ")[2] for line in report.lines()]


def test_a_refusal_stages_nothing_and_says_why() -> None:
    """The row path will stage what it finds."""
    staged: list[Any] = []
    kernel = UpdateState(
        lambda new, old: sum(new) + (old or 0), stage=lambda *args: staged.append(args)
    )
    columnar = Columnar(Mode.VERIFY, 0)
    report = StageReport()

    assert (
        zipped(columnar, kernel, 0, [[[(1, 2**63 - 1)]], [[(1, 1)]]], report, 1) is None
    )
    assert not staged
    assert reasons(report) == ["rows: guard failed: an int of more than 64 bits"]

    made = zipped(columnar, kernel, 3, [[[(1, 5), (2, 5)]], [[(1, 1)]]], report, 1)
    assert made is not None
    assert made.thaw() == [(1, 6), (2, 5)]
    assert staged == [(3, [(1, 6)], [], 2)]


def test_verify_compares_what_a_kernel_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference is an error."""
    from millstream.engine.columnar import joins

    wrong = columns([(1, (1, 2))])
    monkeypatch.setattr(joins, "join", lambda *_args: wrong)
    with pytest.raises(DifferenceError, match="after join"):
        zipped(
            Columnar(Mode.VERIFY, 0),
            Join(JoinKind.INNER),
            0,
            [[columns(PAIRS)], [columns(PAIRS)]],
            StageReport(),
            1,
        )


def test_reduced_blocks_are_folded_if_any_is_columns() -> None:
    """A small block of objects among them goes along; objects alone stay so."""
    columnar, report = Columnar(Mode.VERIFY, 10), StageReport()
    blocks: list[Frozen] = [columns(PAIRS), freeze([(1, 5), (99, 1)])]

    made = folded(columnar, blocks, operator.add, b"add", report)

    assert made is not None
    assert dict(made.thaw()) == {**dict(PAIRS), 1: 6, 99: 1}
    assert folded(columnar, [freeze(PAIRS)] * 2, operator.add, b"add", report) is None
    assert (
        folded(columnar, [columns(PAIRS * 2)] * 2, operator.add, b"add", report) is None
    )
    assert folded(Columnar(Mode.OFF), blocks, operator.add, b"add", report) is None

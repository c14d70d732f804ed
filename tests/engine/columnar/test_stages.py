"""Stages: several steps are one query, and guards are looked at in their place."""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.shapes import (
    TEXT,
    Kind,
    Plain,
    TupleOf,
    infer_shape,
    to_frame,
)
from millstream.engine.columnar.stages import (
    GuardFailed,
    StagePlan,
    height_of,
    plan_stage,
    projected,
)
from millstream.engine.plan import fusion
from millstream.engine.plan.steps import (
    Filter,
    FlatMap,
    FlatMapValues,
    Glom,
    KeyBy,
    Keys,
    Map,
    MapValues,
    Step,
    Values,
)


def planned(rows: Sequence[Any], *steps: Step) -> tuple[StagePlan, Any]:
    """Return a plan and what it makes of rows."""
    shape = infer_shape(rows)
    assert shape is not None
    frame = to_frame(rows, shape)
    plan = plan_stage(steps, shape, frame)
    return plan, plan.run(frame)


def run(rows: Sequence[Any], *steps: Step) -> list[Any]:
    """Return what steps, all of which must be known, make of rows."""
    plan, query = planned(rows, *steps)
    assert plan.lowered_count == len(steps), plan.refusal
    assert not isinstance(query, GuardFailed)
    assert height_of(query) == projected(query, plan.value).height
    return Columns(projected(query, plan.value), plan.shape).thaw()


LINES = ["a b", "", "c", "b b a"]


@pytest.mark.parametrize(
    "steps",
    [
        (FlatMap(lambda line: line.split(" ")), Map(lambda w: (w, 1))),
        (Map(lambda line: (line, len(line))), Keys()),
        (Map(lambda line: (line, len(line))), Values(), Filter(lambda n: n > 1)),
        (KeyBy(len), MapValues(lambda line: line.upper())),
        (KeyBy(len), FlatMapValues(lambda line: line.split(" "))),
        (KeyBy(len), FlatMapValues(lambda line: [(w, 1) for w in line.split(" ")])),
        (Filter(lambda line: line), Map(lambda line: line[0])),
        (Map(lambda line: 1),),
        (Map(lambda line: 1), Map(lambda n: n + 1), Filter(lambda n: n == 2)),
        (Map(lambda line: (None, "x")),),
        (Filter(lambda line: False), Map(lambda line: 1)),
    ],
    ids=[
        "words",
        "keys",
        "values",
        "key by",
        "flat values",
        "flat pairs",
        "kept first",
        "constant",
        "constants",
        "fixed",
        "none left",
    ],
)
def test_steps_in_a_row(steps: tuple[Step, ...]) -> None:
    """What comes out is what the row path gives, in its order."""
    assert run(LINES, *steps) == fusion.to_list(LINES, steps, 0)


def test_the_first_unknown_step_ends_the_plan() -> None:
    """Those before it go by columns; the reason is kept."""
    steps = (Map(len), Glom(), Map(lambda x: x))
    plan, query = planned(LINES, *steps)

    assert plan.lowered_count == 1
    assert plan.refusal == "glom works on a whole partition of rows"
    assert plan.shape == Plain(Kind.INT)
    assert projected(query, plan.value)["c0"].to_list() == [3, 0, 1, 5]


def test_a_guard_after_a_filter_sees_what_is_left() -> None:
    """Records that were dropped before can't break it."""
    steps = (Filter(lambda x: x != 0), Map(lambda x: 6 // x))

    assert run([3, 0, 2], *steps) == [2, 3]


def test_a_guard_names_its_step_and_reason() -> None:
    """Of several, the first one that failed."""
    _, query = planned([3, 0], Map(lambda x: x + 1), Map(lambda x: 6 // (x - 1)))

    assert query == GuardFailed(1, "a division by zero")


def test_a_plan_is_for_a_shape() -> None:
    """Without data at hand it is made of the shape alone."""
    plan = plan_stage((Map(lambda line: (line, len(line))),), TEXT)

    assert plan.shape == TupleOf((TEXT, Plain(Kind.INT)))
    assert plan.is_current


RATE = 2


def by_rate(x: int) -> int:
    """Use a name of this module."""
    return x * RATE


def test_a_plan_knows_when_its_constants_have_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A function that was imported looks into its module each time; so must a plan."""
    plan = plan_stage((Map(by_rate),), Plain(Kind.INT))

    assert plan.is_current
    monkeypatch.setitem(by_rate.__globals__, "RATE", 3)
    assert not plan.is_current


def test_a_plan_knows_when_its_function_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A function that travels by its name is whatever has that name then."""
    monkeypatch.setitem(sys.modules, by_rate.__module__, home := ModuleType("home"))
    vars(home).update(by_rate.__globals__)
    plan = plan_stage((Map(lambda x: by_rate(x)),), Plain(Kind.INT))

    assert plan.is_current
    vars(home)["by_rate"] = lambda x: x
    assert not plan.is_current


def test_an_error_of_ours_is_a_refusal_where_that_is_asked_for() -> None:
    """A slip in a translation needn't fail the job: rows can still do it."""

    class Broken:
        columnar_fields = ("gone",)

        def __call__(self, x: int) -> int:
            return self.gone + x  # type: ignore[attr-defined, no-any-return]

    slips: list[Exception] = []

    def note(error: Exception) -> str:
        slips.append(error)
        return "slipped"

    plan = plan_stage((Map(Broken()),), Plain(Kind.INT), on_slip=note)

    assert (plan.lowered_count, plan.refusal) == (0, "slipped")
    assert len(slips) == 1

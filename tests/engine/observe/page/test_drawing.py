"""Pictures of stages: every operator has a box, and no two boxes touch."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.reports import StageReport, StepFate
from millstream.engine.jobs.book import StageOperator, StageRecord
from millstream.engine.observe.page.drawing import (
    BOX_HEIGHT,
    BOX_WIDTH,
    draw,
    steps_of,
    way_of,
)


def stage(
    number: int, *operators: StageOperator, report: StageReport | None = None
) -> StageRecord:
    """Return a stage of these operators."""
    return StageRecord(
        number, 0, "stage", 1, operators=operators, report=report or StageReport()
    )


def operator(number: int, *parents: int, name: str = "map") -> StageOperator:
    """Return an operator."""
    return StageOperator(number, name, f"map at app.py:{number}", parents)


def test_nothing_is_drawn_of_nothing() -> None:
    """No stage, no size."""
    drawing = draw([])

    assert (drawing.width, drawing.height, drawing.frames) == (0, 0, ())


def test_children_are_below_their_parents() -> None:
    """And joined to them by a line."""
    drawing = draw([stage(1, operator(2, 1), operator(1))])
    child, parent = sorted(drawing.frames[0].boxes, key=lambda each: -each.y)

    assert child.operator.id == 2
    assert parent.operator.id == 1
    assert len(drawing.lines) == 1
    assert not drawing.lines[0].is_shuffle


def test_a_shuffle_is_in_both_stages_with_a_line_across() -> None:
    """Written in one, read in the other."""
    drawing = draw([stage(1, operator(2, 1), operator(1)), stage(2, operator(2, 1))])
    (across,) = [each for each in drawing.lines if each.is_shuffle]

    assert across.x1 < across.x2
    assert drawing.frames[0].x < drawing.frames[1].x


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12),
        max_size=4,
    )
)
def test_boxes_are_inside_their_stage_and_do_not_touch(
    graphs: list[list[tuple[int, int]]],
) -> None:
    """Whatever the graph."""
    stages = []
    for number, edges in enumerate(graphs):
        parents: dict[int, set[int]] = {}
        for one, other in edges:
            parents.setdefault(max(one, other), set()).update(
                {min(one, other)} - {max(one, other)}
            )
        operators = [operator(key, *sorted(of)) for key, of in parents.items()]
        stages.append(stage(number, *operators))
    drawing = draw(stages)

    boxes = [box for frame in drawing.frames for box in frame.boxes]
    assert len(boxes) == sum(len(each.operators) for each in stages)
    for frame in drawing.frames:
        assert frame.x + frame.width <= drawing.width
        for box in frame.boxes:
            assert frame.x <= box.x
            assert box.x + BOX_WIDTH <= frame.x + frame.width
            assert box.y + BOX_HEIGHT <= frame.height <= drawing.height
    for left, right in itertools.combinations(boxes, 2):
        assert (
            abs(left.x - right.x) >= BOX_WIDTH or abs(left.y - right.y) >= BOX_HEIGHT
        ), "two boxes touch"


def test_a_step_is_marked_with_its_way_and_why() -> None:
    """By columns, by rows, or some of each; the shuffle's own steps, too."""
    report = StageReport(
        {
            (3, "map"): StepFate("map", columns=2),
            (4, "filter"): StepFate("filter", rows=1, reasons=Counter({"a lambda": 1})),
        },
        {5: StepFate("by key", columns=1, rows=1, reasons=Counter({"few": 1}))},
    )
    record = stage(
        7, operator(3), operator(4, 3), operator(5, 4), operator(6, 5), report=report
    )
    boxes = {box.operator.id: box for box in draw([record]).frames[0].boxes}

    assert {key: box.way for key, box in boxes.items()} == {
        3: "columns",
        4: "rows",
        5: "mixed",
        6: "",
    }
    assert boxes[4].reason == "filter: rows: a lambda"
    assert [(each.name, each.way, each.site) for each in steps_of(record)] == [
        ("map", "columns", "map at app.py:3"),
        ("filter", "rows", "map at app.py:4"),
        ("by key", "mixed", "map at app.py:5"),
    ]
    assert way_of([]) == ""


def test_a_long_name_is_cut() -> None:
    """The whole of it is in the box's title."""
    (box,) = draw([stage(1, operator(1, name="x" * 40))]).frames[0].boxes

    assert len(box.name) == 22
    assert box.operator.name == "x" * 40

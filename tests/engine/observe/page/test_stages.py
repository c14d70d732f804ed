"""A stage's page tells of its tasks: summed up, on a time line, and in a table."""

from dataclasses import replace

from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.jobs.task_log import TaskLog, TaskRecord, TaskStatus, Traffic
from millstream.engine.observe.page.stages import LANES_MAX, stage_page, time_line

JOB = JobRecord(1, "collect at app.py:9", None, frozenset(), None)


def ran(partition: int, begun_ms: float, took_ms: float, **more: object) -> TaskRecord:
    """Return an attempt that succeeded."""
    made = TaskRecord(
        partition,
        partition,
        0,
        "worker process 9",
        begun_ms,
        took_ms,
        TaskStatus.SUCCESS,
        traffic=Traffic(rows_in=partition),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def a_stage(*records: TaskRecord, ended: int | None = None) -> StageRecord:
    """Return a stage that has ended."""
    log = TaskLog.of_records(records, (), len(records) if ended is None else ended)
    return StageRecord(
        3, 1, "collect", len(records), submitted_ms=1000, ended_ms=1100, tasks=log
    )


def test_the_summary_has_quartiles_of_what_is_known() -> None:
    """Of the tasks that succeeded; what nobody knows of has no row."""
    failed = ran(9, 1000, 9000, status=TaskStatus.FAILED, error="ValueError: no")
    records = [ran(number, 1000, number + 1) for number in range(4)]
    shown = stage_page(a_stage(*records, failed), JOB)

    assert [(each.name, each.values) for each in shown.spreads] == [
        ("Duration", ("1.00 ms", "2.00 ms", "3.00 ms", "4.00 ms", "4.00 ms")),
        ("Records In", ("0", "1", "2", "3", "3")),
    ]


def test_bars_are_where_and_when_tasks_ran() -> None:
    """A lane each worker, in the order of its number; in words, too."""
    line = time_line(
        [
            ran(0, 1000, 50, where="worker process 10"),
            ran(1, 1050, 50, where="worker process 9"),
            ran(2, 1000, 10, where="worker process 9"),
        ]
    )
    first, second = line.lanes

    assert (first.name, second.name) == ("worker process 9", "worker process 10")
    assert [(each.x, each.width) for each in first.bars] == [(0, 10), (50, 50)]
    assert [(each.x, each.width) for each in second.bars] == [(0, 50)]
    assert first.told == "2 succeeded; longest 50 ms"
    assert first.bars[1].title == "partition 1, attempt 0: succeeded, 50 ms"
    assert [each.text for each in line.ticks] == ["0", "50 ms", "100 ms"]


def test_bars_of_one_lane_dont_hide_each_other() -> None:
    """Those at the same time are below each other, and the next lane below them."""
    (lane,) = time_line([ran(0, 0, 10), ran(1, 5, 10), ran(2, 10, 10)]).lanes
    tops = [each.y for each in lane.bars]

    assert tops[0] == tops[2] < tops[1]


def test_a_task_of_no_time_can_be_seen() -> None:
    """At the end of the line, too."""
    (lane,) = time_line([ran(0, 0, 1000), ran(1, 1000, 0)]).lanes

    assert lane.bars[1].width > 0
    assert lane.bars[1].x + lane.bars[1].width <= 100


def test_lanes_that_arent_drawn_are_counted() -> None:
    """There may be many executors."""
    line = time_line([ran(n, 0, 1, where=f"executor {n}") for n in range(70)])

    assert len(line.lanes) == LANES_MAX
    assert line.left_out == 70 - LANES_MAX


def test_a_result_says_what_came_of_a_task() -> None:
    """Whether it was tried again, or was a copy."""
    shown = stage_page(
        a_stage(
            ran(0, 1000, 1, status=TaskStatus.FAILED, error="ValueError: no"),
            ran(0, 1002, 1, attempt=1),
            ran(1, 1000, 1, status=TaskStatus.KILLED, error="slow"),
            ran(1, 1001, 1, attempt=1, is_copy=True),
            ran(2, 1000, 1, status=TaskStatus.FAILED, error="ValueError: no"),
        ),
        JOB,
    )
    texts = [[cell.text for cell in row] for row in shown.tasks.rows]

    assert [row[3] for row in texts] == [
        "failed, tried again",
        "succeeded",
        "given up",
        "succeeded (second copy)",
        "failed",
    ]
    assert texts[0][-1] == "ValueError: no"
    assert shown.tasks.has_failed


def test_tasks_page_and_sort() -> None:
    """Names by the numbers in them."""
    records = [ran(n, 1000, n, where=f"executor {n}") for n in range(120)]
    query = {"tasks.sort": "Ran On", "tasks.page": "2"}
    shown = stage_page(a_stage(*records), JOB, query).tasks

    assert (shown.page, shown.page_count) == (2, 3)
    assert [row[2].text for row in shown.rows[:2]] == ["executor 50", "executor 51"]


def test_what_is_left_out_is_told() -> None:
    """Some of them, or all."""
    whole = stage_page(a_stage(ran(0, 1000, 1)), JOB)
    some = stage_page(a_stage(ran(0, 1000, 1), ended=2000), JOB)
    none = stage_page(a_stage(ended=2000), JOB)

    assert whole.note == ""
    assert some.note.startswith("1 of 2,000 attempts are shown")
    assert none.note.startswith("The times of 2,000 attempts are forgotten")
    assert none.line.lanes == ()
    assert none.spreads == ()

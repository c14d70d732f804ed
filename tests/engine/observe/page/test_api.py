"""Spark's paths are answered; here those of tasks, the others in test_app.py."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.engine.observe.observed import FakeApplication

from millstream.engine.base.clock import ManualClock
from millstream.engine.jobs.book import StageRecord
from millstream.engine.jobs.task_log import TaskLog, TaskStatus
from millstream.engine.observe.page.api import routes


@dataclass
class Staged(FakeApplication):
    """An application with one stage."""

    one: StageRecord = field(default_factory=lambda: StageRecord(1, 1, "collect", 30))

    def stages(self) -> Sequence[StageRecord]:
        return [self.one]


def ask(path: str, *, tasks: int = 30) -> httpx.Response:
    """Return the answer about a stage of tasks that took 0 to 29 ms."""
    log = TaskLog()
    for number in range(tasks):
        log.begin(number, 0, number, 0.0)
        log.end(number, 0, TaskStatus.SUCCESS, number / 1000)
    application = Staged(one=StageRecord(1, 1, "collect", 30, tasks=log))
    transport = httpx.ASGITransport(
        Starlette(routes=routes(application, ManualClock()))
    )

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost"
        ) as client:
            return await client.get(f"/api/v1/applications/local-1/stages/{path}")

    return asyncio.run(get())


def told(path: str) -> list[int]:
    """Return the tasks of an answer, by their numbers."""
    answer: list[dict[str, Any]] = ask(path).json()
    return [each["taskId"] for each in answer]


def test_twenty_tasks_are_told_of_unless_others_are_asked_for() -> None:
    """From the first, in the order of their numbers."""
    assert told("1/0/taskList") == list(range(20))
    assert told("1/0/taskList?offset=25&length=3") == [25, 26, 27]
    assert told("1/0/taskList?sortBy=-runtime&length=2") == [29, 28]
    assert told("1/0/taskList?sortBy=+runtime&length=2") == [0, 1]
    assert told("1/0/taskList?status=failed&status=running") == []


def test_a_summary_is_at_the_shares_that_are_asked_for() -> None:
    """Or at Spark's five."""
    assert ask("1/0/taskSummary?quantiles=0,1").json()["duration"] == [0, 29]
    assert ask("1/0/taskSummary").json()["quantiles"] == [0.05, 0.25, 0.5, 0.75, 0.95]


def test_a_stage_has_one_attempt() -> None:
    """Which is told of alone, not in a list."""
    assert ask("1/0").json()["stageId"] == 1
    assert ask("1/1").json() == {"error": "unknown attempt of stage 1: 1"}


@pytest.mark.parametrize(
    "path", ["2/0/taskList", "x/0/taskList", "1/1/taskList", "1/x/taskSummary"]
)
def test_what_isnt_there_is_404(path: str) -> None:
    """And the answer says what."""
    answer = ask(path)

    assert answer.status_code == 404
    assert answer.json()["error"].startswith("unknown ")


def test_before_a_task_has_succeeded_there_is_no_summary() -> None:
    """As in Spark."""
    assert ask("1/0/taskSummary", tasks=0).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "taskList?sortBy=size",
        "taskList?status=odd",
        "taskList?length=-1",
        "taskList?offset=x",
        "taskSummary?quantiles=2",
        "taskSummary?quantiles=a,b",
        "taskSummary?quantiles=nan",
    ],
)
def test_what_makes_no_sense_is_400(query: str) -> None:
    """And the answer says why."""
    answer = ask(f"1/0/{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]

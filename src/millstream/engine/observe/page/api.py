"""Api: Spark's monitoring REST paths, answered from an application."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from millstream.engine.base.clock import Clock
from millstream.engine.jobs.book import StageRecord
from millstream.engine.observe import rest, rest_tasks
from millstream.engine.observe.application import Application
from millstream.engine.observe.control import Control
from millstream.engine.observe.page.openapi import document
from millstream.engine.observe.page.refusals import (
    REFUSALS,
    NotFoundError,
    NotUnderstoodError,
    in_words,
    whole,
)
from millstream.engine.observe.progress import Batch, Picture

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

Answer: TypeAlias = Any
Parts: TypeAlias = Mapping[str, str]
_TASKS_MAX = 10_000
_QUANTILES_MAX = 1000
_STREAM = "/api/v1/applications/{app}/streaming"


class Api:
    """Answers by path; each takes the path's parts and the query."""

    def __init__(
        self, application: Application, clock: Clock, control: Control | None
    ) -> None:
        """Answer for `application`; `control` has its threads while it runs."""
        self._control = control
        self._application = application
        self._clock = clock

    def answers(
        self,
    ) -> dict[str, "Callable[[Parts, QueryParams], Answer]"]:
        """Return what answers each path, from the path's parts and the query."""
        one = "/api/v1/applications/{app}"
        return {
            "/api/v1/applications": lambda _, __: [self._describe()],
            one: self._one,
            f"{one}/jobs": self._jobs,
            f"{one}/jobs/{{job}}": self._job,
            f"{one}/stages": self._stages,
            f"{one}/stages/{{stage}}": self._stage,
            f"{one}/stages/{{stage}}/{{attempt}}": self._attempt,
            f"{one}/stages/{{stage}}/{{attempt}}/taskList": self._tasks,
            f"{one}/stages/{{stage}}/{{attempt}}/taskSummary": self._task_summary,
            f"{one}/environment": self._environment,
            f"{one}/storage/rdd": self._stored,
            f"{one}/executors/{{executor}}/threads": self._threads,
            f"{one}/actions": self._actions,
            f"{_STREAM}/statistics": self._statistics,
            f"{_STREAM}/receivers": self._receivers,
            f"{_STREAM}/receivers/{{input}}": self._receiver,
            f"{_STREAM}/batches": self._batches,
            f"{_STREAM}/batches/{{batch}}": self._batch,
            f"{_STREAM}/batches/{{batch}}/operations": self._operations,
            f"{_STREAM}/batches/{{batch}}/operations/{{output}}": self._operation,
            "/api/v1/openapi.json": lambda _, __: document(),
        }

    def _describe(self) -> Answer:
        return rest.application(self._application, self._clock.now_ms())

    def _check(self, parts: Parts) -> None:
        if parts["app"] != self._application.facts.id:
            msg = f"unknown app: {parts['app']}"
            raise NotFoundError(msg)

    def _one(self, parts: Parts, _: "QueryParams") -> Answer:
        self._check(parts)
        return self._describe()

    # Jobs and stages.

    def _jobs(self, parts: Parts, query: "QueryParams") -> Answer:
        self._check(parts)
        wanted = _wanted(query, ("RUNNING", "SUCCEEDED", "FAILED", "UNKNOWN"))
        stages = {each.id: each for each in self._application.stages()}
        jobs = self._application.jobs()
        return [rest.job(each, stages) for each in jobs if each.status in wanted]

    def _job(self, parts: Parts, _: "QueryParams") -> Answer:
        self._check(parts)
        number = _number(parts, "job")
        stages = {each.id: each for each in self._application.stages()}
        for job in self._application.jobs():
            if job.id == number:
                return rest.job(job, stages)
        msg = f"unknown job: {number}"
        raise NotFoundError(msg)

    def _stages(self, parts: Parts, query: "QueryParams") -> Answer:
        self._check(parts)
        wanted = _wanted(query, ("ACTIVE", "COMPLETE", "FAILED", "PENDING", "SKIPPED"))
        jobs = {each.id: each for each in self._application.jobs()}
        told = [
            rest.stage(each, jobs.get(each.job_id))
            for each in self._application.stages()
        ]
        return [each for each in told if each["status"] in wanted]

    def _found_stage(self, parts: Parts) -> StageRecord:
        self._check(parts)
        number = _number(parts, "stage")
        for stage in self._application.stages():
            if stage.id == number:
                return stage
        msg = f"unknown stage: {number}"
        raise NotFoundError(msg)

    def _found_attempt(self, parts: Parts) -> StageRecord:
        """Return a stage by one of its attempts, of which it has one."""
        stage = self._found_stage(parts)
        if str(stage.attempt) != parts["attempt"]:
            msg = f"unknown attempt of stage {stage.id}: {parts['attempt']}"
            raise NotFoundError(msg)
        return stage

    def _described(self, stage: StageRecord) -> Answer:
        jobs = {each.id: each for each in self._application.jobs()}
        return rest.stage(stage, jobs.get(stage.job_id))

    def _stage(self, parts: Parts, _: "QueryParams") -> Answer:
        # A list: of attempts.
        return [self._described(self._found_stage(parts))]

    def _attempt(self, parts: Parts, _: "QueryParams") -> Answer:
        return self._described(self._found_attempt(parts))

    def _tasks(self, parts: Parts, query: "QueryParams") -> Answer:
        length = whole(query, "length", otherwise=rest_tasks.LENGTH)
        with _understood():
            return rest_tasks.tasks(
                self._found_attempt(parts),
                offset=whole(query, "offset", otherwise=0),
                length=min(length, _TASKS_MAX),
                # A plus that nobody has quoted comes as a space.
                order=query.get("sortBy", "id").lstrip("+ "),
                statuses=query.getlist("status"),
            )

    def _task_summary(self, parts: Parts, query: "QueryParams") -> Answer:
        stage = self._found_attempt(parts)
        answer = rest_tasks.task_summary(stage, _quantiles(query))
        if answer is None:
            msg = f"unknown times: no task of stage {stage.id} has succeeded yet"
            raise NotFoundError(msg)
        return answer

    def _environment(self, parts: Parts, _: "QueryParams") -> Answer:
        self._check(parts)
        tables = self._application.facts.environment
        return {
            "sparkProperties": [list(e) for e in tables.get("Settings", {}).items()],
            **{
                name.lower(): dict(rows)
                for name, rows in tables.items()
                if name != "Settings"
            },
        }

    def _stored(self, parts: Parts, _: "QueryParams") -> Answer:
        self._check(parts)
        return [
            {
                "id": each.id,
                "name": each.name,
                "numPartitions": each.partition_count,
                "numCachedPartitions": each.stored_count,
                "storageLevel": each.level,
                "memoryUsed": each.memory_bytes,
                "diskUsed": each.disk_bytes,
            }
            for each in self._application.stored()
        ]

    def _threads(self, parts: Parts, _: "QueryParams") -> Answer:
        self._check(parts)
        if self._control is None or parts["executor"] != "driver":
            msg = f"no threads of executor {parts['executor']} are known"
            raise NotFoundError(msg)
        return [rest.thread(each) for each in self._control.threads()]

    def _actions(self, parts: Parts, _: "QueryParams") -> Answer:
        self._check(parts)
        return [rest.action(each) for each in self._application.actions()]

    # The stream.

    def _picture(self, parts: Parts) -> Picture:
        self._check(parts)
        picture = self._application.picture()
        if picture is None:
            msg = "the application has no stream that has started"
            raise NotFoundError(msg)
        return picture

    def _statistics(self, parts: Parts, _: "QueryParams") -> Answer:
        return rest.statistics(self._picture(parts), self._application.receiver_count())

    def _receivers(self, parts: Parts, _: "QueryParams") -> Answer:
        return rest.receivers(self._picture(parts), self._application.input_names())

    def _receiver(self, parts: Parts, _: "QueryParams") -> Answer:
        picture, number = self._picture(parts), _number(parts, "input")
        found = rest.receiver(picture, self._application.input_names(), number)
        if found is None:
            msg = f"unknown receiver: {number}"
            raise NotFoundError(msg)
        return found

    def _batches(self, parts: Parts, query: "QueryParams") -> Answer:
        picture = self._picture(parts)
        with _understood():
            return rest.batches(picture, tuple(query.getlist("status")))

    def _found(self, parts: Parts) -> tuple[Batch, int]:
        picture, number = self._picture(parts), _number(parts, "batch")
        found = picture.find(number)
        if found is None:
            msg = f"unknown batch: {number}"
            raise NotFoundError(msg)
        return found, picture.batch_ms

    def _batch(self, parts: Parts, _: "QueryParams") -> Answer:
        return rest.batch(*self._found(parts))

    def _operations(self, parts: Parts, _: "QueryParams") -> Answer:
        batch, _batch_ms = self._found(parts)
        jobs = self._jobs_of(batch)
        return [rest.operation(each, jobs.get(each.id, [])) for each in batch.outputs]

    def _operation(self, parts: Parts, _: "QueryParams") -> Answer:
        batch, _batch_ms = self._found(parts)
        number = _number(parts, "output")
        found = batch.info.outputs.get(number)
        if found is None:
            msg = f"unknown output operation: {number}"
            raise NotFoundError(msg)
        return rest.operation(found, self._jobs_of(batch).get(number, []))

    def _jobs_of(self, batch: Batch) -> dict[int, list[int]]:
        """Return the jobs of a batch by output operation."""
        time = str(batch.info.batch_ms)
        found: dict[int, list[int]] = {}
        for job in reversed(self._application.jobs()):
            if job.batch_time == time and job.output_id is not None:
                found.setdefault(int(job.output_id), []).append(job.id)
        return found


def _number(parts: Parts, name: str) -> int:
    text = parts[name]
    if not (text.isascii() and text.removeprefix("-").isdigit()) or len(text) > 18:
        msg = f"unknown {name}: {text}"
        raise NotFoundError(msg)
    return int(text)


def _wanted(query: "QueryParams", known: Sequence[str]) -> set[str]:
    asked = {each.upper() for each in query.getlist("status")}
    if asked - set(known):
        msg = f"status is one of {', '.join(known)}, not {', '.join(sorted(asked))}"
        raise NotUnderstoodError(msg)
    return asked or set(known)


def _quantiles(query: "QueryParams") -> Sequence[float]:
    text = query.get("quantiles")
    if text is None:
        return rest_tasks.QUANTILES
    parts = text.split(",")
    try:
        asked = [float(each) for each in parts]
    except ValueError:
        asked = [-1.0]
    if len(asked) > _QUANTILES_MAX or not all(0 <= each <= 1 for each in asked):
        msg = (
            f"quantiles are numbers from 0 to 1 with commas between, not '{text:.100}'"
        )
        raise NotUnderstoodError(msg)
    return asked


@contextmanager
def _understood() -> Iterator[None]:
    """Say of what makes no sense to who answers that the question is to blame."""
    try:
        yield
    except ValueError as error:
        raise NotUnderstoodError(str(error)) from error


def routes(
    application: Application, clock: Clock, control: Control | None = None
) -> "list[BaseRoute]":
    """Return the routes of the REST interface."""
    from starlette.responses import JSONResponse  # noqa: PLC0415  Heavy.
    from starlette.routing import Route  # noqa: PLC0415

    def respond(
        answer: "Callable[[Parts, QueryParams], Answer]",
    ) -> "Callable[[Request], Awaitable[Response]]":
        async def endpoint(request: "Request") -> "Response":
            try:
                return JSONResponse(answer(request.path_params, request.query_params))
            except REFUSALS as error:
                status, words = in_words(error)
                return JSONResponse({"error": words}, status)

        return endpoint

    return [
        Route(path, respond(answer))
        for path, answer in Api(application, clock, control).answers().items()
    ]

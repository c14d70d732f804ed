"""TaskApi: Spark's REST paths about the tasks of a stage, answered from an application."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.engine.jobs.book import StageRecord
from millstream.engine.observe import rest, rest_tasks
from millstream.engine.observe.application import Application

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_LENGTH_MAX = 10_000
_QUANTILES_MAX = 1000
_STAGE = "/api/v1/applications/{app}/stages/{stage}/{attempt}"


def routes(application: Application) -> "list[BaseRoute]":
    """Return the routes of one attempt of a stage, its tasks and their summary."""
    from starlette.responses import JSONResponse  # noqa: PLC0415  Heavy.
    from starlette.routing import Route  # noqa: PLC0415

    def endpoint(answer: Any) -> Any:
        async def respond(request: "Request") -> "Response":
            query = request.query_params
            try:
                stage = _find(application, request.path_params)
                return JSONResponse(
                    answer(application, stage, query, query.getlist("status"))
                )
            except LookupError as error:
                return JSONResponse({"error": str(error.args[0])}, 404)
            except ValueError as error:
                return JSONResponse({"error": str(error)}, 400)

        return respond

    return [
        Route(_STAGE, endpoint(_stage)),
        Route(f"{_STAGE}/taskList", endpoint(_tasks)),
        Route(f"{_STAGE}/taskSummary", endpoint(_summary)),
    ]


def _find(application: Application, parts: Mapping[str, str]) -> StageRecord:
    """Return a stage.

    Raises:
        LookupError: It isn't there, or no such attempt of it: a stage has one.
    """
    if parts["app"] != application.facts.id:
        msg = f"unknown app: {parts['app']}"
        raise LookupError(msg)
    for stage in application.stages():
        if str(stage.id) == parts["stage"]:
            if str(stage.attempt) != parts["attempt"]:
                msg = f"unknown attempt of stage {stage.id}: {parts['attempt']}"
                raise LookupError(msg)
            return stage
    msg = f"unknown stage: {parts['stage']}"
    raise LookupError(msg)


def _stage(
    application: Application, stage: StageRecord, _: Mapping[str, str], __: object
) -> rest.Answer:
    jobs = {each.id: each for each in application.jobs()}
    return rest.stage(stage, jobs.get(stage.job_id))


def _tasks(
    _: Application,
    stage: StageRecord,
    query: Mapping[str, str],
    statuses: Sequence[str],
) -> list[rest.Answer]:
    return rest_tasks.tasks(
        stage,
        offset=_whole(query, "offset", 0),
        length=_whole(query, "length", rest_tasks.LENGTH),
        # A plus that nobody has quoted comes as a space.
        order=query.get("sortBy", "id").lstrip("+ "),
        statuses=statuses,
    )


def _summary(
    _: Application, stage: StageRecord, query: Mapping[str, str], __: object
) -> rest.Answer:
    answer = rest_tasks.task_summary(stage, _quantiles(query))
    if answer is None:
        msg = f"unknown times: no task of stage {stage.id} has succeeded yet"
        raise LookupError(msg)
    return answer


def _whole(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        msg = f"{name} is a whole number, not '{text}'"
        raise ValueError(msg)
    return min(int(text), _LENGTH_MAX)


def _quantiles(query: Mapping[str, str]) -> Sequence[float]:
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
        raise ValueError(msg)
    return asked

"""App: the page of an application, as an ASGI application.

Nothing loads from another host, and no script is in the documents: the content-security
policy forbids both. Handlers run on the server's one thread, and block for milliseconds.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.engine.base.clock import Clock, SystemClock
from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe import health, prometheus
from millstream.engine.observe.application import Application
from millstream.engine.observe.control import Control
from millstream.engine.observe.page import api
from millstream.engine.observe.page.access import (
    LOOPBACKS,
    Access,
    Guard,
    KnownNames,
)
from millstream.engine.observe.page.actions import Actions
from millstream.engine.observe.page.batches import batch_page
from millstream.engine.observe.page.drawing import draw, steps_of
from millstream.engine.observe.page.feed import Feed
from millstream.engine.observe.page.history import action_table
from millstream.engine.observe.page.jobs import (
    job_tables,
    stage_tables,
    stored_table,
    summaries,
)
from millstream.engine.observe.page.overview import overview, tables
from millstream.engine.observe.page.refusals import NotUnderstoodError, whole
from millstream.engine.observe.page.stages import stage_page
from millstream.engine.observe.page.tables import Shown

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_HERE = Path(__file__).parent
_NEWS_S = 0.5
"""How often an open page is told what is new, at most."""
_QUIET_S = 15.0
"""How long a page may hear nothing: then a comment keeps the connection alive."""
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
_DESCRIPTION = "/api/v1/openapi.json"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Not no-referrer: then browsers wouldn't say, either, whose form it is that they send.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

Endpoint = Callable[["Request"], Awaitable["Response"]]


def make_app(
    application: Application,
    *,
    clock: Clock | None = None,
    stopping: asyncio.Event | None = None,
    allowed_hosts: tuple[str, ...] = LOOPBACKS,
    control: Control | None = None,
    access: Access | None = None,
) -> "Starlette":
    """Return the page of `application`; streams of news end when `stopping` is set.

    Requests whose Host isn't one of `allowed_hosts` are refused: a site that somebody
    visits can't read the page by pointing a name of its own here. `*` allows all. Who has
    `access` may do things by `control`; without either, the page is read-only.
    """
    from starlette.applications import Starlette  # noqa: PLC0415  Heavy.
    from starlette.middleware import Middleware  # noqa: PLC0415

    access = access or Access()
    page = _Page(
        application,
        clock or SystemClock(),
        stopping or asyncio.Event(),
        control,
        access,
    )
    hosts = Middleware(KnownNames, names=allowed_hosts)
    headers = Middleware(_Headers, has_forms=access.is_writable)
    return Starlette(
        routes=page.routes(),
        middleware=[headers, hosts, Middleware(Guard, access=access)],
        exception_handlers={404: page.not_found, 405: page.not_allowed},
    )


class _Headers:
    """Adds the headers that every answer has."""

    def __init__(self, app: Any, has_forms: bool) -> None:
        self._app = app
        told = dict(HEADERS)
        if has_forms:
            policy = told["content-security-policy"]
            told["content-security-policy"] = policy.replace(
                "form-action 'none'", "form-action 'self'"
            )
        self._added = [(k.encode(), v.encode()) for k, v in told.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


@dataclass(slots=True)
class _Page:
    """The handlers, and what they read."""

    application: Application
    clock: Clock
    stopping: asyncio.Event
    control: Control | None
    access: Access
    actions: Actions = field(init=False)
    _templates: "Environment | None" = None

    def __post_init__(self) -> None:
        self.actions = Actions(self.application, self.control, self.access, self.render)

    def routes(self) -> "list[BaseRoute]":
        from starlette.routing import Route  # noqa: PLC0415  Heavy.

        return [
            Route("/", self.home),
            Route("/streaming/", self.streaming),
            Route("/streaming/batch/", self.batch),
            Route("/streaming/news", self.streaming_news),
            Route("/news", self.news),
            Route("/jobs/", self.jobs),
            Route("/jobs/job/", self.job),
            Route("/stages/", self.stages),
            Route("/stages/stage/", self.stage),
            Route("/storage/", self.storage),
            Route("/environment/", self.environment),
            *(
                Route(f"/static/{file.name}", _static(file))
                for file in sorted((_HERE / "static").iterdir())
                if file.suffix in _TYPES
            ),
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            *api.routes(self.application, self.clock, self.control),
            *self.actions.routes(),
        ]

    async def metrics(self, _: "Request") -> "Response":
        from starlette.responses import PlainTextResponse, Response  # noqa: PLC0415

        try:
            text = prometheus.exposition(self.application)
        except MissingDependencyError as error:
            return PlainTextResponse(f"{error}\nhint: {error.hint}\n", 501)
        return Response(text, headers={"content-type": prometheus.CONTENT_TYPE})

    async def healthz(self, request: "Request") -> "Response":
        try:
            limit = _limit(request, "busy", health.BUSY_S_MAX)
        except NotUnderstoodError as error:
            return _health("error", error)
        return _health("live", health.liveness(self.application, busy_s_max=limit))

    async def readyz(self, request: "Request") -> "Response":
        try:
            limit = _limit(request, "behind", health.INTERVALS_MAX)
        except NotUnderstoodError as error:
            return _health("error", error)
        now_ms = self.clock.now_ms()
        return _health(
            "ready",
            health.readiness(self.application, now_ms, intervals_max=limit),
        )

    def render(self, template: str, status: int = 200, **values: Any) -> "Response":
        from starlette.responses import HTMLResponse  # noqa: PLC0415  Heavy.

        if self._templates is None:
            self._templates = _environment()
        text = self._templates.get_template(template).render(
            facts=self.application.facts,
            has_stream=self.application.picture() is not None,
            is_over=self.application.ended_ms is not None,
            has_sign_in=self.access.is_writable,
            has_threads=self.control is not None,
            version=self.application.version,
            **values,
        )
        return HTMLResponse(text, status, headers={"cache-control": "no-store"})

    async def not_found(self, request: "Request", _: Exception) -> "Response":
        message = f"There is nothing at {request.url.path}"
        if _is_for_programs(request):
            return _refused(f"{message}; {_DESCRIPTION} says what there is", 404)
        return self._missing(message)

    async def not_allowed(self, request: "Request", error: Exception) -> "Response":
        headers: dict[str, str] = getattr(error, "headers", None) or {}
        message = f"{request.url.path} isn't there for {request.method}"
        if _is_for_programs(request):
            message = f"{message}, but for {headers.get('Allow', 'others')}"
            return _refused(message, 405, headers)
        answer = self._missing(message, 405, title="Not possible")
        answer.headers.update(headers)
        return answer

    def _missing(
        self, message: str, status: int = 404, title: str = "Not found"
    ) -> "Response":
        return self.render("message.html", status, title=title, message=message)

    async def home(self, _: "Request") -> "Response":
        from starlette.responses import RedirectResponse  # noqa: PLC0415  Heavy.

        has_stream = self.application.picture() is not None
        return RedirectResponse("/streaming/" if has_stream else "/jobs/")

    def _done(self, query: Mapping[str, str]) -> Shown:
        return action_table(self.application.actions(), query)

    # The stream.

    async def streaming(self, request: "Request") -> "Response":
        picture = self.application.picture()
        if picture is None:
            return self.render(
                "message.html",
                title="Streaming Statistics",
                message="No stream has started in this application.",
            )
        shown = overview(self.application, picture, self.clock.now_ms())
        query = _query(request)
        return self.render(
            "streaming.html",
            shown=shown,
            tables=(*tables(picture, query), self._done(query)),
            buttons=self.actions.of_stream(),
            is_paused=self.control is not None and self.control.is_paused,
            is_stopping=self.control is not None and self.control.is_stopping,
        )

    async def batch(self, request: "Request") -> "Response":
        text = request.query_params.get("id")
        if text is None:
            return self._missing("Missing id parameter", 400)
        picture = self.application.picture()
        number = _number(text)
        found = None if picture is None or number is None else picture.find(number)
        if picture is None or found is None:
            return self._missing(f"Batch {text} does not exist")
        shown = batch_page(self.application, picture, found)
        jobs = {each.id: each for each in self.application.jobs()}
        listed = stage_tables(tuple(reversed(shown.stages)), jobs, _query(request))
        return self.render(
            "batch.html", shown=shown, tables=listed, **_drawn(shown.stages)
        )

    # Programs without a stream, too.

    async def jobs(self, request: "Request") -> "Response":
        query = _query(request)
        return self.render(
            "tables.html",
            title="Jobs",
            buttons=self.actions.of_jobs(self.application.jobs()),
            tables=(*job_tables(self.application, query), self._done(query)),
            empty="No job has run yet.",
        )

    async def job(self, request: "Request") -> "Response":
        text = request.query_params.get("id")
        if text is None:
            return self._missing("Missing id parameter", 400)
        number = _number(text)
        found = next((e for e in self.application.jobs() if e.id == number), None)
        if found is None:
            return self._missing(f"Job {text} does not exist")
        known = {each.id: each for each in self.application.stages()}
        stages = tuple(known[each] for each in found.stage_ids if each in known)
        (summary,) = summaries([found], known)
        tables = stage_tables(
            tuple(reversed(stages)), {found.id: found}, _query(request)
        )
        buttons = (*self.actions.of_jobs([found]), *self.actions.of_stages(stages))
        return self.render(
            "job.html",
            summary=summary,
            buttons=buttons,
            tables=tables,
            **_drawn(stages),
        )

    async def stages(self, request: "Request") -> "Response":
        jobs: dict[int, JobRecord] = {each.id: each for each in self.application.jobs()}
        return self.render(
            "tables.html",
            title="Stages",
            buttons=self.actions.of_stages(self.application.stages()),
            tables=stage_tables(self.application.stages(), jobs, _query(request)),
            empty="No stage has run yet.",
        )

    async def stage(self, request: "Request") -> "Response":
        text = request.query_params.get("id")
        if text is None:
            return self._missing("Missing id parameter", 400)
        number = _number(text)
        found = next((e for e in self.application.stages() if e.id == number), None)
        if found is None:
            return self._missing(f"Stage {text} does not exist")
        jobs = {each.id: each for each in self.application.jobs()}
        shown = stage_page(found, jobs.get(found.job_id), _query(request))
        buttons = self.actions.of_stages((found,))
        return self.render(
            "stage.html", shown=shown, buttons=buttons, **_drawn((found,))
        )

    async def storage(self, request: "Request") -> "Response":
        stored = self.application.stored()
        return self.render(
            "tables.html",
            title="Storage",
            tables=(stored_table(stored, _query(request)),),
            empty="No RDD is kept: persist() or cache() keeps one.",
        )

    async def environment(self, _: "Request") -> "Response":
        return self.render("environment.html")

    # News.

    async def streaming_news(self, _: "Request") -> "Response":
        return _events(self._messages())

    async def _messages(self) -> AsyncIterator[str | None]:
        feed = Feed(self.application, self.clock)
        while True:
            message = feed.next_message()
            yield (
                None if message is None else json.dumps(message, separators=(",", ":"))
            )
            if await self._is_over():
                return

    async def news(self, request: "Request") -> "Response":
        known = _number(request.query_params.get("since", "")) or 0
        return _events(self._versions(known))

    async def _versions(self, known: int) -> AsyncIterator[str | None]:
        while True:
            version = self.application.version
            yield str(version) if version > known else None
            known = version
            # What hears of this asks for the page again: half as often will do.
            if await self._is_over() or await self._is_over():
                return

    async def _is_over(self) -> bool:
        """Wait a little; say whether the server stops."""
        try:
            await asyncio.wait_for(self.stopping.wait(), _NEWS_S)
        except TimeoutError:
            return False
        return True


def _events(messages: AsyncIterator[str | None]) -> "Response":
    """Return server-sent events; None is nothing new."""
    from starlette.responses import StreamingResponse  # noqa: PLC0415  Heavy.

    async def lines() -> AsyncIterator[bytes]:
        quiet_s = _QUIET_S  # The first answer comes at once.
        async for message in messages:
            if message is not None:
                quiet_s = 0.0
                yield f"data: {message}\n\n".encode()
            elif quiet_s >= _QUIET_S:
                quiet_s = 0.0
                yield b": nothing new\n\n"
            quiet_s += _NEWS_S

    return StreamingResponse(
        lines(), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


def _static(file: Path) -> Endpoint:
    from starlette.responses import Response  # noqa: PLC0415  Heavy.

    content = file.read_bytes()

    async def static(_: "Request") -> "Response":
        return Response(
            content,
            media_type=_TYPES[file.suffix],
            headers={"cache-control": "no-cache"},
        )

    return static


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _is_for_programs(request: "Request") -> bool:
    return request.url.path.startswith("/api/")


def _refused(
    error: str, status: int, headers: Mapping[str, str] | None = None
) -> "Response":
    from starlette.responses import JSONResponse  # noqa: PLC0415  Heavy.

    return JSONResponse({"error": error}, status, headers=headers)


def _query(request: "Request") -> Mapping[str, str]:
    return dict(request.query_params)


def _limit(request: "Request", name: str, default: int) -> int:
    """Return the limit that a probe asks with."""
    return whole(request.query_params, name, least=1, otherwise=default)


def _health(what: str, found: health.Health | NotUnderstoodError) -> "Response":
    """Return a probe's answer; an error is of a question that can't be understood."""
    from starlette.responses import JSONResponse  # noqa: PLC0415  Heavy.

    never_kept = {"cache-control": "no-store"}
    if isinstance(found, NotUnderstoodError):
        return JSONResponse({what: str(found)}, 400, headers=never_kept)
    return JSONResponse(
        {what: found.is_good, "reasons": [*found.reasons]},
        200 if found.is_good else 503,
        headers=never_kept,
    )


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    return (
        int(text) if digits.isascii() and digits.isdigit() and len(text) < 19 else None
    )


def _drawn(stages: tuple[StageRecord, ...]) -> dict[str, Any]:
    return {
        "drawing": draw(stages),
        "steps": [step for stage in stages for step in steps_of(stage)],
    }

"""Actions: what the page does to the program: by forms that ask first, and by REST.

Each is begun by a request that `Access` has let through. A form works without scripts: a
button leads to a page that asks, and that one's button does it.
"""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    ItemsView,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote

from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import Application
from millstream.engine.observe.control import Control, NotNowError
from millstream.engine.observe.page.access import SIGN_IN, Access
from millstream.engine.observe.page.refusals import (
    REFUSALS,
    NotUnderstoodError,
    in_words,
    whole,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_FORM = "application/x-www-form-urlencoded"
_FORM_BYTES_MAX = 10_000
_BUTTONS_MAX = 20
T = TypeVar("T")
Render = Callable[..., "Response"]
Endpoint = Callable[["Request"], Awaitable["Response"]]
Given = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Button:
    """What leads to the page that asks."""

    label: str
    link: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the ways in which something may be done."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that can be done."""

    name: str
    question: str
    """What is asked first; `{id}` is what it is done to."""
    consequence: str
    label: str
    """What the button says."""
    back: str
    """Where one is afterwards."""
    do: Callable[[Control, Given, str], str]
    field: str = ""
    """What else is asked for: a key of what is given."""
    choices: tuple[Choice, ...] = ()


def _is_graceful(given: Given) -> bool:
    text = given.get("graceful", "true").lower()
    if text not in {"true", "false"}:
        msg = f"graceful is true or false, not '{text}'"
        raise NotUnderstoodError(msg)
    return text == "true"


STOP = Deed(
    "stop-stream",
    "Stop the stream?",
    "Gracefully, what has been received is processed first. At once, jobs are cancelled; "
    "with a checkpoint, their batches run again after a restart. The program goes on behind "
    "awaitTermination().",
    "Stop the stream",
    "/streaming/",
    lambda control, given, by: control.stop_stream(
        gracefully=_is_graceful(given), by=by
    ),
    "graceful",
    (Choice("true", "gracefully"), Choice("false", "at once")),
)
HURRY = Deed(
    "stop-at-once",
    "Stop the stream at once?",
    "What waits isn't processed any more, and jobs are cancelled; with a checkpoint, their "
    "batches run again after a restart. A graceful stop waits no longer.",
    "Stop at once",
    "/streaming/",
    lambda control, _, by: control.stop_stream(gracefully=False, by=by),
)
PAUSE = Deed(
    "pause-batches",
    "Pause the batches?",
    "What runs goes on. Later batches wait, and so do receivers; nothing is lost. "
    "Afterwards the batches that waited run first, each of them.",
    "Pause",
    "/streaming/",
    lambda control, _, by: control.pause_batches(by=by),
)
RESUME = Deed(
    "resume-batches",
    "Resume the batches?",
    "The batches that waited run first, each of them.",
    "Resume",
    "/streaming/",
    lambda control, _, by: control.resume_batches(by=by),
)
LIMIT = Deed(
    "limit-input",
    "Limit input {id}?",
    "It takes in so many records a second at most, until it is told otherwise or the "
    "program starts again. Settings that allow less still hold; so does back-pressure.",
    "Limit",
    "/streaming/",
    lambda control, given, by: control.limit_input(
        whole(given, "id"), whole(given, "rate", least=1), by=by
    ),
    "rate",
)
UNLIMIT = Deed(
    "remove-limit",
    "Remove the limit of input {id}?",
    "It takes in as much as settings and back-pressure allow.",
    "Remove the limit",
    "/streaming/",
    lambda control, given, by: control.unlimit_input(whole(given, "id"), by=by),
)
KILL_JOB = Deed(
    "kill-job",
    "Kill job {id}?",
    "It fails, and with it the batch or the call that it belongs to.",
    "Kill the job",
    "/jobs/job/?id={id}",
    lambda control, given, by: control.kill_job(whole(given, "id"), by=by),
)
KILL_STAGE = Deed(
    "kill-stage",
    "Kill stage {id}?",
    "Its job fails, and with it the batch or the call that the job belongs to.",
    "Kill the stage",
    "/stages/",
    lambda control, given, by: control.kill_stage(whole(given, "id"), by=by),
)
_DEEDS = (STOP, HURRY, PAUSE, RESUME, LIMIT, UNLIMIT, KILL_JOB, KILL_STAGE)

_APPLICATION = "/api/v1/applications/{app}"
_LIMIT = f"{_APPLICATION}/streaming/receivers/{{input}}/limit"
REST: Mapping[tuple[str, str], tuple[Deed, str]] = {
    ("POST", f"{_APPLICATION}/streaming/stop"): (STOP, ""),
    ("POST", f"{_APPLICATION}/streaming/pause"): (PAUSE, ""),
    ("POST", f"{_APPLICATION}/streaming/resume"): (RESUME, ""),
    ("POST", _LIMIT): (LIMIT, "input"),
    ("DELETE", _LIMIT): (UNLIMIT, "input"),
    ("POST", f"{_APPLICATION}/jobs/{{job}}/kill"): (KILL_JOB, "job"),
    ("POST", f"{_APPLICATION}/stages/{{stage}}/kill"): (KILL_STAGE, "stage"),
}
"""What is done by each method at each path, and which part of it is the id."""


class Actions:
    """The handlers of what may be done, and the buttons that lead there."""

    def __init__(
        self,
        application: Application,
        control: Control | None,
        access: Access,
        render: Render,
    ) -> None:
        """Act on `application` by `control`; None: it is over."""
        self._application = application
        self._control = control
        self._access = access
        self._render = render

    @property
    def is_offered(self) -> bool:
        """Whether buttons are shown."""
        is_over = self._application.ended_ms is not None
        return self._control is not None and self._access.is_writable and not is_over

    # Buttons.

    def of_stream(self) -> tuple[Button, ...]:
        """Return what may be done to the stream."""
        picture = self._application.picture()
        if self._control is None or not self.is_offered or picture is None:
            return ()
        if self._control.is_stopping:
            return (Button("Stop at once…", f"/actions/{HURRY.name}/"),)
        pausing = (
            Button("Resume batches…", f"/actions/{RESUME.name}/")
            if self._control.is_paused
            else Button("Pause batches…", f"/actions/{PAUSE.name}/")
        )
        limited = self._control.limits
        limits = [
            button
            for key, name in self._application.input_names().items()
            for button in _of_input(key, name, is_limited=key in limited)
        ]
        stop = Button("Stop the stream…", f"/actions/{STOP.name}/")
        return (stop, pausing, *limits[:_BUTTONS_MAX])

    def of_jobs(self, jobs: Sequence[JobRecord]) -> tuple[Button, ...]:
        """Return how those of `jobs` can be killed that run, the newest few."""
        if not self.is_offered:
            return ()
        running = [each for each in jobs if each.status == "RUNNING"]
        return tuple(
            Button(f"Kill job {each.id}…", f"/actions/{KILL_JOB.name}/?id={each.id}")
            for each in running[:_BUTTONS_MAX]
        )

    def of_stages(self, stages: Sequence[StageRecord]) -> tuple[Button, ...]:
        """Return how those of `stages` can be killed that run, the newest few."""
        if not self.is_offered:
            return ()
        running = {
            each.id for each in self._application.jobs() if each.ended_ms is None
        }
        active = [e for e in stages if e.ended_ms is None and e.job_id in running]
        return tuple(
            Button(f"Kill stage {e.id}…", f"/actions/{KILL_STAGE.name}/?id={e.id}")
            for e in active[:_BUTTONS_MAX]
        )

    # Routes.

    def routes(self) -> "list[BaseRoute]":
        """Return the pages that ask, what they lead to, signing in, and REST."""
        from starlette.routing import Route  # noqa: PLC0415  Heavy.

        signing_in = [
            Route(SIGN_IN, self._show_sign_in),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            Route("/logout/", self._sign_out, methods=["POST"]),
        ]
        return [
            *(signing_in if self._access.is_writable else ()),
            *(
                _route(
                    f"/actions/{deed.name}/",
                    {"GET": self._asking(deed), "POST": self._doing(deed)},
                )
                for deed in _DEEDS
            ),
            *(
                _route(path, {method: self._answering(*told) for method, told in each})
                for path, each in _by_path(REST)
            ),
            Route("/executors/threadDump/", self._show_threads),
        ]

    async def _begin(self, deed: Deed, given: Given, request: "Request") -> str:
        if self._control is None:
            msg = "the program is over: this is its event log"
            raise NotNowError(msg)
        by = "somebody" if request.client is None else request.client.host
        # Not here: to tell a receiver's process may take a moment.
        return await asyncio.to_thread(deed.do, self._control, given, by)

    def _answering(
        self, deed: Deed, part: str
    ) -> "Callable[[Request], Awaitable[Response]]":
        from starlette.responses import JSONResponse  # noqa: PLC0415  Heavy.

        async def answer(request: "Request") -> "Response":
            application = request.path_params["app"]
            if application != self._application.facts.id:
                return JSONResponse({"error": f"unknown app: {application}"}, 404)
            try:
                given = {**request.query_params, **await _form(request)}
                _check_known(given, {deed.field} if deed.field else set())
                if part:
                    given["id"] = request.path_params[part]
                return JSONResponse(
                    {"done": await self._begin(deed, given, request)}, 202
                )
            except REFUSALS as error:
                status, words = in_words(error)
                return JSONResponse({"error": words}, status)

        return answer

    def _asking(self, deed: Deed) -> "Callable[[Request], Awaitable[Response]]":
        from starlette.responses import RedirectResponse  # noqa: PLC0415  Heavy.

        async def ask(request: "Request") -> "Response":
            if not self.is_offered:
                return self._render(
                    "message.html",
                    404,
                    title="Read-only",
                    message="Nothing can be done to this program from its page: it is "
                    "over, or was started without a token.",
                )
            if not self._access.knows(request.headers):
                where = f"{request.url.path}?{request.url.query}".rstrip("?")
                return RedirectResponse(f"{SIGN_IN}?next={quote(where, safe='')}", 303)
            identity = request.query_params.get("id", "")
            try:
                if "{id}" in deed.question:
                    whole(request.query_params, "id")
            except NotUnderstoodError as error:
                return self._not_done(error)
            return self._render(
                "confirm.html",
                deed=deed,
                id=identity,
                question=deed.question.format(id=identity),
                back=deed.back.format(id=identity),
            )

        return ask

    def _doing(self, deed: Deed) -> "Callable[[Request], Awaitable[Response]]":
        from starlette.responses import RedirectResponse  # noqa: PLC0415  Heavy.

        async def do(request: "Request") -> "Response":
            try:
                given = {**request.query_params, **await _form(request)}
                _check_known(given, {"id", deed.field})
                await self._begin(deed, given, request)
            except REFUSALS as error:
                return self._not_done(error)
            # The id is a number: it has been looked for.
            to = deed.back.format(id=given.get("id", ""))
            return RedirectResponse(to, 303)

        return do

    def _not_done(self, error: Exception) -> "Response":
        status, words = in_words(error)
        return self._render("message.html", status, title="Not done", message=words)

    # Signing in.

    async def _show_sign_in(self, request: "Request") -> "Response":
        """Show the form; who comes with the token in the address is in at once."""
        token = request.query_params.get("token")
        to = _local(request.query_params.get("next", "/"))
        if token is not None:
            return self._let_in(token, to)
        is_in = self._access.knows(request.headers)
        return self._render("login.html", is_in=is_in, next=to, error="")

    async def _sign_in(self, request: "Request") -> "Response":
        try:
            given = await _form(request)
        except NotUnderstoodError as error:
            return self._render(
                "login.html", 400, is_in=False, next="/", error=str(error)
            )
        return self._let_in(given.get("token", ""), _local(given.get("next", "/")))

    def _let_in(self, token: str, to: str) -> "Response":
        from starlette.responses import RedirectResponse  # noqa: PLC0415  Heavy.

        if not self._access.is_token(token.strip()):
            self._access.note_wrong_token()
            error = "That isn't the token of this page."
            return self._render("login.html", 403, is_in=False, next=to, error=error)
        cookie = {"set-cookie": self._access.cookie(), "cache-control": "no-store"}
        return RedirectResponse(to, 303, headers=cookie)

    async def _sign_out(self, _: "Request") -> "Response":
        from starlette.responses import RedirectResponse  # noqa: PLC0415  Heavy.

        return RedirectResponse(
            SIGN_IN, 303, headers={"set-cookie": self._access.no_cookie()}
        )

    # Threads.

    async def _show_threads(self, request: "Request") -> "Response":
        """Show where each thread is."""
        executor = request.query_params.get("executorId", "driver")
        if self._control is None or executor != "driver":
            return self._render(
                "message.html",
                404,
                title="Not found",
                message=f"No threads of executor {executor} are known",
            )
        return self._render("threads.html", threads=self._control.threads())


def _of_input(key: int, name: str, *, is_limited: bool) -> tuple[Button, ...]:
    limit = Button(f"Limit {name}…", f"/actions/{LIMIT.name}/?id={key}")
    remove = Button(
        f"Remove the limit of {name}…", f"/actions/{UNLIMIT.name}/?id={key}"
    )
    return (limit, remove) if is_limited else (limit,)


def _by_path(
    told: Mapping[tuple[str, str], T],
) -> "ItemsView[str, list[tuple[str, T]]]":
    """Return what is done at each path, by method."""
    found: dict[str, list[tuple[str, T]]] = {}
    for (method, path), each in told.items():
        found.setdefault(path, []).append((method, each))
    return found.items()


def _route(path: str, by_method: "Mapping[str, Endpoint]") -> "BaseRoute":
    """Return one route: then who uses another method is told of all that there are."""
    from starlette.routing import Route  # noqa: PLC0415  Heavy.

    async def answer(request: "Request") -> "Response":
        method = "GET" if request.method == "HEAD" else request.method
        return await by_method[method](request)

    return Route(path, answer, methods=[*by_method])


def _check_known(given: Given, known: Collection[str]) -> None:
    """Refuse what nobody would look at: it may be a word that is misspelt.

    Raises:
        NotUnderstoodError: Something else than `known` is given.
    """
    for name in given:
        if name not in known:
            told = ", ".join(sorted(filter(None, known))) or "none"
            msg = f"there is no parameter '{name:.40}' here; those there are: {told}"
            raise NotUnderstoodError(msg)


async def _form(request: "Request") -> dict[str, str]:
    """Return what a form has sent.

    Raises:
        NotUnderstoodError: It is larger than any of the page's forms, no form, or ends
            before its end.
    """
    from starlette.requests import ClientDisconnect  # noqa: PLC0415  Heavy.

    data = b""
    try:
        async for part in request.stream():
            data += part
            if len(data) > _FORM_BYTES_MAX:
                msg = f"a form has {_FORM_BYTES_MAX} bytes at most"
                raise NotUnderstoodError(msg)
    except ClientDisconnect as error:
        msg = "the form wasn't sent to its end"
        raise NotUnderstoodError(msg) from error
    kind = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    if data and kind != _FORM:
        msg = f"what is sent should be of the type {_FORM}, not '{kind:.60}'"
        raise NotUnderstoodError(msg)
    return dict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True))


def _local(address: str) -> str:
    """Return an address of this page; the first one for what may be another's.

    >>> _local("/jobs/?id=3"), _local("//elsewhere.example/")
    ('/jobs/?id=3', '/')
    """
    is_local = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_local and address.isprintable() else "/"

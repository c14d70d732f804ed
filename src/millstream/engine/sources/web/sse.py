"""SseReceiver: the events that a server sends (WHATWG HTML, "Server-sent events").

The id of the newest event goes with each new connection, as `Last-Event-ID`; the server's
`retry:` says how long to wait before it; comments keep the connection alive.
"""

from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret, without_password
from millstream.engine.clients.web import (
    checked_url,
    hide_urls_in_logs,
    plain_headers,
    secret_headers,
    tls_context,
    tls_problem,
)
from millstream.engine.clients.web_delays import WebDelays
from millstream.engine.sources.web.resuming import (
    ConnectionBrokenError,
    ConnectionRefusedByServerError,
    Message,
    ResumingReceiver,
    error_of_status,
)

_SHOWN = 80
_LAST_EVENT_ID = "Last-Event-ID"
_RETRY_S_MIN, _RETRY_S_MAX = 0.05, 3600.0


@dataclass(frozen=True, slots=True)
class SseEvent:
    """An event as it came."""

    event: str
    data: str
    id: str
    """The newest id so far; "" when there is none."""


def as_dict(event: SseEvent) -> dict[str, str]:
    """Return an event as a record: a dict of `event`, `data` and `id`."""
    return {"event": event.event, "data": event.data, "id": event.id}


@dataclass(frozen=True, slots=True)
class SseOptions:
    """How a connection is made and read; functions must be picklable."""

    parse: Callable[[SseEvent], Any] = as_dict
    """Makes a record of an event; None leaves it out."""
    key: Callable[[Any], Hashable] | None = None
    """Returns what makes a record the same when it comes again."""
    last_event_id: str | None = None
    """Where to begin, the first time."""
    is_id: Callable[[str], bool] | None = None
    """Says whether an event's id is one to go on after."""
    connect_s: float = 10.0
    """For how long connecting may take."""
    silence_s: float = 60.0
    """For how long nothing may come, not even a comment."""
    event_bytes_max: int = 1 << 20
    """How long an event may be; a longer one ends the connection."""
    ca_file: str | None = None
    """Certificates to trust in place of the usual ones."""


class SseReceiver(ResumingReceiver):
    """Stores a record for each event; connects again when that breaks."""

    def __init__(
        self,
        url: str,
        options: SseOptions | None = None,
        *,
        token: str | Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        delays: WebDelays | None = None,
        cursor_file: str | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> None:
        """Read `url`, which begins with http:// or https://.

        Raises:
            IllegalArgumentError: The address, a header or the certificates are no good.
            MissingDependencyError: The extra isn't installed.
        """
        super().__init__(
            delays=delays, cursor_file=cursor_file, storageLevel=storageLevel
        )
        for module in ("httpx", "httpx_sse"):
            needed(module, "web", "a stream of server-sent events")
        self.url = checked_url(url, ("http", "https"), "a stream of server-sent events")
        self.options = options or SseOptions()
        self.headers = secret_headers(headers, token, "sse")
        self.has_token = token is not None
        tls_context(self.options.ca_file)
        begin = self.options.last_event_id
        if begin is not None and ({"\r", "\n", "\0"} & set(begin)):
            msg = f"an event id is one line of text, not {begin!r}"
            raise IllegalArgumentError(msg)

    @property
    def identity(self) -> str:
        """The address, without its query."""
        return f"events of {without_password(self.url)}"

    async def messages(self, cursor: Any) -> AsyncIterator[Message]:
        """Connect and yield what comes."""
        import httpx  # noqa: PLC0415  An extra.
        from httpx_sse import EventSource, SSEError  # noqa: PLC0415  An extra.

        hide_urls_in_logs()
        options = self.options
        begin = options.last_event_id if cursor is None else cursor
        try:
            async with (
                httpx.AsyncClient(
                    verify=tls_context(options.ca_file) or True,
                    timeout=httpx.Timeout(options.connect_s, read=options.silence_s),
                ) as client,
                client.stream("GET", self.url, headers=self._headers(begin)) as answer,
            ):
                if answer.status_code != 200:
                    raise self._no_stream(answer)
                # It only asks for headers and text.
                source = EventSource(_Bounded(answer, options.event_bytes_max))  # type: ignore[arg-type]
                async for event in source.aiter_sse():
                    if event.retry is not None:
                        wait_s = min(
                            max(event.retry / 1000, _RETRY_S_MIN), _RETRY_S_MAX
                        )
                        self.delays.first_s = wait_s
                        self.delays.longest_s = max(self.delays.longest_s, wait_s)
                    yield self._message(SseEvent(event.event, event.data, event.id))
        except SSEError as error:
            msg = f"{self.identity} aren't a stream of events: {error}"
            raise ConnectionRefusedByServerError(
                msg, hint="check the address"
            ) from error
        except httpx.TimeoutException as error:
            raise self._late(error) from error
        except httpx.RequestError as error:
            raise self._broken(error) from error

    def _headers(self, last_id: str | None) -> dict[str, str]:
        headers = {
            "Accept": "text/event-stream",
            "Cache-Control": "no-store",
            **plain_headers(self.headers, has_token=self.has_token),
        }
        if last_id:
            headers[_LAST_EVENT_ID] = last_id
        return headers

    def _message(self, event: SseEvent) -> Message:
        options = self.options
        is_id = bool(event.id) and (options.is_id is None or options.is_id(event.id))
        cursor = event.id if is_id else None
        if not event.data:
            return Message(None, cursor)  # It isn't dispatched, but its id counts.
        try:
            record = options.parse(event)
        except ValueError as error:
            shown = f"{event.data[:_SHOWN]!r}"
            msg = f"{self.identity} have one that can't be parsed, which is left out"
            self.reportError(f"{msg}: {shown}: {error}", error)
            return Message(None, cursor)
        key = None if options.key is None or record is None else options.key(record)
        return Message(record, cursor, key)

    def _no_stream(self, answer: Any) -> Exception:
        if answer.status_code == 204:  # So a server says: don't come back.
            return ConnectionRefusedByServerError(
                f"{self.identity} have ended: the server answered 204"
            )
        return error_of_status(
            answer.status_code,
            answer.reason_phrase,
            self.identity,
            answer.headers.get("Retry-After"),
        )

    def _late(self, error: Exception) -> Exception:
        if type(error).__name__ == "ReadTimeout":
            silence_s = self.options.silence_s
            return ConnectionBrokenError(f"{self.identity}: silent for {silence_s:g} s")
        return ConnectionBrokenError(
            f"no connection for {self.identity} within {self.options.connect_s:g} s"
        )

    def _broken(self, error: Exception) -> Exception:
        problem = tls_problem(error)
        if problem is not None:
            return ConnectionRefusedByServerError(
                f"no secure connection for {self.identity}: {problem}",
                hint="if its certificate is your own, name a file with what to trust "
                "in caFile",
            )
        return ConnectionBrokenError(
            f"the connection for {self.identity} broke: {str(error) or type(error).__name__}"
        )


class EventTooLongError(ConnectionBrokenError):
    """An event is longer than may be."""


class _Bounded:
    """An HTTP answer whose text is refused when an event in it is too long."""

    def __init__(self, answer: Any, most: int) -> None:
        self.headers = answer.headers
        self._answer = answer
        self._most = most

    async def aiter_text(self) -> AsyncIterator[str]:
        since_end, tail = 0, ""
        async for text in self._answer.aiter_text():
            # Events end with an empty line; its two ends may come apart.
            seen = (tail + text).replace("\r\n", "\n").replace("\r", "\n")
            end = seen.rfind("\n\n")
            since_end = since_end + len(text) if end < 0 else len(seen) - end
            if since_end > self._most:
                msg = f"an event of more than {self._most} characters came"
                raise EventTooLongError(
                    msg, hint="allow more, with maxEventBytes, if that is right"
                )
            tail = seen[-1:]
            yield text

"""WebSocketReceiver: the messages that a WebSocket server pushes."""

import logging
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret, without_password
from millstream.engine.clients.web import (
    checked_url,
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

# Its debug lines have all headers in them, and so the token: never shown.
_quiet = logging.getLogger("millstream.websockets")
_quiet.setLevel(logging.INFO)

_CLOSE_S = 2.0
_SHOWN = 80

Sent = str | bytes


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """How a connection is made and read; functions must be picklable."""

    subscribe: Sent | Sequence[Sent] | Callable[[Any], Sent | Sequence[Sent]] | None = (
        None
    )
    """What to send first; or a function of the cursor, which is None at first."""
    parse: Callable[[Sent], Any] | None = None
    """Makes a record of a message; None leaves it out. Without it: as it came."""
    cursor: Callable[[Any], Any] | None = None
    """Returns a record's cursor, as JSON has it, or None."""
    resume_url: Callable[[str, Any], str] | None = None
    """Returns the address that goes on after a cursor, of the address and the cursor."""
    key: Callable[[Any], Hashable] | None = None
    """Returns what makes a record the same when it comes again."""
    connect_s: float = 10.0
    """For how long connecting may take, TLS and handshake in it."""
    ping_s: float = 20.0
    """How often to ask whether the server is there, and how long it may think."""
    message_bytes_max: int = 1 << 20
    """How long a message may be; a longer one ends the connection."""
    ca_file: str | None = None
    """Certificates to trust in place of the system's."""


class WebSocketReceiver(ResumingReceiver):
    """Stores a record for each message; connects again when that breaks."""

    def __init__(
        self,
        url: str,
        options: WebSocketOptions | None = None,
        *,
        token: str | Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        delays: WebDelays | None = None,
        cursor_file: str | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> None:
        """Read `url`, which begins with ws:// or wss://.

        Raises:
            IllegalArgumentError: The address, a header or the certificates are no good.
            MissingDependencyError: The extra isn't installed.
        """
        super().__init__(
            delays=delays, cursor_file=cursor_file, storageLevel=storageLevel
        )
        needed("websockets.asyncio.client", "web", "a WebSocket stream")
        self.url = checked_url(url, ("ws", "wss"), "a WebSocket stream")
        self.options = options or WebSocketOptions()
        self.headers = secret_headers(headers, token, "websocket")
        self.has_token = token is not None
        tls_context(self.options.ca_file)

    @property
    def identity(self) -> str:
        """The address, without its query."""
        return f"WebSocket {without_password(self.url)}"

    async def messages(self, cursor: Any) -> AsyncIterator[Message]:
        """Connect, subscribe, and yield what comes."""
        from websockets.exceptions import (  # noqa: PLC0415  An extra.
            ConnectionClosed,
            ConnectionClosedOK,
            InvalidStatus,
            WebSocketException,
        )

        options = self.options
        url = self.url
        if cursor is not None and options.resume_url is not None:
            url = options.resume_url(url, cursor)
        try:
            async with self._connect(url) as connection:
                for each in _first(options.subscribe, cursor):
                    await connection.send(each)
                async for data in connection:
                    yield self._message(data)
        except ConnectionClosedOK:
            return
        except ConnectionClosed as error:
            raise self._closed(error) from error
        except InvalidStatus as error:
            answer = error.response
            raise error_of_status(
                answer.status_code,
                answer.reason_phrase,
                self.identity,
                answer.headers.get("Retry-After"),
            ) from None  # Its context has the headers that were sent.
        except (WebSocketException, OSError, EOFError) as error:
            raise self._not_connected(error) from error

    def _connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        client = needed("websockets.asyncio.client", "web", "a WebSocket stream")
        options = self.options
        more = {} if options.ca_file is None else {"ssl": tls_context(options.ca_file)}
        connecting: AbstractAsyncContextManager[Any] = client.connect(
            url,
            additional_headers=plain_headers(self.headers, has_token=self.has_token),
            open_timeout=options.connect_s,
            ping_interval=options.ping_s,
            ping_timeout=options.ping_s,
            close_timeout=_CLOSE_S,
            max_size=options.message_bytes_max,
            logger=_quiet,
            **more,
        )
        return connecting

    def _message(self, data: Sent) -> Message:
        options = self.options
        record: Any = data
        if options.parse is not None:
            try:
                record = options.parse(data)
            except ValueError as error:
                shown = f"{data[:_SHOWN]!r}"
                msg = f"{self.identity} sent what can't be parsed, which is left out"
                self.reportError(f"{msg}: {shown}: {error}", error)
                return Message(None)
        if record is None:
            return Message(None)
        cursor = None if options.cursor is None else options.cursor(record)
        key = None if options.key is None else options.key(record)
        return Message(record, cursor, key)

    def _closed(self, error: Any) -> Exception:
        sent = error.rcvd or error.sent
        why = "" if sent is None else f": code {sent.code} {sent.reason}".rstrip()
        if error.rcvd is None and sent is not None and sent.code == 1009:
            most = self.options.message_bytes_max
            return ConnectionBrokenError(
                f"{self.identity} sent a message of more than {most} bytes",
                hint="allow more, with maxMessageBytes, if that is right",
            )
        if error.rcvd is not None and error.rcvd.code in {1008, 3000, 3003}:
            return ConnectionRefusedByServerError(
                f"{self.identity} refused the connection{why}",
                hint="check the token, the address and what is subscribed to",
            )
        return ConnectionBrokenError(f"the connection to {self.identity} broke{why}")

    def _not_connected(self, error: Exception) -> Exception:
        problem = tls_problem(error)
        if problem is not None:
            return ConnectionRefusedByServerError(
                f"no secure connection to {self.identity}: {problem}",
                hint="if its certificate is your own, name a file with what to trust "
                "in caFile",
            )
        if isinstance(error, TimeoutError):
            return ConnectionBrokenError(
                f"{self.identity} didn't answer within {self.options.connect_s:g} s"
            )
        return ConnectionBrokenError(f"can't connect to {self.identity}: {error}")


def _first(subscribe: Any, cursor: Any) -> Sequence[Sent]:
    said = subscribe(cursor) if callable(subscribe) else subscribe
    if said is None:
        return ()
    return (said,) if isinstance(said, (str, bytes)) else tuple(said)

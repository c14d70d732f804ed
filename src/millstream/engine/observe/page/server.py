"""PageServer: the page on a port of this machine, on a thread of its own.

The port is taken at once; what serves it is imported when somebody comes, so that a program
at which nobody looks pays for a socket and a sleeping thread.
"""

import errno
import logging
import select
import socket
import threading
from typing import TYPE_CHECKING

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import SparkError
from millstream.engine.observe.application import Application
from millstream.engine.observe.control import Control
from millstream.engine.observe.page.access import LOOPBACKS, Access

if TYPE_CHECKING:
    import asyncio

    import uvicorn

_log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_PORT_MAX = 65_535
_WAITING_MAX = 64
_STOP_S = 3.0
_LAST_ANSWERS_S = 1


class PageServer:
    """Serves the page of one application from `start` to `stop`."""

    def __init__(
        self,
        application: Application,
        *,
        host: str = LOOPBACK,
        port: int = 4040,
        retries_max: int = 16,
        control: Control | None = None,
        token: str | None = None,
    ) -> None:
        """Prepare to listen on `port`, or on the first free one of those after it.

        Port 0 is any free one. On a `host` that others reach, they can read the page, those
        alone who have the `token` if there is one; with it, the program is acted on by
        `control`.
        """
        self._application = application
        self._control = control
        # Without a token there is no cookie to name, and facts take a while to gather.
        name = "page" if token is None else application.facts.id
        self._access = Access(token, host=host, name=name)
        self._host = host
        self._port = port
        self._retries_max = retries_max
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._is_stopped = False
        # What `stop` wakes the thread with while nobody has come.
        self._wake, self._woken = socket.socketpair()

    @property
    def url(self) -> str | None:
        """Where the page is: `http://host:port`; None unless it is served."""
        if self._listener is None:
            return None
        shown = socket.gethostname() if self._host in {"0.0.0.0", "::"} else self._host  # noqa: S104
        port = self._listener.getsockname()[1]
        return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

    @property
    def signed_in_url(self) -> str:
        """Where who opens it is signed in; a secret, for the token is in it."""
        assert self.url is not None, "the page is served"
        return self._access.address_to_sign_in(self.url)

    def start(self) -> None:
        """Take a port and answer on it, from a thread.

        Raises:
            SparkError: None of the ports is free, or the host isn't this machine's.
        """
        self._listener = self._listen()
        self._thread = threading.Thread(
            target=self._run, name="millstream-page", daemon=True
        )
        self._thread.start()
        _log.info("the page is up url=%s", self.url)
        if self._access.is_open_to_others:
            _log.warning(
                "the page is shown to all who reach this machine, without a token: set "
                "spark.millstream.ui.token, or a host that fewer reach host=%s",
                self._host,
            )

    def _listen(self) -> socket.socket:
        family = self._family()
        tries = 1 if self._port == 0 else self._retries_max + 1
        last = min(self._port + tries - 1, _PORT_MAX)
        if self._port > last:
            msg = f"{self._port} is no port"
            raise SparkError(msg, hint=f"set spark.ui.port to at most {_PORT_MAX}")
        for port in range(self._port, last + 1):
            listener = socket.socket(family, socket.SOCK_STREAM)
            try:
                # Else a port stays taken for a minute after a program has ended.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, port))
                listener.listen(_WAITING_MAX)
            except OSError as error:
                listener.close()
                if error.errno != errno.EADDRINUSE:
                    msg = f"the page can't listen on {self._host}:{port}: {error}"
                    raise SparkError(
                        msg,
                        hint="set spark.ui.port, or spark.millstream.ui.host to an "
                        "address of this machine",
                    ) from error
            else:
                listener.setblocking(False)
                return listener
        msg = f"the page found no free port from {self._port} to {last}"
        raise SparkError(
            msg,
            hint="set spark.ui.port (0: any free one), spark.port.maxRetries, or "
            "spark.ui.enabled=false",
        )

    def _family(self) -> socket.AddressFamily:
        """Return which kind of address the host is, or has; the older if it has both."""
        hint = (
            "give an address of this machine, such as 127.0.0.1 or ::1, without a port or "
            "brackets, by spark.millstream.ui.host or `millstream ui --host`"
        )
        cannot = f"the page can't listen on the host '{self._host:.100}'"
        if not self._host.strip():  # The operating system takes it for all there are.
            raise SparkError(cannot, hint=hint)
        try:
            found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        # A ValueError, too: what can't even be asked for.
        except (OSError, ValueError) as error:
            msg = f"{cannot}: {error}"
            raise SparkError(msg, hint=hint) from error
        families = {family for family, *_ in found}
        return socket.AF_INET if socket.AF_INET in families else socket.AF_INET6

    def _run(self) -> None:
        listener = self._listener
        assert listener is not None, "the thread starts with a port"
        try:
            # Who comes meanwhile waits in the listener's queue.
            ready, _, _ = select.select([listener, self._woken], [], [])
            if self._woken not in ready:
                import asyncio  # noqa: PLC0415  Heavy.

                asyncio.run(self._serve(listener))
        except Exception:
            # The program goes on without a page: it is there to look at, no more.
            _log.exception("the page is gone: its server failed")
        finally:
            listener.close()
            self._woken.close()

    async def _serve(self, listener: socket.socket) -> None:
        import asyncio  # noqa: PLC0415  Heavy.

        import uvicorn  # noqa: PLC0415  Heavy.

        from millstream.engine.observe.page.app import make_app  # noqa: PLC0415

        stopping = asyncio.Event()
        allowed = LOOPBACKS if self._host in LOOPBACKS else ("*",)
        config = uvicorn.Config(
            make_app(
                self._application,
                stopping=stopping,
                allowed_hosts=allowed,
                control=self._control,
                access=self._access,
            ),
            # Who acts is noted: a header that anybody can send mustn't say who that is.
            proxy_headers=False,
            log_config=None,
            # What strangers send that is no HTTP is nothing to tell the program's user.
            log_level="error",
            access_log=False,
            lifespan="off",
            http="h11",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
        )
        server = uvicorn.Server(config)
        with self._lock:
            if self._is_stopped:
                return
            self._server, self._stopping = server, stopping
            self._loop = asyncio.get_running_loop()
        await server.serve(sockets=[listener])
        with self._lock:
            self._loop = None

    def stop(self) -> None:
        """Answer no more, and wait for the thread, three seconds at most. Idempotent."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._tell_to_stop)
        self._wake.close()
        if self._thread is None:
            self._woken.close()
            return
        begin = monotonic_s()
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            _log.warning("the page still answers after %.1f s", monotonic_s() - begin)
        self._listener = None

    def _tell_to_stop(self) -> None:
        assert self._server is not None, "what runs can be stopped"
        assert self._stopping is not None, "what runs can be stopped"
        self._stopping.set()
        self._server.should_exit = True

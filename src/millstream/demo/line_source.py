"""LineSource: a server on loopback that sends a text's lines, over and over."""

import contextlib
import socket
import threading
from importlib.resources import files
from itertools import cycle, islice

_PAUSE_S = 0.05


def demo_lines() -> list[str]:
    """Return the lines of the text that ships with the demo."""
    text = files("millstream.demo").joinpath("declaration.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class LineSource:
    """Sends lines to whoever connects, at about `rate` a second, until closed."""

    def __init__(self, lines: list[str], rate: int) -> None:
        """Listen on a free port of loopback."""
        self._lines = lines
        self._rate = rate
        self._ended = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(
            target=self._serve, name="demo-line-source", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop sending and listening."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # Wakes an accept that waits.
        self._server.close()
        self._thread.join(5)

    def _serve(self) -> None:
        lines = cycle(self._lines)
        while not self._ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # Closed.
            with connection:
                self._send(connection, lines)

    def _send(self, connection: socket.socket, lines: "cycle[str]") -> None:
        count = max(1, int(self._rate * _PAUSE_S))
        try:
            while not self._ended.wait(_PAUSE_S):
                batch = "".join(f"{line}\n" for line in islice(lines, count))
                connection.sendall(batch.encode())
        except OSError:
            return  # The reader has gone; wait for the next one.

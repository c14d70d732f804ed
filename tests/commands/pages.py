"""Pages, for tests: a server that answers as a program's page does, with what it is given."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from millstream.engine.observe import rest
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    BatchSubmitted,
    OutputOperationInfo,
    ReceiverError,
    ReceiverInfo,
    StreamingStarted,
    StreamInputInfo,
)

APPLICATION = {"id": "local-1", "name": "words [of] a stream", "attempts": []}
_STREAM = "/api/v1/applications/local-1/streaming"


def progress() -> StreamProgress:
    """Return a stream of three batches: one that failed, one that waits."""
    made = StreamProgress(1000)
    made.on_event(StreamingStarted(0))
    made.on_event(
        ReceiverError(
            ReceiverInfo(
                0, "socket", True, last_error_message="refused", last_error_time_ms=5
            )
        )
    )
    for time_ms, records, took_ms, failure in (
        (1000, 10, 100, None),
        (2000, 80, 1500, "Traceback\n  File x\nValueError: too much"),
    ):
        output = OutputOperationInfo(
            time_ms, 0, "pprint at app.py:3", "", failure_reason=failure
        )
        info = BatchInfo(
            time_ms,
            {0: StreamInputInfo(0, records, {})},
            time_ms,
            time_ms + 5,
            time_ms + 5 + took_ms,
            {0: output},
        )
        made.on_event(BatchCompleted(info))
    made.on_event(
        BatchSubmitted(
            BatchInfo(3000, {0: StreamInputInfo(0, 40, {})}, 3000, None, None, {})
        )
    )
    return made


def answers(of: StreamProgress) -> dict[str, Any]:
    """Return what a page answers to each path."""
    picture = of.picture()
    return {
        "/api/v1/applications": [APPLICATION],
        f"{_STREAM}/statistics": rest.statistics(picture, 1),
        f"{_STREAM}/batches": rest.batches(picture),
        f"{_STREAM}/receivers": rest.receivers(picture, {}),
    }


@contextmanager
def serving(told: Mapping[str, Any]) -> Iterator[str]:
    """Answer to paths; text as it is, all else as JSON; an int is a status. Give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = told.get(self.path, 404)
            body = (
                found.encode() if isinstance(found, str) else json.dumps(found).encode()
            )
            self.send_response(found if isinstance(found, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

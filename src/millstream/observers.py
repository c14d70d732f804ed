"""Observers: what looks on while a SparkContext runs: its page, event log and telemetry.

They read, and change nothing: an observer that fails says so in the log, and no batch waits
for one.
"""

import atexit
import contextlib
import logging
import os  # noqa: TID251  Environment variables.
import sys
from typing import TYPE_CHECKING, Any

from millstream import planning
from millstream.acting import RunningControl
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.observe.control import Action
from millstream.engine.observe.progress import StreamProgress
from millstream.running import RunningApplication

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.engine.observe.event_log import EventLogWriter
    from millstream.engine.observe.page.server import PageServer
    from millstream.engine.observe.telemetry import Telemetry

_log = logging.getLogger(__name__)


class Observers:
    """All that looks at one context, from its start to its stop."""

    def __init__(self, context: "SparkContext") -> None:
        """Look at `context`; nothing is started yet."""
        self._settings = context._driver.settings
        self._book = context._driver.book
        self.application = RunningApplication(context)
        self._control = RunningControl(context, self.application, self._note_action)
        self._page: PageServer | None = None
        self._event_log: EventLogWriter | None = None
        self._telemetry: Telemetry | None = None
        self._stream: Any = None
        self._to_stop = contextlib.ExitStack()

    def start(self) -> None:
        """Start what the settings ask for.

        Raises:
            IllegalArgumentError: The page's token is too short.
            DurabilityError: The event log can't be written where it should be.
            MissingDependencyError: Telemetry is asked for, and its extra isn't installed.
        """
        if planning.is_planning():
            return  # Nothing of the program runs: there is nothing to see.
        self._start_event_log()
        self._start_telemetry()
        self._start_page()
        if self._event_log is not None or self._telemetry is not None:
            # A program may end without stopping its context; a stream has it stopped.
            atexit.register(self.stop)

    @property
    def page_url(self) -> str | None:
        """Where the page is; None if there is none."""
        return None if self._page is None else self._page.url

    def _start_page(self) -> None:
        """Serve the page, unless the settings turn it off.

        A program runs without one, too: where no port is free, the log says so.
        """
        if not _wants_page(self._settings):
            return
        from millstream.engine.observe.page import access  # noqa: PLC0415
        from millstream.engine.observe.page.server import PageServer  # noqa: PLC0415

        given = self._settings.find_str("spark.millstream.ui.token")
        given = os.environ.get("MILLSTREAM_UI_TOKEN") if given is None else given
        page = PageServer(
            self.application,
            host=self._settings.get_str("spark.millstream.ui.host"),
            port=self._settings.get_int("spark.ui.port"),
            retries_max=self._settings.get_int("spark.port.maxRetries"),
            control=self._control,
            token=access.make_token(given),
        )
        try:
            page.start()
        except SparkError as error:
            _log.warning("there is no page: %s; %s", error, error.hint)
            page.stop()
            return
        self._page = page
        self._to_stop.callback(page.stop)
        if given == access.AUTO:
            # Not into the log, which others may read: to who has started the program.
            print(f"the page: {page.signed_in_url}", file=sys.stderr)  # noqa: T201

    def _start_event_log(self) -> None:
        if not self._settings.get_bool("spark.eventLog.enabled"):
            return
        from millstream.engine.observe import event_log  # noqa: PLC0415  Rarely on.

        writer = event_log.open_writer(self._settings, self.application)
        self._event_log = writer
        self._to_stop.callback(writer.close)
        self._book.watchers.append(writer.on_job)
        writer.start()

    def _start_telemetry(self) -> None:
        from millstream.engine.observe import telemetry  # noqa: PLC0415  Rarely on.

        if not telemetry.is_wanted(self._settings):
            return
        started = telemetry.start(self._settings, self.application)
        if started is not None:
            self._telemetry = started
            self._to_stop.callback(started.stop)
            self._book.watchers.append(started.on_job)

    def _note_action(self, action: Action) -> None:
        self.application.note(action)
        if self._event_log is not None:
            self._event_log.on_action(action)

    def attach(self, stream: Any) -> None:
        """Look at a StreamingContext too, from just before it starts."""
        retained = self._settings.get_int("spark.streaming.ui.retainedBatches")
        progress = StreamProgress(stream._graph.batch_ms, retained)
        self._stream = stream
        stream._bus.add(progress, progress.on_event)
        self.application.attach(stream, progress)
        for each in (self._event_log, self._telemetry):
            if each is not None:
                each.on_stream()
                stream._bus.add(each, each.on_event)

    def detach(self, stream: Any) -> None:
        """Hear that a StreamingContext has stopped; what is known of it stays."""
        if self._stream is not stream:
            return
        self._stream = None
        if self._event_log is not None:
            self._event_log.on_stream_stopped()

    def stop(self) -> None:
        """Stop all, the event log last; waits a few seconds at most. Idempotent."""
        atexit.unregister(self.stop)
        self._to_stop.close()
        self._book.watchers.clear()


def _wants_page(settings: Settings) -> bool:
    """Say whether there is to be a page: the settings say, else the environment."""
    is_set = settings.is_set("spark.ui.enabled")
    if not is_set and os.environ.get("MILLSTREAM_UI", "").lower() == "off":
        return False
    return settings.get_bool("spark.ui.enabled")

"""Ui: `millstream ui`, the page of a program that has run, from its event log."""

import threading
from typing import TYPE_CHECKING

import click

from millstream.commands.programs import errors_told

if TYPE_CHECKING:
    from millstream.engine.observe.event_log import EventLogApplication

_REFRESH_S = 2.0


@click.command(
    epilog=(
        "Examples:\n\n  millstream ui /data/events/local-1700000000000\n\n"
        "  millstream ui --port 0 /data/events/local-1700000000000/0000.jsonl"
    ),
)
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65_535),
    default=4040,
    show_default=True,
    help="The first port that is tried; 0 is any free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. On another address whoever reaches it can read the page.",
)
@click.argument("event_log", metavar="EVENTLOG")
def command(*, port: int, host: str, event_log: str) -> None:
    """Serve the page of a program from its event log: a directory, or a file of it.

    Programs write one with spark.eventLog.enabled=true. That of a program which still runs
    is read on as it grows. Ctrl-C ends it.
    """
    from millstream.engine.observe.event_log import EventLogApplication  # noqa: PLC0415
    from millstream.engine.observe.page.server import PageServer  # noqa: PLC0415

    with errors_told():
        application = EventLogApplication(event_log)
        server = PageServer(application, host=host, port=port)
        try:
            server.start()
            click.echo(f"the page of '{application.facts.name}' is at {server.url}")
            _follow(application)
        except KeyboardInterrupt:
            click.echo("")
        finally:
            server.stop()


def _follow(application: "EventLogApplication") -> None:
    """Read what is written, until Ctrl-C."""
    never = threading.Event()
    while not never.wait(_REFRESH_S):
        if application.ended_ms is None:
            application.refresh()

"""Top: `millstream top`, a running program's stream in the terminal."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from millstream.commands.programs import errors_told

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from millstream.commands.watching import Answer, Sight

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS_MAX = 40
_BATCHES_SHOWN = 8
_FAILURES_SHOWN = 3
_REASON_CHARACTERS_MAX = 160


@click.command(
    epilog=(
        "Examples:\n\n  millstream top\n\n"
        "  millstream top http://10.0.0.5:4041 --every 5\n\n"
        "  millstream top --once     (one frame, for a log or a script)"
    ),
)
@click.option("--once", is_flag=True, help="Print one frame, and end.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.argument("url", default="http://127.0.0.1:4040")
def command(*, once: bool, every: float, url: str) -> None:
    """Show a running program's stream: rates, delays, batches, receivers, failures.

    It is asked at URL, where its page is. Ctrl-C ends the watching, not the program.
    """
    from millstream.commands.watching import Watcher  # noqa: PLC0415
    from millstream.engine.base.extras import needed  # noqa: PLC0415

    with errors_told():
        console = needed("rich.console", "terminal", "`millstream top`").Console()
        watcher = Watcher(url)
        sight = watcher.look()
        if once:
            console.print(frame(sight, watcher.url))
            return
        from rich.live import Live  # noqa: PLC0415  An extra.

        try:
            with Live(frame(sight, watcher.url), console=console, screen=True) as live:
                while True:
                    _pause(every)
                    live.update(frame(watcher.look(), watcher.url))
        except KeyboardInterrupt:
            return


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def frame(sight: "Sight", url: str) -> "RenderableType":
    """Return all that is shown of one moment."""
    from rich.console import Group  # noqa: PLC0415  An extra.

    return Group(*_parts(sight, url))


def _parts(sight: "Sight", url: str) -> "Iterator[RenderableType]":
    from rich.text import Text  # noqa: PLC0415  An extra.

    yield Text(f"{sight.application.get('name', '')}  {url}", style="bold")
    if sight.statistics is None:
        yield Text("no stream has started")
        return
    yield _summary(sight.statistics)
    yield from _lines_over_time(sight)
    yield _inputs(sight.inputs)
    yield _batches(sight.batches)
    yield from _failures(sight)


def _summary(told: "Answer") -> "RenderableType":
    from rich.text import Text  # noqa: PLC0415  An extra.

    every = f"batches of {_ms(told.get('batchDuration'))}"
    done = f"{told.get('numTotalCompletedBatches', 0):,} completed"
    open_ = f"{told.get('numActiveBatches', 0)} waiting or running"
    records = f"{told.get('numProcessedRecords', 0):,} records processed"
    receivers = told.get("numReceivers", 0)
    active = f"{told.get('numActiveReceivers', 0)} of {receivers} receivers active"
    return Text(f"{every}  {done}  {open_}  {records}  {active}")


def _lines_over_time(sight: "Sight") -> "Iterator[RenderableType]":
    from rich.table import Table  # noqa: PLC0415  An extra.

    table = Table.grid(padding=(0, 2))
    past = list(reversed(sight.batches))
    batch_ms = (sight.statistics or {}).get("batchDuration") or 1
    rates = [each.get("inputSize", 0) * 1000 / batch_ms for each in past]
    table.add_row("records/s", sparkline(rates), _last(rates, "{:,.0f}"))
    for title, key in (
        ("scheduling delay", "schedulingDelay"),
        ("processing time", "processingTime"),
        ("total delay", "totalDelay"),
    ):
        values = [each[key] for each in past if each.get(key) is not None]
        late = bool(values) and key == "processingTime" and values[-1] > batch_ms
        style = "red" if late else ""
        table.add_row(title, sparkline(values), _ms(values[-1] if values else None))
        table.rows[-1].style = style
    yield table


def _last(values: Sequence[float], form: str) -> str:
    return form.format(values[-1]) if values else "-"


def sparkline(values: Sequence[float]) -> str:
    """Return the newest values as a line of bars, the highest one as a full one.

    >>> sparkline([0, 1, 2, 7])
    '▁▂▃█'
    """
    newest = values[-_SPARKS_MAX:]
    highest = max(newest, default=0)
    if highest <= 0:
        return _BARS[0] * len(newest)
    top = len(_BARS) - 1
    return "".join(_BARS[round(max(0, each) / highest * top)] for each in newest)


def _inputs(inputs: "Sequence[Answer]") -> "RenderableType":
    table = _table("input", "state", "records/s", "over time", "last error")
    for each in inputs:
        rates = [rate for _, rate in each.get("eventRates", ())]
        is_active = each.get("isActive")
        state = {None: "", True: "active", False: "[red]stopped[/red]"}[is_active]
        error = each.get("lastErrorMessage") or ""
        table.add_row(
            _plain(each.get("streamName", each.get("streamId", ""))),
            state,
            _last(rates, "{:,.0f}"),
            sparkline(rates),
            _plain(_shortened(error)),
        )
    return table


def _batches(batches: "Sequence[Answer]") -> "RenderableType":
    table = _table(
        "batch", "status", "records", "scheduling", "processing", "total", "outputs"
    )
    for each in batches[:_BATCHES_SHOWN]:
        failed = each.get("numFailedOutputOps", 0)
        done = each.get("numCompletedOutputOps", 0)
        outputs = f"{done} of {each.get('numTotalOutputOps', 0)}"
        table.add_row(
            str(each.get("batchId", "")),
            str(each.get("status", "")).lower(),
            f"{each.get('inputSize', 0):,}",
            _ms(each.get("schedulingDelay")),
            _ms(each.get("processingTime")),
            _ms(each.get("totalDelay")),
            f"{outputs}, {failed} failed" if failed else outputs,
            style="red" if failed else "",
        )
    return table


def _failures(sight: "Sight") -> "Iterator[RenderableType]":
    from rich.text import Text  # noqa: PLC0415  An extra.

    failed = [each for each in sight.batches if each.get("firstFailureReason")]
    for each in failed[:_FAILURES_SHOWN]:
        reason = _telling_line(str(each["firstFailureReason"]))
        yield Text(f"batch {each.get('batchId')}: {_shortened(reason)}", style="red")


def _telling_line(reason: str) -> str:
    from millstream.engine.observe.page.failures import last_line  # noqa: PLC0415

    return last_line(reason)


def _table(*titles: str) -> "Table":
    from rich.table import Table  # noqa: PLC0415  An extra.

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for each in titles:
        table.add_column(each, no_wrap=each != "last error")
    return table


def _plain(text: object) -> str:
    """Return text of a program's own so that nothing in it is taken for markup."""
    from rich.markup import escape  # noqa: PLC0415  An extra.

    return escape(str(text))


def _shortened(text: str) -> str:
    first = " ".join(text.split())
    if len(first) <= _REASON_CHARACTERS_MAX:
        return first
    return f"{first[:_REASON_CHARACTERS_MAX]}..."


def _ms(value: float | None) -> str:
    from millstream.engine.base.time import pretty_duration  # noqa: PLC0415

    return "-" if value is None else pretty_duration(int(value))

"""Notebook: what RDDs, streams and a running StreamingContext look like below a cell.

Everything is plain HTML and SVG: no scripts, nothing loads from anywhere, and what comes
from a program is escaped. To show something changes nothing and runs no job.
"""

import contextvars
import math
import sys
import threading
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from millstream.engine.base.clock import SystemClock, monotonic_s
from millstream.engine.base.errors import IllegalStateError, PySparkValueError
from millstream.engine.columnar.blocks import Columns, Frozen
from millstream.engine.durable.frozen_bytes import Shared
from millstream.engine.jobs.tasks import cached_id
from millstream.engine.observe.mini_chart import (
    Curve,
    curves_of,
    failures_of,
    rate_words,
    svg_of,
)
from millstream.engine.observe.page.failures import last_line
from millstream.engine.observe.page.words import (
    batch_moment,
    count,
    counted,
    cut,
    moment,
    span,
)
from millstream.engine.observe.progress import Batch, Picture
from millstream.engine.plan.lineage_text import lineage_text
from millstream.engine.plan.nodes import RddNode, Source
from millstream.engine.plan.partitions import FrozenRows, FrozenText

if TYPE_CHECKING:
    from millstream.engine.jobs.driver import Driver
    from millstream.engine.streams.operators import Operator
    from millstream.streaming.context import StreamingContext


_RECORDS_MAX, _RECORD_CHARACTERS = 5, 100
_PARTITIONS_MAX, _BYTES_MAX = 100, 1 << 20
_LINEAGE_MAX = 4_000
_UPDATE_S = 0.5

_Rows = Iterable[tuple[str, str]]
"""Titles, and what is beside them, as HTML."""

_LEFT = 'style="text-align:left;vertical-align:top"'


# RDDs.


def rdd_html(node: RddNode, driver: "Driver") -> str:
    """Return an RDD as a table: what it is, where it comes from, what is kept of it.

    Its first records are there if they are at hand: in memory, or in a file of the workers
    that is small or mapped. No job is run for them, and what was spilled isn't read.
    """
    held = driver.held_of(node)
    kept = f"{held.count} of {counted(node.partition_count, 'partition')} kept"
    level = "not kept" if node.level is None else f"{node.level} ({kept})"
    lineage = cut(lineage_text(node), _LINEAGE_MAX)
    rows = [
        ("RDD", escape(f"{node.title()} [{node.id}]")),
        ("Name", escape(node.name or "-")),
        ("Partitions", escape(count(node.partition_count))),
        ("Storage level", escape(level)),
        ("Made at", escape(node.call_site or "-")),
        ("Lineage", _lines(lineage)),
        ("First records", _records_html(_records_at_hand(node, driver))),
    ]
    return _box(_facts(rows))


def _records_html(records: Sequence[Any] | None) -> str:
    if records is None:
        return (
            "not at hand, and no job is run just to show them: "
            f"<code>take({_RECORDS_MAX})</code> runs one"
        )
    return _lines("\n".join(map(_shortened, records)))


def _shortened(record: Any) -> str:
    """Return a record's repr, of which parts are left out; what can't be told is named."""
    told = Repr()
    told.maxstring = told.maxother = told.maxlong = _RECORD_CHARACTERS
    return cut(told.repr(record), _RECORD_CHARACTERS)


def _records_at_hand(node: RddNode, driver: "Driver") -> Sequence[Any] | None:
    """Return the first records of the first partition at hand that has any."""
    for partition in range(min(node.partition_count, _PARTITIONS_MAX)):
        block = _block_at_hand(node, partition, driver)
        if block is not None and _is_cheap(block) and block.count:
            return list(islice(_head(block).thaw(), _RECORDS_MAX))
    return None


def _block_at_hand(node: RddNode, partition: int, driver: "Driver") -> Frozen | None:
    kept: Any = driver.blocks.peek(cached_id(node, partition))
    if kept is None and isinstance(node.op, Source):
        kept = node.op.partitions[partition]
    if isinstance(kept, Shared):
        return _shared_at_hand(kept)
    return kept if isinstance(kept, Frozen) else None


def _shared_at_hand(kept: Shared) -> Frozen | None:
    """Return what workers hold in a file that is small, or mapped as columns are."""
    held = kept.held
    is_mapped = kept.about.shape is not None
    if held.path is None or not (is_mapped or held.size <= _BYTES_MAX):
        return None
    try:
        return kept.unpack()
    except OSError:  # It is lost: the next job computes it again, and says so.
        return None


def _is_cheap(block: Frozen) -> bool:
    match block:
        case FrozenRows(pickled=None) | Columns():
            return True
        case FrozenRows(pickled=data) | FrozenText(data=data):
            return data is not None and len(data) <= _BYTES_MAX


def _head(block: Frozen) -> Frozen:
    if isinstance(block, Columns):
        return Columns(block.frame.head(_RECORDS_MAX), block.shape, block.is_keyed)
    return block


# Streams.


def stream_html(operator: "Operator") -> str:
    """Return a stream as a table: what it does, how often, over what, and its parents."""
    names = operator.graph.names()
    window_ms = getattr(operator, "window_ms", None)
    made = dict(operator.generated)  # The generator's thread adds to it.
    newest = made[max(made)] if made else None
    rows = [
        ("Stream", escape(operator.kind)),
        ("Name", escape(names.get(operator) or operator.given_name or "-")),
        ("A batch every", escape(span(operator.slide_ms))),
        ("Window", escape("-" if window_ms is None else span(window_ms))),
        ("Parents", _lines("\n".join(_parents(operator, names)) or "-")),
        ("Storage level", escape(_level(operator))),
        ("Made at", escape(operator.call_site or "-")),
        ("Newest batch", escape("none yet" if newest is None else repr(newest))),
    ]
    return _box(_facts(rows))


def _parents(operator: "Operator", names: "dict[Operator, str]") -> Iterable[str]:
    for each in operator.parents:
        name = names.get(each) or each.given_name
        told = "" if name is None else f" '{name}'"
        yield f"{each.kind}{told} at {each.call_site}"


def _level(operator: "Operator") -> str:
    level = operator.level
    return str(level) if level.useMemory or level.useDisk else "not kept"


# A StreamingContext.


def context_html(stream: "StreamingContext", note: str = "") -> str:
    """Return a StreamingContext: its state, inputs and outputs, and its newest batches.

    Once it has started there is a chart each of input rate, processing time and total
    delay. `note` is a last line.
    """
    picture = _picture_of(stream)
    parts = [_headline(stream)]
    if picture is not None:
        parts += [_charts(picture), _batch_words(picture), _failure(picture)]
    parts += [_inputs(stream, picture), _outputs(stream)]
    if note:
        parts.append(f"<div><i>{escape(note)}</i></div>")
    return _box("".join(parts))


def context_text(stream: "StreamingContext") -> str:
    """Return a StreamingContext in one line, for where there is no HTML."""
    picture = _picture_of(stream)
    told = f"{stream.sparkContext.appName}: {stream.getState().value}"
    if picture is None:
        return told
    curves = "; ".join(each.told for each in curves_of(picture))
    return f"{told}; {_counts(picture)}; {curves}"


def _picture_of(stream: "StreamingContext") -> Picture | None:
    seen = stream.sparkContext._observers.application
    return seen.picture() if seen.stream is stream else None


def _headline(stream: "StreamingContext") -> str:
    every = span(stream._graph.batch_ms)
    words = f"{stream.getState().value}, a batch every {every}"
    return (
        f"<div><b>{escape(stream.sparkContext.appName)}</b> {escape(words)}"
        f"{_link(stream)}</div>"
    )


def _link(stream: "StreamingContext") -> str:
    url = stream.sparkContext.uiWebUrl
    if url is None or stream.getState().value != "ACTIVE":
        return ""
    safe = escape(url)
    return f' · <a href="{safe}" target="_blank" rel="noopener">{safe}</a>'


def _charts(picture: Picture) -> str:
    failures = failures_of(picture)
    head = "".join(f"<th {_LEFT}>{each}</th>" for each in ("", "", "now", "most"))
    body = "".join(_chart(each, failures) for each in curves_of(picture))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _chart(curve: Curve, failures: Sequence[int]) -> str:
    values = curve.values
    now, most = (values[-1], max(values)) if values else (None, None)
    cells = [
        escape(curve.title),
        svg_of(curve, failures),
        *("-" if each is None else escape(curve.words(each)) for each in (now, most)),
    ]
    return _row(cells)


def _batch_words(picture: Picture) -> str:
    return f"<div>{escape(_counts(picture))}</div>"


def _counts(picture: Picture) -> str:
    return (
        f"{counted(picture.completed_count, 'batch')} done "
        f"({count(picture.failed_count)} failed), {len(picture.running)} running, "
        f"{len(picture.waiting)} waiting"
    )


def _failure(picture: Picture) -> str:
    """Return when the newest batch that failed did, and the last line of why."""
    if not picture.failed:
        return ""
    batch = picture.failed[0]
    reason = last_line(batch.first_failure or "")
    told = f"{_time_of(batch, picture)} failed: {cut(reason, 300)}"
    return f'<div style="color:#d64545">{escape(told)}</div>'


def _time_of(batch: Batch, picture: Picture) -> str:
    return batch_moment(batch.info.batch_ms, picture.batch_ms)


def _inputs(stream: "StreamingContext", picture: Picture | None) -> str:
    rows = [
        (each.name, _rate(each.id, picture), _receiver_state(each.id, picture))
        for each in stream._graph.inputs
    ]
    return _table(("Input", "Rate", "Receiver"), rows)


def _rate(input_id: int, picture: Picture | None) -> str:
    """Return what an input gave to the newest batch."""
    if picture is None or not picture.batches:
        return "-"
    given = picture.batches[0].info.inputs.get(input_id)
    records = 0 if given is None else given.record_count
    return rate_words(records * 1000 / picture.batch_ms)


def _receiver_state(input_id: int, picture: Picture | None) -> str:
    receiver = None if picture is None else picture.receivers.get(input_id)
    if receiver is None:
        return "-"
    error = f"; last error: {cut(receiver.last_error_message)}"
    state = "active" if receiver.active else "inactive"
    return state + (error if receiver.last_error_message else "")


def _outputs(stream: "StreamingContext") -> str:
    rows = [(each.name, each.call_site) for each in stream._graph.outputs]
    return _table(("Output", "Made at"), rows)


# A view that follows a stream.


def follow(
    stream: "StreamingContext", seconds: float | None = None, *, wait: bool = False
) -> None:
    """Show a running stream below the cell, and keep that up to date; see `live`.

    Raises:
        IllegalStateError: This is no notebook, or the stream hasn't started.
        PySparkValueError: `seconds` isn't positive.
    """
    if seconds is not None and not seconds > 0:
        msg = f"seconds must be positive, not {seconds!r}"
        raise PySparkValueError(msg)
    if stream.getState().value == "INITIALIZED":
        msg = "there is nothing to follow before start()"
        raise IllegalStateError(msg, hint="call start() first")
    _check_is_notebook()
    view = _LiveView(stream, math.inf if seconds is None else seconds)
    if wait:
        view.run()
        return
    # With the context of the cell: its output belongs to it.
    run = contextvars.copy_context().run
    threading.Thread(
        target=run, args=(view.run,), name="millstream-live-view", daemon=True
    ).start()


def _check_is_notebook() -> None:
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        msg = "live() shows a stream below a notebook's cell, and this is no notebook"
        hint = "look at SparkContext.uiWebUrl, or run `millstream top` in a terminal"
        raise IllegalStateError(msg, hint=hint)


class _LiveView:
    """One output of a cell, and what is shown in it."""

    def __init__(self, stream: "StreamingContext", limit_s: float) -> None:
        """Show `stream` as it is now."""
        from IPython.display import display  # noqa: PLC0415  Only notebooks have it.

        self._stream = stream
        self._until_s = monotonic_s() + limit_s
        self._shown = self._look()
        self._output: Any = display(  # type: ignore[no-untyped-call]
            self._shown, raw=True, display_id=True
        )

    def run(self) -> None:
        """Update the output until the stream has stopped or time is over."""
        try:
            while not self._has_ended():
                self._show(self._look())
        finally:
            self._show(self._look(self._last_words()))

    def _has_ended(self) -> bool:
        """Wait until it is time for an update; say whether it is the last one."""
        left_s = self._until_s - monotonic_s()
        if self._stream._ended.wait(max(0.0, min(left_s, _UPDATE_S))):
            return True
        return monotonic_s() >= self._until_s

    def _last_words(self) -> str:
        if self._stream._ended.is_set():
            return ""
        now = moment(SystemClock().now_ms(), has_date=False)
        return f"As it was at {now}. The stream goes on; so does live(), called again."

    def _look(self, note: str = "") -> dict[str, str]:
        return {
            "text/html": context_html(self._stream, note),
            "text/plain": context_text(self._stream),
        }

    def _show(self, newer: dict[str, str]) -> None:
        if newer != self._shown:
            self._output.update(newer, raw=True)
            self._shown = newer


# HTML.


def _box(content: str) -> str:
    return f'<div style="max-width:60em;overflow-x:auto">{content}</div>'


def _facts(rows: _Rows) -> str:
    body = "".join(
        f"<tr><th {_LEFT}>{escape(title)}</th><td {_LEFT}>{value}</td></tr>"
        for title, value in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th {_LEFT}>{escape(each)}</th>" for each in titles)
    body = "".join(_row([escape(each) for each in row]) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td {_LEFT}>{each}</td>' for each in cells)}</tr>"


def _lines(text: str) -> str:
    return f'<pre style="margin:0">{escape(text)}</pre>'

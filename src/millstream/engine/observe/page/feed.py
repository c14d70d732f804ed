"""Feed: what has changed on a page that is open, since it was last told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.base.clock import Clock
from millstream.engine.observe.application import Application
from millstream.engine.observe.control import Action
from millstream.engine.observe.page import history
from millstream.engine.observe.page.overview import BatchList, batch_lists, overview
from millstream.engine.observe.page.tables import PAGE_ROWS
from millstream.engine.observe.progress import Batch, BatchStatus, Picture

Message = dict[str, Any]
Point = list[float | None]


@dataclass(slots=True)
class Feed:
    """News of a stream for one reader. Not thread-safe.

    The first message has everything; those after it have what is different: numbers by the
    ids of their elements, new points of the charts, new rows.
    """

    application: Application
    clock: Clock
    _version: int = -1
    _has_active: bool = False
    _texts: dict[str, str] = field(default_factory=dict)
    _levels: dict[str, str] = field(default_factory=dict)
    _tables: dict[str, "_Told"] = field(default_factory=dict)
    _actions: Sequence[Action] = ()
    _newest_ms: int = -1
    _unfinished: dict[int, Point] = field(default_factory=dict)
    _input_ids: list[int] = field(default_factory=list)

    def next_message(self) -> Message | None:
        """Return what is new; None if nothing is. Costs next to nothing when idle."""
        version = self.application.version
        # What is active grows older without any event.
        if version == self._version and not self._has_active:
            return None
        picture = self.application.picture()
        if picture is None:
            return None
        self._version = version
        self._has_active = bool(picture.waiting or picture.running)
        return self._message(picture) or None

    def _message(self, picture: Picture) -> Message:
        shown = overview(self.application, picture, self.clock.now_ms())
        message: Message = {
            "texts": _changed(self._texts, dict(shown.texts)),
            "levels": _changed(self._levels, {e.id: e.level for e in shown.tiles}),
            **self._points(picture),
            "tables": self._news_of_tables(picture),
        }
        return {key: value for key, value in message.items() if value}

    def _points(self, picture: Picture) -> Message:
        """Return the points of the charts that are new, or have changed."""
        input_ids = sorted({*picture.stream_ids, *self.application.input_names()})
        if input_ids != self._input_ids or self._newest_ms < 0:
            self._input_ids, self._newest_ms = input_ids, -1
            self._unfinished.clear()
        is_first = self._newest_ms < 0
        points = self._new_points(picture)
        if is_first:
            kept = {"batchMs": picture.batch_ms, "inputs": input_ids}
            return {"series": {**kept, "points": points}}
        return {"points": points, "oldest": _oldest_ms(picture)} if points else {}

    def _new_points(self, picture: Picture) -> list[Point]:
        """Return what is new, oldest first; looks at new and unfinished batches alone."""
        oldest_ms = min(self._unfinished, default=self._newest_ms + 1)
        points = []
        for batch in picture.batches:
            time_ms = batch.info.batch_ms
            if time_ms < oldest_ms and time_ms <= self._newest_ms:
                break
            if time_ms <= self._newest_ms and time_ms not in self._unfinished:
                continue
            made = point(batch, self._input_ids, picture.batch_ms)
            if self._unfinished.get(time_ms) != made:
                points.append(made)
            if batch.status is BatchStatus.COMPLETED:
                self._unfinished.pop(time_ms, None)
            else:
                self._unfinished[time_ms] = made
        if picture.batches:
            self._newest_ms = max(self._newest_ms, picture.batches[0].info.batch_ms)
        return points[::-1]

    def _news_of_tables(self, picture: Picture) -> Message:
        news: Message = {}
        for each in batch_lists(picture):
            shown = each.batches[:PAGE_ROWS]
            before = self._tables.get(each.table.id)
            now = _Told(each.title, [_state_of(batch) for batch in shown])
            if now != before:
                self._tables[each.table.id] = now
                seen = set() if before is None else set(before.rows)
                news[each.table.id] = _news_of(each, shown, seen)
        actions = self.application.actions()
        if actions != self._actions:
            self._actions = actions
            news[history.TABLE.id] = _news_of_actions(actions)
        return news


@dataclass(frozen=True, slots=True)
class _Told:
    """What was told of a table."""

    title: str
    rows: list[tuple[int, ...]]


def _state_of(batch: Batch) -> tuple[int, ...]:
    """Return which batch it is, and how far."""
    return (batch.info.batch_ms, batch.completed_count, batch.failed_count)


def _news_of(
    of: BatchList, shown: tuple[Batch, ...], seen: set[tuple[int, ...]]
) -> Message:
    fresh = [each for each in shown if not of.grows or _state_of(each) not in seen]
    return {
        "title": of.title,
        "count": len(of.batches),
        "hasFailed": any(map(of.table.has_failed, shown)),
        "new" if of.grows else "rows": [_row(of, each) for each in fresh],
        "most": PAGE_ROWS,
    }


def _news_of_actions(actions: Sequence[Action]) -> Message:
    rows = map(history.TABLE.row, actions[:PAGE_ROWS])
    return {
        "title": history.title(actions),
        "count": len(actions),
        "hasFailed": False,
        "rows": [{"cells": [cell.as_data() for cell in row]} for row in rows],
    }


def _row(of: BatchList, batch: Batch) -> Message:
    cells = [each.as_data() for each in of.table.row(batch)]
    return {"key": batch.info.batch_ms, "cells": cells}


def point(batch: Batch, input_ids: list[int], batch_ms: int) -> Point:
    """Return one batch's place in the charts.

    It is: its time, its scheduling delay, processing time and total delay in ms, how many
    output operations failed, and the records a second of each input.
    """
    info = batch.info
    rates = (info.inputs.get(each) for each in input_ids)
    return [
        info.batch_ms,
        info.scheduling_delay_ms,
        info.processing_delay_ms,
        info.total_delay_ms,
        batch.failed_count,
        *(0 if e is None else e.record_count * 1000 / batch_ms for e in rates),
    ]


def _oldest_ms(picture: Picture) -> int:
    return picture.batches[-1].info.batch_ms


def _changed(known: dict[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return what is new or different in `now`, and note it."""
    changed = {key: value for key, value in now.items() if known.get(key) != value}
    known.update(changed)
    return changed

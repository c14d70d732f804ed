"""Progress: how far long work is: a bar on a terminal, lines elsewhere."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from millstream.engine.base.clock import monotonic_s

_LINE_EVERY_S = 5.0
_SHOWN_AFTER_S = 0.5
_LOOK_EVERY_S = 0.2


class Progress:
    """Tells on the standard error how far each of several kinds of work is.

    What is done within half a second isn't told of.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Tell on `stream`; the standard error without it."""
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._what: str | None = None
        self._began_s = self._told_s = 0.0
        self._bar: Any = None
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, count: int) -> None:
        """Hear that `done` of `count` parts of something are done. Thread-safe."""
        with self._lock:
            self._hear(what, done, count)

    def _hear(self, what: str, done: int, count: int) -> None:
        now_s = monotonic_s()
        if what != self._what:
            self.close()
            self._what, self._began_s, self._told_s = what, now_s, 0.0
        is_late = now_s - self._began_s >= _SHOWN_AFTER_S
        if self._is_terminal:
            self._draw(what, done, count, is_late=is_late)
        elif is_late and (done == count or now_s - self._told_s >= _LINE_EVERY_S):
            self._told_s = now_s
            click.echo(f"{what}: {done} of {count}", file=self._stream)
        if done >= count:
            self.close()

    def _draw(self, what: str, done: int, count: int, *, is_late: bool) -> None:
        if self._bar is None:
            if not is_late or done >= count:
                return
            self._bar = click.progressbar(
                length=count, label=what, file=self._stream
            ).__enter__()
            self._done = 0
        self._bar.update(done - self._done)
        self._done = done

    def close(self) -> None:
        """End the bar, if there is one."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._what = None


@contextmanager
def shown() -> Iterator[None]:
    """Show on the standard error how far work of this process is, while the block runs.

    Recovery, compaction, and the stages of jobs.
    """
    from millstream.engine.base.progress import heard_by  # noqa: PLC0415

    progress = Progress()
    ended = threading.Event()
    watching = threading.Thread(
        target=_watch_stages, args=(progress, ended), name="millstream-progress"
    )
    watching.daemon = True
    watching.start()
    try:
        with heard_by(progress):
            yield
    finally:
        ended.set()
        watching.join()
        progress.close()


def _watch_stages(progress: Progress, ended: threading.Event) -> None:
    """Tell how far the newest stage is that runs, until `ended`."""
    from millstream.context import SparkContext  # noqa: PLC0415

    while not ended.wait(_LOOK_EVERY_S):
        context = SparkContext._active_spark_context
        driver = getattr(context, "_driver", None)
        stages = () if driver is None else driver.book.stages()
        running = next(
            (e for e in stages if e.active_count and e.ended_ms is None), None
        )
        if running is not None:
            title = f"stage {running.id} ({running.name})"
            progress(title, running.completed_count, running.task_count)

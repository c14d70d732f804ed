"""Health: whether a program works, and whether its stream is ready; if not, why.

Who starts programs anew when they hang, and who watches them, asks: see `/healthz` and
`/readyz` of the page. Pure: an application and a time in, reasons out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from millstream.engine.base.time import pretty_duration
from millstream.engine.observe.application import Application
from millstream.engine.observe.progress import Picture

BUSY_S_MAX = 300
"""Longer than anything that a batch's beginning may wait for: a source's time limit."""
INTERVALS_MAX = 10
"""By so many batch intervals a stream may be behind."""


@dataclass(frozen=True, slots=True)
class Health:
    """An answer: good, unless there are reasons against it."""

    reasons: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def liveness(application: Application, *, busy_s_max: int = BUSY_S_MAX) -> Health:
    """Say whether the program works: a new start wouldn't help.

    That somebody asks and is answered says most. Beyond that the thread that makes batches
    must be there, and at nothing for more than `busy_s_max`. A program without a stream,
    and one whose stream stops or has stopped, works.
    """
    gauges = application.gauges()
    has_ended = application.ended_ms is not None
    if has_ended or _is_stopping(gauges) or not _is_active(gauges):
        return Health()
    busy_ms = int(gauges.get("millstream.generator.busyMs", 0))
    if busy_ms < 0:
        return Health(("the thread that makes batches is gone",))
    if busy_ms > busy_s_max * 1000:
        took, most = pretty_duration(busy_ms), pretty_duration(busy_s_max * 1000)
        return Health(
            (f"making batches hangs: at the same for {took}, more than {most}",)
        )
    return Health()


def readiness(
    application: Application, now_ms: int, *, intervals_max: int = INTERVALS_MAX
) -> Health:
    """Say whether the stream is there and keeps up.

    It has started and nobody stops it, its receivers are active, and it is behind by no
    more than `intervals_max` batch intervals.
    """
    picture = application.picture()
    if application.ended_ms is not None:
        return Health(("the program has ended",))
    if picture is None or picture.started_ms is None:
        return Health(("no stream has started",))
    gauges = application.gauges()
    if not _is_active(gauges):
        return Health(("the stream has stopped",))
    if _is_stopping(gauges):
        return Health(("the stream stops",))
    held = int(gauges.get("millstream.heldBackBatches", 0))
    return Health(
        (
            *_idle_receivers(picture, application.receiver_count()),
            *_lateness(picture, held, now_ms, intervals_max),
        )
    )


def behind_ms(picture: Picture, held: int, now_ms: int) -> int:
    """Return how long the oldest unfinished batch has been waited for.

    `held` batches aren't made yet, so that the picture lacks them: an interval each.
    """
    oldest_ms = min((e.info.submission_ms for e in picture.active), default=now_ms)
    return max(0, now_ms - oldest_ms) + held * picture.batch_ms


def _idle_receivers(picture: Picture, count: int) -> Iterator[str]:
    known = picture.receivers.values()
    for each in known:
        if not each.active:
            why = each.last_error_message or "no error is known"
            yield f"receiver {each.name!r} isn't active: {why}"
    if len(known) < count:
        yield f"{count - len(known)} of {count} receivers haven't started yet"


def _lateness(
    picture: Picture, held: int, now_ms: int, intervals_max: int
) -> Iterator[str]:
    late_ms = behind_ms(picture, held, now_ms)
    if late_ms > intervals_max * picture.batch_ms:
        yield (
            f"batches are {pretty_duration(late_ms)} behind, more than {intervals_max} "
            f"intervals of {pretty_duration(picture.batch_ms)}: "
            f"{len(picture.waiting)} wait, {len(picture.running)} run, {held} are held back"
        )


def _is_active(gauges: Mapping[str, float]) -> bool:
    # One without the gauge is read from an event log, or has no stream.
    return gauges.get("millstream.stream.active", 1) > 0


def _is_stopping(gauges: Mapping[str, float]) -> bool:
    return gauges.get("millstream.stream.stopping", 0) > 0

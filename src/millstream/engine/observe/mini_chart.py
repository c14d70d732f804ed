"""Mini-charts: a few numbers of a stream's newest batches over time, as SVG. A core.

For notebooks, where nothing of the page is there: no scripts, no style sheet, and colours
that show on dark and on light.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from html import escape

from millstream.engine.observe.page.words import count, span
from millstream.engine.observe.progress import Picture
from millstream.engine.streams.events import BatchInfo

BATCHES_MAX = 60
"""So many of the newest batches are drawn."""

_WIDTH, _HEIGHT, _PAD = 280, 40, 4
_FAILED_COLOR = "#d64545"


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over time."""

    title: str
    points: tuple[tuple[int, float], ...]
    """Batch times in ms and values, oldest first."""
    color: str
    words: Callable[[float], str]
    """How a value is written."""
    limit: float | None = None
    """What the values should stay below."""

    @property
    def values(self) -> list[float]:
        """The values, oldest first."""
        return [value for _, value in self.points]

    @property
    def told(self) -> str:
        """The chart in words, for who can't see it."""
        if not self.points:
            return f"{self.title}: nothing yet"
        last, most = self.words(self.values[-1]), self.words(max(self.values))
        return f"{self.title}: {last} now, {most} at most"


def curves_of(picture: Picture) -> tuple[Curve, Curve, Curve]:
    """Return input rate, processing time and total delay of the newest batches."""
    interval = picture.batch_ms
    return (
        Curve(
            "Input rate",
            _points(picture, lambda info: info.record_count * 1000 / interval),
            "#2f81d6",
            rate_words,
        ),
        Curve(
            "Processing time",
            _points(picture, lambda info: info.processing_delay_ms),
            "#3a9a5b",
            span,
            interval,
        ),
        Curve(
            "Total delay",
            _points(picture, lambda info: info.total_delay_ms),
            "#c9822b",
            span,
            interval,
        ),
    )


def rate_words(rate: float) -> str:
    """Return a number of records a second with its unit.

    >>> rate_words(1200), rate_words(0.26)
    ('1,200 records/s', '0.30 records/s')
    """
    return f"{count(round(rate, 1))} records/s"


def failures_of(picture: Picture) -> tuple[int, ...]:
    """Return the times of those of the newest batches that failed."""
    newest = picture.batches[:BATCHES_MAX]
    return tuple(each.info.batch_ms for each in newest if each.failed_count)


def _points(
    picture: Picture, value_of: Callable[[BatchInfo], float | None]
) -> tuple[tuple[int, float], ...]:
    newest = (each.info for each in reversed(picture.batches[:BATCHES_MAX]))
    known = ((info.batch_ms, value_of(info)) for info in newest)
    return tuple((time_ms, value) for time_ms, value in known if value is not None)


def svg_of(curve: Curve, failures: Collection[int] = ()) -> str:
    """Return a chart; its limit is a dashed line, and failed batches are red marks."""
    scale = _scale_of(curve, failures)
    marks = [
        f'<line x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}" stroke="currentColor" '
        'stroke-opacity="0.45" stroke-dasharray="4 3"/>'
        for y in ([] if curve.limit is None else [scale.y(curve.limit)])
    ]
    marks += [
        f'<rect x="{scale.x(each) - 1:.1f}" y="{_HEIGHT - 5}" width="2" height="5" '
        f'fill="{_FAILED_COLOR}"/>'
        for each in sorted(failures)
    ]
    places = [f"{scale.x(at):.1f},{scale.y(value)}" for at, value in curve.points]
    if places:
        marks.append(
            f'<polyline points="{" ".join(places)}" fill="none" '
            f'stroke="{curve.color}" stroke-width="1.5" stroke-linejoin="round"/>'
        )
        x, y = places[-1].split(",")
        marks.append(f'<circle cx="{x}" cy="{y}" r="2" fill="{curve.color}"/>')
    told = escape(curve.told)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"<title>{told}</title>{''.join(marks)}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    begin_ms: int
    end_ms: int
    most: float

    def x(self, time_ms: int) -> float:
        """Return where a time is; the only one there is is on the right."""
        width = _WIDTH - 2 * _PAD
        if self.end_ms == self.begin_ms:
            return _PAD + width
        return _PAD + width * (time_ms - self.begin_ms) / (self.end_ms - self.begin_ms)

    def y(self, value: float) -> str:
        """Return where a value is; 0 is at the bottom."""
        height = _HEIGHT - 2 * _PAD
        return f"{_HEIGHT - _PAD - height * value / self.most:.1f}"


def _scale_of(curve: Curve, failures: Collection[int]) -> _Scale:
    times = [*(time_ms for time_ms, _ in curve.points), *failures] or [0]
    most = max([*curve.values, curve.limit or 0])
    return _Scale(min(times), max(times), most or 1)

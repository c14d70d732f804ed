"""Mini-charts of a stream's newest batches."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from tests.engine.observe.observed import batch

from millstream.engine.observe.mini_chart import (
    BATCHES_MAX,
    Curve,
    curves_of,
    failures_of,
    svg_of,
)
from millstream.engine.observe.progress import Picture, StreamProgress
from millstream.engine.streams.events import BatchCompleted, BatchInfo, BatchSubmitted

SVG = "{http://www.w3.org/2000/svg}"


def picture_of(*batches: BatchInfo) -> Picture:
    """Return the picture after batches of a second that have ended."""
    progress = StreamProgress(1000)
    for each in batches:
        progress.on_event(BatchCompleted(each))
    return progress.picture()


def curve(*values: float, limit: float | None = None) -> Curve:
    """Return a curve of a value a second."""
    points = tuple((1000 * number, value) for number, value in enumerate(values, 1))
    return Curve("a <b>", points, "#123456", lambda value: f"{value:g} ms", limit)


def heights(chart: str) -> list[float]:
    """Return how far down each point of the curve is."""
    line = ET.fromstring(chart).find(f"{SVG}polyline")
    assert line is not None
    return [float(each.split(",")[1]) for each in line.attrib["points"].split()]


def test_there_is_a_curve_of_rates_and_of_each_delay() -> None:
    """Oldest first; delays with the batch interval as their limit."""
    rate, processing, total = curves_of(
        picture_of(batch(1000, records=4, waited=1, took=7), batch(2000, records=0))
    )

    assert rate.points == ((1000, 4), (2000, 0))
    assert processing.points == ((1000, 7), (2000, 30))
    assert total.points == ((1000, 8), (2000, 32))
    assert (rate.limit, processing.limit, total.limit) == (None, 1000, 1000)
    assert processing.told == "Processing time: 30 ms now, 30 ms at most"


def test_a_batch_that_waits_has_a_rate_but_no_delays() -> None:
    """They aren't known, which isn't zero."""
    progress = StreamProgress(1000)
    waiting = replace(batch(1000), processing_start_ms=None, processing_end_ms=None)
    progress.on_event(BatchSubmitted(waiting))
    rate, processing, total = curves_of(progress.picture())

    assert rate.values == [10]
    assert processing.points == total.points == ()
    assert processing.told == "Processing time: nothing yet"


def test_only_the_newest_batches_are_drawn() -> None:
    """However many are retained; failed ones too."""
    count = BATCHES_MAX + 40
    picture = picture_of(
        *(
            batch(1000 * n, failure="no" if n in {1, count} else None)
            for n in range(1, count + 1)
        )
    )
    rate, *_ = curves_of(picture)

    assert len(rate.points) == BATCHES_MAX
    assert rate.points[-1][0] == 1000 * count
    assert failures_of(picture) == (1000 * count,)


def test_higher_values_are_further_up() -> None:
    """Zero is at the bottom, the highest at the top."""
    low, middle, high = heights(svg_of(curve(0, 5, 10)))

    assert (low, middle, high) == (36.0, 20.0, 4.0)


def test_a_limit_is_a_dashed_line_in_the_same_scale() -> None:
    """Above what stays below it, and below what doesn't."""
    for values, is_kept in (((5.0,), True), ((20.0,), False)):
        chart = svg_of(curve(*values, limit=10))
        line = ET.fromstring(chart).find(f"{SVG}line")

        assert line is not None
        assert (float(line.attrib["y1"]) < heights(chart)[0]) == is_kept


@pytest.mark.parametrize("values", [(), (0.0,), (0.0, 0.0), (7.0,)])
def test_few_values_are_drawn_too(values: tuple[float, ...]) -> None:
    """None, zeros, and a single one, which is on the right."""
    chart = ET.fromstring(svg_of(curve(*values)))
    dots = chart.findall(f"{SVG}circle")

    assert [each.attrib["cx"] for each in dots] == (["276.0"] if values else [])


def test_failed_batches_are_marked() -> None:
    """Where they are in time."""
    chart = ET.fromstring(svg_of(curve(1, 2, 3), failures=(2000,)))
    (mark,) = chart.findall(f"{SVG}rect")

    assert mark.attrib["x"] == "139.0"


def test_a_chart_is_told_in_words_and_escaped() -> None:
    """For who can't see it."""
    chart = svg_of(curve(1, 3, 2))
    read = ET.fromstring(chart)

    assert read.attrib["aria-label"] == "a <b>: 2 ms now, 3 ms at most"
    assert "<b>" not in chart

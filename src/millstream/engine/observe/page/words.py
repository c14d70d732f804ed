"""Words: times, spans, sizes and counts as the page writes them."""

from datetime import UTC, datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def moment(time_ms: int, *, has_ms: bool = False, has_date: bool = True) -> str:
    """Return a time in the machine's zone: 2026/01/02 03:04:05, with .006 if asked."""
    local = datetime.fromtimestamp(time_ms // 1000, UTC).astimezone()
    text = f"{local:%Y/%m/%d %H:%M:%S}" if has_date else f"{local:%H:%M:%S}"
    return f"{text}.{time_ms % 1000:03}" if has_ms else text


def batch_moment(time_ms: int, batch_ms: int) -> str:
    """Return a batch's time; with milliseconds where batches are shorter than a second."""
    return moment(time_ms, has_ms=batch_ms < 1000)


def span(ms: float | None) -> str:
    """Return a span of time in one unit that suits it: 12 ms, 1.5 s, 2.0 min; "-" if None.

    >>> span(950), span(1500), span(125_000), span(None)
    ('950 ms', '1.5 s', '2.1 min', '-')
    """
    if ms is None:
        return "-"
    if abs(ms) < 1000:
        return f"{ms:.0f} ms"
    if abs(ms) < 60_000:
        return f"{ms / 1000:.1f} s"
    if abs(ms) < 3_600_000:
        return f"{ms / 60_000:.1f} min"
    return f"{ms / 3_600_000:.1f} h"


def short_span(ms: float) -> str:
    """Return a span of time of which fractions of a millisecond matter.

    >>> short_span(0.0421), short_span(1.5), short_span(42.2), short_span(1500)
    ('42 µs', '1.50 ms', '42 ms', '1.5 s')
    """
    if abs(ms) < 1:
        return f"{ms * 1000:.0f} µs"
    return f"{ms:.2f} ms" if abs(ms) < 10 else span(ms)


def size(byte_count: float) -> str:
    """Return a number of bytes in a unit that suits it.

    >>> size(512), size(1536)
    ('512 B', '1.5 KiB')
    """
    value, unit = float(byte_count), _SIZES[0]
    for unit in _SIZES:
        if abs(value) < 1024 or unit == _SIZES[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def count(number: float) -> str:
    """Return a number with its thousands apart; without a fraction where it has none."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.2f}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "record"), counted(1200, "record"), counted(2, "batch")
    ('1 record', '1,200 records', '2 batches')
    """
    ending = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending}"


def cut(text: str, most: int = 100) -> str:
    """Return a text of `most` characters at most; what is left out is told by dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."

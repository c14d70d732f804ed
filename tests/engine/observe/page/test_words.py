"""Times, spans, sizes and counts are written in units that suit them."""

import pytest

from millstream.engine.observe.page import words


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (59_900, "59.9 s"),
        (60_000, "1.0 min"),
        (7_200_000, "2.0 h"),
    ],
)
def test_a_span_is_in_one_unit(ms: float | None, text: str) -> None:
    """The largest that it is one of at least."""
    assert words.span(ms) == text


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_a_size_is_in_one_unit(bytes_: int, text: str) -> None:
    """Of 1024 each."""
    assert words.size(bytes_) == text


def test_batches_shorter_than_a_second_have_milliseconds() -> None:
    """As in Spark: else they would look alike."""
    assert words.batch_moment(1_250, 1000).endswith(":01")
    assert words.batch_moment(1_250, 500).endswith(":01.250")
    assert len(words.moment(0, has_date=False)) == len("00:00:00")


def test_counts_have_their_thousands_apart() -> None:
    """And a fraction where they have one."""
    assert (words.count(12_000), words.count(1.5)) == ("12,000", "1.50")


def test_a_long_text_is_cut_as_spark_does() -> None:
    """To a hundred characters with the dots."""
    assert words.cut("x" * 100) == "x" * 100
    assert words.cut("x" * 101) == "x" * 97 + "..."

"""Tests of engine/columnar/prefilter.py: lines left out are those a filter would drop."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream import SparkConf, SparkContext
from millstream.engine.columnar import prefilter
from millstream.engine.columnar.prefilter import lines_with
from millstream.engine.columnar.shapes import TEXT
from millstream.engine.columnar.stages import plan_stage
from millstream.engine.plan.steps import Filter, Map, Step
from millstream.engine.plan.text import split_lines

WANTED = "needle"


def _leaves_early(line: str) -> bool:
    if WANTED not in line:
        return False
    return len(line) > 3


def _leaves_early_with(line: str) -> bool:
    if WANTED in line:
        return len(line) > 3
    return False


CASES: list[tuple[Callable[[str], bool], str | None]] = [
    (lambda line: "needle" in line, "needle"),
    (lambda line: WANTED in line, "needle"),
    (lambda line: "é" in line and len(line) > 3, "é"),
    (lambda line: len(line) > 3 and "x" in line, "x"),
    (lambda line: "a" in line and "b" in line and "c" in line, "a"),
    (_leaves_early, "needle"),
    (_leaves_early_with, "needle"),
    (lambda line: "x" in line and int(line) > 3, None),
    (lambda line: int(line) > 3 and "x" in line, None),
    (lambda line: "a" in line or "b" in line, None),
    (lambda line: "a" not in line, None),
    (lambda line: not ("a" in line and len(line) > 3), None),
    (lambda line: "b" in line if "a" in line else len(line) > 3, None),
    (lambda line: len(line) > 3 if "a" in line else True, None),
    (lambda line: "E" in line.upper(), None),
    (lambda line: line in "needle", None),
    (lambda line: "" in line, None),
    (lambda line: "a\nb" in line, None),
    (lambda line: "\r" in line, None),
    (lambda line: "�" in line, None),
]


@pytest.mark.parametrize(("function", "needle"), CASES, ids=map(str, range(len(CASES))))
def test_a_needle_is_known_where_the_filter_needs_it(
    function: Callable[[str], bool], needle: str | None
) -> None:
    """And nothing that might fail is computed of the lines without it."""
    assert plan_stage([Filter(function)], TEXT).needle == needle


def test_a_needle_of_a_later_step_is_none() -> None:
    """What comes before is computed of every line."""
    steps: list[Step] = [Map(lambda line: line[1:]), Filter(lambda line: "x" in line)]

    assert plan_stage(steps, TEXT).needle is None


pieces = st.sampled_from(
    [b"ab", b"a", b"b", b"\n", b"\r", b"\r\n", b" ", "é".encode(), b"\xc3", b"\x00"]
)


@given(
    st.lists(pieces, max_size=40).map(b"".join),
    st.sampled_from(["ab", "a", "é", "\x00", "b a"]),
)
@example(b"ab", "ab")
@example(b"\xc3ab\n\xe2\x82a", "ab")
def test_no_line_with_the_needle_is_missing(data: bytes, needle: str) -> None:
    """Whatever the bytes are, and however the lines end."""
    few = split_lines(lines_with(data, needle), is_text=True)

    every = split_lines(data, is_text=True)
    assert [e for e in few if needle in e] == [e for e in every if needle in e]


def test_lines_without_the_needle_are_left_out() -> None:
    """Which is the point of it."""
    data = b"hay\n" * 100_000 + b"a needle\n" + b"hay\n" * 100_000 + b"needle"

    assert lines_with(data, "needle") == b"a needle\nneedle"


@pytest.mark.parametrize("begin", [b"", b"hay\n" * 100_000])
def test_a_needle_in_every_line_leaves_a_block_as_it_is(begin: bytes) -> None:
    """To pick lines out one by one would take longer than it saves."""
    data = begin + b"needle\n" * 100_000

    assert lines_with(data, "needle") is data


def test_a_block_is_as_it_is_where_nothing_searches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a system whose C library can't."""
    monkeypatch.setattr(prefilter, "_search", lambda: None)
    data = b"hay\n" * 1000

    assert lines_with(data, "needle") is data


@pytest.mark.parametrize("mode", ["on", "verify"])
def test_a_file_is_filtered_as_by_rows(tmp_path: Path, mode: str) -> None:
    """Several blocks, of which the first one makes the plan; lines ended in three ways."""
    lines = [f"line {n}" + (" needle" if n % 5000 == 0 else "") for n in range(200_000)]
    ends = ["\n", "\r\n", "\r"]
    text = "".join(line + ends[n % 7 % 3] for n, line in enumerate(lines))
    for name in ("a", "b"):
        (tmp_path / name).write_text(text, newline="")
    conf = SparkConf().setMaster("local[1]").setAppName("filtering")

    with SparkContext(conf=conf.set("spark.millstream.columnar", mode)) as sc:
        rdd = sc.textFile(str(tmp_path), 4).filter(lambda line: "needle" in line)
        counts = [rdd.count(), rdd.count()]
        found = rdd.collect()

    assert counts == [80, 80]
    assert found == [line for line in lines if "needle" in line] * 2

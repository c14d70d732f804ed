"""Certify: sinks that are right pass, and what is wrong with others is found."""

import sqlite3
from functools import partial
from pathlib import Path

import pytest
from tests.testing import certified_sinks

from millstream.testing import Certificate, certify_sink

pytestmark = pytest.mark.slow


def _certify(kind: type[certified_sinks.Right], directory: Path) -> Certificate:
    path = str(directory / "numbers.db")

    def read_back() -> list[int]:
        connection = sqlite3.connect(path)
        rows = connection.execute("select number from numbers").fetchall()
        connection.close()
        return [number for (number,) in rows]

    return certify_sink(partial(kind, path), read_back)


def test_a_sink_with_marks_and_a_fence_is_exactly_once(tmp_path: Path) -> None:
    """Whatever happens to it."""
    report = _certify(certified_sinks.Right, tmp_path)

    assert report.guarantee == "exactly once", report
    assert len(report.findings) > 15
    assert "half-way through `write` of partition 1" in str(report)
    assert "never came" not in str(report)


def test_a_sink_without_marks_is_at_least_once(tmp_path: Path) -> None:
    """What was written before a crash is written again."""
    report = _certify(certified_sinks.WithoutMarks, tmp_path)

    assert report.guarantee == "at least once", report
    found = {each.scenario: each for each in report.findings}
    assert found["a crash after `write` of partition 0"].doubled == 18
    assert found["a restart, and all batches again"].doubled == 24
    assert found["batches one after the other"].is_good


def test_a_mark_before_its_records_loses_them(tmp_path: Path) -> None:
    """A crash in between leaves the mark alone."""
    report = _certify(certified_sinks.MarksFirst, tmp_path)

    assert report.guarantee == "loses records", report
    found = {each.scenario: each for each in report.findings}
    assert found["a crash half-way through `write` of partition 0"].lost == 6


def test_a_writer_that_was_replaced_is_found(tmp_path: Path) -> None:
    """Its records aren't those that the program has planned since."""
    report = _certify(certified_sinks.WithoutFence, tmp_path)

    assert report.guarantee == "loses records", report
    found = {each.scenario: each for each in report.findings}
    replaced = found["a writer that was replaced wakes up"]
    assert replaced.strange > 0
    assert replaced.note == "it wasn't refused"

"""Drawn streams give on columns what they give on rows, batch by batch."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from tests.properties.columnar.choices import seeded
from tests.properties.columnar.subjects import Subject, trying
from tests.properties.columnar.test_columns_equal_rows import check, seeds, so_many

pytestmark = pytest.mark.slow


@pytest.fixture
def streams() -> Iterator[Subject]:
    """Return what runs streams, each in contexts of its own."""
    logging.disable(logging.ERROR)
    with trying("streams", slots=1) as subject:
        yield subject
    logging.disable(logging.NOTSET)


@so_many(15)
@given(seeds)
def test_a_stream_gives_the_same_both_ways(streams: Subject, seed: int) -> None:
    """Windows, state and joins."""
    check(streams, seed)


def test_much_of_what_is_drawn_runs_in_columns(streams: Subject) -> None:
    """A proof about streams that all took the row path would be none."""
    cases = [streams.compare(streams.draw(seeded(seed))) for seed in range(6)]

    assert sum(bool(case.notes.get("columns")) for case in cases) > 2

"""Drawn functions of mapWithState give on columns what they give on rows."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from tests.properties.columnar.choices import seeded
from tests.properties.columnar.subjects import Subject, trying
from tests.properties.columnar.test_columns_equal_rows import check, seeds, so_many

pytestmark = pytest.mark.slow


@pytest.fixture
def states() -> Iterator[Subject]:
    """Return what runs streams, each in contexts of its own."""
    logging.disable(logging.ERROR)
    with trying("states", slots=1) as subject:
        yield subject
    logging.disable(logging.NOTSET)


@so_many(25)
@given(seeds)
def test_what_is_mapped_and_kept_is_the_same_both_ways(
    states: Subject, seed: int
) -> None:
    """Records and snapshots of several batches, in order, or the same error."""
    check(states, seed)


def test_most_of_what_is_drawn_is_mapped_in_columns(states: Subject) -> None:
    """A proof about functions that all took the row path would be none."""
    cases = [states.compare(states.draw(seeded(seed))) for seed in range(12)]

    assert sum(bool(case.notes.get("columns")) for case in cases) > 6

"""Drawn programs give on columns what they give on rows: value, type, order and error."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.properties.columnar.choices import seeded
from tests.properties.columnar.subjects import Subject, told, trying
from tests.thoroughness import tries

pytestmark = pytest.mark.slow

_TRIES = 200
# Which program a seed stands for is drawn apart, and made small apart: a program takes
# hundreds of choices, of which Hypothesis would try the same ones again and again.
seeds = st.integers(0, 2**63)


def so_many(count: int) -> settings:
    """Return the settings for a number of examples, or for a third of it."""
    many = tries(count // 3, count)
    return settings(max_examples=many, phases=[Phase.explicit, Phase.generate])


@pytest.fixture(scope="module")
def programs() -> Iterator[Subject]:
    """Return what runs programs, in one context for all."""
    logging.disable(logging.WARNING)
    with trying("programs", slots=1) as subject:
        yield subject
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _no_strays() -> None:
    """The module's context outlives each test of programs."""


def check(subject: Subject, seed: int) -> None:
    """Fail with the smallest program that is found, if the two ways differ."""
    choices = seeded(seed)
    source = subject.draw(choices)
    case = subject.compare(source)
    if not case.is_same:
        source = subject.smallest(choices, case, _TRIES)
        case = subject.compare(source)

    assert case.is_same, told(source, case, f"seed {seed}")


@so_many(300)
@given(seeds)
def test_a_program_gives_the_same_both_ways(programs: Subject, seed: int) -> None:
    """Chains of RDD operations and an action."""
    check(programs, seed)


@so_many(300)
@given(seeds)
def test_a_function_gives_the_same_both_ways(seed: int) -> None:
    """One function, record by record."""
    with trying("functions", slots=1) as functions:
        check(functions, seed)


def test_much_of_what_is_drawn_runs_in_columns(programs: Subject) -> None:
    """A proof about programs that all took the row path would be none."""
    cases = [programs.compare(programs.draw(seeded(seed))) for seed in range(150)]
    share = sum(bool(case.notes.get("columns")) for case in cases) / len(cases)

    assert share > 1 / 3

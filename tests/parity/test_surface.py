"""PySpark's surface: every public name that was recorded, with its parameters in order."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from tests.parity.differences import (
    ABSENT,
    DIFFERS,
    LACKING_FUNCTIONS,
    OTHER_PARAMETERS,
    REFUSED,
)
from tests.parity.surface import (
    Recorded,
    above,
    always_raises,
    here,
    is_here,
    recorded,
    unlike,
)

pytest.importorskip("pyspark", reason="needs the extra `sql`")

# Of SQL it is mostly the engine that refuses, when a query runs: see test_refusals.py.
_BY_ENGINE: Final = "pyspark.sql."
# For programs to fill in, and Python's own questions to a column, raise in PySpark, too.
_TO_FILL_IN: Final = (
    "pyspark.AccumulatorParam",
    "pyspark.Profiler",
    "pyspark.serializers.UTF8Deserializer.dumps",
    "pyspark.sql.Column.__contains__",
    "pyspark.sql.Column.__iter__",
    "pyspark.sql.datasource",
    "pyspark.sql.types",
)


def _expected() -> list[Recorded]:
    """Return what should be here."""
    return [each for each in recorded().values() if above(each.path, ABSENT) is None]


@pytest.mark.slow
def test_every_name_of_pysparks_is_here_or_said_to_be_absent() -> None:
    """And nothing that is said to be absent is here."""
    missing = [each.path for each in _expected() if not is_here(each.path)]
    found = [
        path for path in recorded() if above(path, ABSENT) is not None and is_here(path)
    ]

    assert missing == []
    assert found == []


@pytest.mark.slow
def test_every_name_has_pysparks_parameters_or_is_said_to_have_others() -> None:
    """Same names and defaults, same order; ours may have more behind them."""
    wrong = {
        each.path: how
        for each in _expected()
        if each.path not in REFUSED and (how := unlike(each, here(each.path)))
    }

    assert {path: wrong[path] for path in wrong if path not in OTHER_PARAMETERS} == {}
    assert sorted(wrong) == sorted(OTHER_PARAMETERS)


@pytest.mark.slow
def test_what_does_nothing_but_raise_is_said_to() -> None:
    """So that nothing counts as here that only has the name."""
    raising = {each.path for each in _expected() if always_raises(here(each.path))} - {
        path for path in recorded() if above(path, _TO_FILL_IN) is not None
    }

    assert sorted(raising - REFUSED.keys()) == []
    assert sorted(REFUSED.keys() - raising) == sorted(
        path for path in REFUSED.keys() - raising if path.startswith(_BY_ENGINE)
    )


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(ABSENT, id="absent"),
        pytest.param(REFUSED, id="refused"),
        pytest.param(DIFFERS, id="differs"),
        pytest.param(OTHER_PARAMETERS, id="other-parameters"),
        pytest.param(
            {
                f"pyspark.sql.functions.{name}": why
                for name, why in LACKING_FUNCTIONS.items()
            },
            id="lacking-functions",
        ),
    ],
)
def test_what_is_said_is_of_pysparks_names(said: Mapping[str, str]) -> None:
    """Whole modules count as names; each has a reason, for who reads the table."""
    modules = {each.module for each in recorded().values()}

    assert [
        path for path in said if path not in recorded() and path not in modules
    ] == []
    assert [path for path, reason in said.items() if not reason.strip()] == []


def test_a_name_is_said_to_be_one_thing() -> None:
    """Absent, refused, or otherwise."""
    said = [*ABSENT, *REFUSED, *DIFFERS]

    assert sorted(set(said)) == sorted(said)
    assert [path for path in said if path not in ABSENT and above(path, ABSENT)] == []


_OURS: Final[dict[str, Any]] = {
    "same": lambda a, b=1: (a, b),
    "more": lambda a, b=1, c=2, *, d=3: (a, b, c, d),
    "other": lambda b, a=1: (a, b),
    "another default": lambda a, b=2: (a, b),
    "needs more": lambda a, b=1, *, c: (a, b, c),
    "no method": property(lambda self: self),
}


@pytest.mark.parametrize(
    ("name", "wanted", "how"),
    [
        ("same", "(a, b=1)", "alike"),
        ("more", "(a, b=1)", "alike"),
        ("same", "(a, b=...)", "alike"),
        ("more", "(a, *, d=3)", "alike"),
        ("same", "(a)", "alike"),
        ("other", "(a, b=1)", "a in another place: (b, a)"),
        ("same", "(a, c=1)", "takes no c: (a, b)"),
        ("same", "(a=0, b=1)", "a=0 is here a"),
        ("another default", "(a, b=1)", "b=1 is here b=2"),
        ("needs more", "(a, b=1)", "needs c, too"),
        ("same", "(a, *more)", "takes no *more"),
        ("same", "(a, **more)", "takes no **more"),
        ("no method", "(a)", "a property, no method"),
    ],
)
def test_parameters_are_compared_as_a_caller_would(
    name: str, wanted: str, how: str
) -> None:
    """By place and by name; what could be left out can be."""
    each = Recorded("module", "name", "function", wanted, ())

    assert (unlike(each, _OURS[name]) or "alike") == how

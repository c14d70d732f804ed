"""Tests of engine/columnar/list_operations.py: lists in columns are Python's lists."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import list_operations as operations
from millstream.engine.columnar.values import (
    Constant,
    List,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
)

LISTS: dict[str, list[Any]] = {
    "int": [[], [1], [3, 1, 2], [2**62, 2**62], [-1, 5, 5], [0], [0, 1]],
    "str": [[], ["b", "a"], [""], ["", "a"], ["ß", "z", "𝄞", "\uffff"]],
    "float": [[], [0.1] * 10, [1e16, 1.0, -1e16], [float("nan"), 1.0], [-0.0, 0.0]],
    "bool": [[], [True, False], [False], [True]],
    "bytes": [[], [b"b", b"a"], [b""], [b"\xff", b"a"]],
}
NAN_LAST = [[1.0, float("nan")], [float("nan"), 1.0], [0.0, -0.0], [-0.0]]


def as_list(value: Value) -> List:
    """Return a value as the list it is."""
    assert isinstance(value, List)
    return value


def pair(value: Value) -> tuple[List, Scalar]:
    """Return a list and what goes with it."""
    assert isinstance(value, Tuple)
    mine, other = value.items
    assert isinstance(mine, List)
    assert isinstance(other, Scalar)
    return mine, other


ASKED: dict[str, tuple[Callable[[Translation, List], Value], Callable[..., Any]]] = {
    "len": (operations.list_length, len),
    "sum": (operations.list_sum, sum),
    "min": (operations.list_min, min),
    "max": (operations.list_max, max),
    "any": (operations.list_any, any),
    "all": (operations.list_all, all),
    "sorted": (operations.list_sorted, sorted),
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_of_a_whole_list(name: str, kind: str) -> None:
    """It is what Python says, and what raises in Python fires a guard."""
    translate, function = ASKED[name]
    if name == "sum" and kind in {"str", "bytes"}:
        with pytest.raises(Refusal):
            check(lambda t, v: translate(t, as_list(v)), function, LISTS[kind])
        return

    check(
        lambda t, value: translate(t, as_list(value)),
        function,
        LISTS[kind] + (NAN_LAST if kind == "float" else []),
        ordinary=name != "sum",
    )


def test_ordinary_sums_fire_no_guard() -> None:
    """Only an empty list of floats does, of which the sum is an int, and large ints."""
    for rows in ([[1], [2, 3], [], [2**61]], [[0.1], [0.5, 0.25]], [[True], []]):
        check(lambda t, v: operations.list_sum(t, as_list(v)), sum, rows, ordinary=True)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1)), min_size=1).filter(any))
@pytest.mark.slow
def test_sums_never_overflow(rows: list[list[int]]) -> None:
    """A sum is exact, or a guard fires."""
    check(lambda t, value: operations.list_sum(t, as_list(value)), sum, rows)


@pytest.mark.parametrize("kind", LISTS)
def test_sorting_down_and_turning_around(kind: str) -> None:
    """`sorted(..., reverse=True)` and `[::-1]`."""
    check(
        lambda t, v: operations.list_sorted(t, as_list(v), is_descending=True),
        lambda values: sorted(values, reverse=True),
        LISTS[kind],
        ordinary=True,
    )
    check(
        lambda t, v: operations.list_slice(
            t, as_list(v), Constant(None), Constant(None), Constant(-1)
        ),
        lambda values: values[::-1],
        LISTS[kind],
        ordinary=True,
    )


LETTERS: list[Any] = [[], ["a"], ["a", "b"], ["a", "b", "c"], list("abcdef")]
NESTED: list[Any] = [[], [(1, "a")], [(1, "a"), (2, "b")]]
BOUNDS = [None, 0, 1, 2, 5, -1, -2, -5]


@pytest.mark.parametrize("rows", [LETTERS, NESTED])
def test_items_and_slices(rows: list[Any]) -> None:
    """Any constant index and bounds, before, in and behind a list, of tuples too."""
    for index in BOUNDS[1:]:
        check(
            lambda t, v: operations.list_item(t, as_list(v), Constant(index)),
            lambda values: values[index],
            rows,
            ordinary=True,
        )
    for start, stop in itertools.product(BOUNDS, repeat=2):
        check(
            lambda t, v: operations.list_slice(
                t, as_list(v), Constant(start), Constant(stop), Constant(None)
            ),
            lambda values: values[start:stop],
            rows,
            ordinary=True,
        )


INDEXED = [([1, 2, 3][:size], n) for size in range(4) for n in range(-4, 5)]


def check_pairs(
    translate: Callable[[Translation, List, Scalar], Value],
    function: Callable[[Any, Any], Any],
    rows: Sequence[Any],
) -> None:
    """Assert that columns of a list and a value say what Python says."""
    check(
        lambda t, value: translate(t, *pair(value)),
        lambda row: function(*row),
        rows,
        ordinary=True,
    )


def test_items_and_slices_by_columns() -> None:
    """An index, and either bound, may vary."""
    none = Constant(None)
    check_pairs(operations.list_item, lambda values, n: values[n], INDEXED)
    check_pairs(
        lambda t, v, n: operations.list_slice(t, v, n, none, none),
        lambda values, n: values[n:],
        INDEXED,
    )
    check_pairs(
        lambda t, v, n: operations.list_slice(t, v, none, n, none),
        lambda values, n: values[:n],
        INDEXED,
    )


def test_looking_for_something() -> None:
    """`in`, `count` and `index` find what is equal."""
    check_pairs(
        lambda t, v, n: operations.list_contains(t, n, v),
        lambda values, n: n in values,
        INDEXED,
    )
    for name in ("count", "index"):
        check_pairs(
            lambda t, v, n: operations.call_list_method(t, v, name, [n], {}),
            lambda values, n: getattr(values, name)(n),
            INDEXED,
        )


@pytest.mark.parametrize("needle", ["a", 1.0, True])
def test_looking_for_another_type_is_refused(needle: Any) -> None:
    """1 is 1.0 and True, so what is looked for must be of the list's own type."""
    with pytest.raises(Refusal):
        check(
            lambda t, v: operations.list_contains(t, Constant(needle), as_list(v)),
            lambda values: needle in values,
            LISTS["int"],
        )


def test_what_changes_a_list_is_refused() -> None:
    """Columns don't change."""
    with pytest.raises(Refusal, match=r"list\.append\(\) isn't known"):
        check(
            lambda t, v: operations.call_list_method(
                t, as_list(v), "append", [Constant(1)], {}
            ),
            lambda values: values.append(1),
            LISTS["int"],
        )

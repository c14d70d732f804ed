"""Lowering: what people write becomes expressions, and is what Python says it is."""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.shapes import infer_shape, to_frame
from millstream.engine.columnar.stages import GuardFailed, plan_stage, projected
from millstream.engine.plan.steps import Filter, FlatMap, Map, Step

STOP_WORDS = {"the", "a", "of", "and"}
SCORES = {"a": 1, "b": 2, "c": 3, "d": 4}
LIMIT = 10


def by_columns(rows: Sequence[Any], *steps: Step) -> list[Any] | str:
    """Return what steps make of rows by columns, or why they don't."""
    shape = infer_shape(rows)
    assert shape is not None
    frame = to_frame(rows, shape)
    plan = plan_stage(steps, shape, frame)
    if plan.lowered_count < len(steps):
        return f"refused: {plan.refusal}"
    query = plan.run(frame)
    if isinstance(query, GuardFailed):
        return f"guard: {query.reason}"
    return Columns(projected(query, plan.value), plan.shape).thaw()


def check(function: Callable[[Any], Any], rows: Sequence[Any]) -> None:
    """Assert that columns give what Python gives, types included."""
    assert repr(by_columns(rows, Map(function))) == repr([function(r) for r in rows])


NUMBERS = [0, 1, -1, 7, -8, 2**40, -(2**40)]
WORDS = ["", "a", "the", "b", "Zebra", "été"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        lambda x: 2 - x,
        lambda x: x * 3 - x,
        lambda x: x / 4,
        lambda x: (x // 3, x % 3, -x // 3, x % -3),
        lambda x: x if x > 0 else -x,
        lambda x: x > 0 and x < 5,
        lambda x: 0 < x <= 7,
        lambda x: not x,
        lambda x: x or 5,
        lambda x: x and 5,
        lambda x: (x & 6, x | 1, x ^ 3, ~x, +x),
        lambda x: x**2 if -100 < x < 100 else 0,
        lambda x: abs(x) + min(x, 3) + max(x, 3, 4),
        lambda x: x in (1, 7),
        lambda x: x not in {0, 1, 2, 3, -8},
        lambda x: x == 1.0,
        lambda x: (x < 0.5, x >= 6.5),
        lambda x: float(x) + 0.5,
        lambda x: str(x) + "!",
        lambda x: f"{x}/{x + 1}",
        lambda x: bool(x),
        lambda x: [x, x + 1],
        lambda x: {"x": x, "twice": x * 2},
        lambda x: None if x else x,
        lambda x: (None, "k", x, 1.5),
        lambda x: x == None,  # noqa: E711
        lambda x: "a" if x == 0 else "b" if x > 0 else "c",
        operator.neg,
        functools.partial(operator.add, 5),
        lambda x: math.floor(x / 2),
        lambda x: isinstance(x, int),
        lambda x: sum([x, 1, 2]),
        lambda x: len([x, x]),
    ],
    ids=map(str, itertools.count()),
)
def test_numbers(function: Callable[[Any], Any]) -> None:
    """Arithmetic, comparison and choice are Python's."""
    check(function, NUMBERS)


@pytest.mark.parametrize(
    "function",
    [
        lambda w: w + "s",
        lambda w: (w, 1),
        lambda w: w.upper() if len(w) > 1 else w,
        lambda w: w in STOP_WORDS,
        lambda w: w not in STOP_WORDS and len(w) < LIMIT,
        lambda w: SCORES.get(w, 0),
        lambda w: SCORES.get(w),
        lambda w: w[:1] == "Z",
        lambda w: w < "b",
        lambda w: (w, 2) > ("b", 1),
        lambda w: w == 1,
        lambda w: str(len(w)) + w,
        len,
        str.upper,
        operator.methodcaller("replace", "e", "E"),
        lambda w: [c for c in w.split("e") if c],
        lambda w: "-".join(w.split("e")),
    ],
    ids=map(str, itertools.count()),
)
def test_texts(function: Callable[[Any], Any]) -> None:
    """So is what is done with texts."""
    found = by_columns(WORDS, Map(function))
    if isinstance(found, str):
        assert found.startswith("refused: a comprehension with a condition")
    else:
        assert repr(found) == repr([function(w) for w in WORDS])


def normal(word: str) -> str:
    """Return a word without its case, or "?"."""
    if not word:
        return "?"
    return word.lower()


def classify(pair: tuple[str, int]) -> str:
    """Have branches, assignments and a helper."""
    word, count = pair
    kind = "none"
    if count > 10:
        kind = "many"
    elif count > 1:
        kind = "some"
    size = len(normal(word))
    size += 1
    return f"{kind} {size}"


def test_functions_are_followed() -> None:
    """Defs with branches, assignments, unpacking and helpers are translated whole."""
    check(classify, [("a", 1), ("bb", 2), ("", 11), ("CCC", 0)])


def test_closures_and_defaults_are_folded() -> None:
    """What a function closes over is a constant to it."""

    def adder(n: int) -> Callable[[int], int]:
        return lambda x, m=n * 2: x + n + m  # type: ignore[misc]

    check(adder(5), NUMBERS)


def test_items_of_records() -> None:
    """Tuples, lists and dicts are taken apart."""
    check(lambda r: (r[0], r[1][-1], r[-1]), [(1, ("a", "b"), 2), (3, ("c", "d"), 4)])
    check(lambda r: r["a"] + r.get("b", 0) + r.get("z", 1), [{"a": 1, "b": 2}])
    check(lambda r: (sum(r), len(r), max(r), r[0], 2 in r), [[1, 2], [3]])
    check(operator.itemgetter(1, 0), [(1, "a"), (2, "b")])


def test_none_is_minded() -> None:
    """None takes part where Python lets it, and is a guard where Python raises."""
    rows = [1, None, 3]

    check(lambda x: 0 if x is None else x + 1, rows)
    check(lambda x: (x or 0) + 1, rows)
    check(lambda x: x == 3, rows)
    check(lambda x: x is not None and x > 2, rows)
    assert by_columns(rows, Map(lambda x: x + 1)) == "guard: None in `+`"


def halves(x: int) -> tuple[int, int] | None:
    """Return a pair or None."""
    if x % 2 == 0:
        return x // 2, x - x // 2
    return None


def second_half(x: int) -> int | None:
    """Take a pair apart where there is one."""
    found = halves(x)
    return found and found[1]


def looked_at(x: int) -> int:
    """Look whether there is a pair before taking it apart."""
    found = halves(x)
    if found is None:
        return -1
    return found[0] * 10 // found[1]


@pytest.mark.parametrize(
    "function",
    [
        looked_at,
        lambda x: halves(x) is None,
        lambda x: halves(x) or (0, x),
        lambda x: (halves(x) if x > 0 else halves(-x)) or (7, 7),
        lambda x: (halves(x) if x > 0 else (1, x)) or (7, 7),
        second_half,
        lambda x: 1 if halves(x) else 2,
        lambda x: not halves(x),
    ],
    ids=map(str, itertools.count()),
)
def test_a_tuple_may_be_none(function: Callable[[Any], Any]) -> None:
    """It can be looked at, and replaced; a record that is one or the other can't be."""
    check(function, [2, -5, 9, 8, -4])
    assert by_columns([2, 5], Map(halves)) == (
        "refused: sometimes a tuple and sometimes a NoneType"
    )


@pytest.mark.parametrize(
    ("function", "rows", "reason"),
    [
        (lambda x: x + 1, [2**63 - 1], "an int of more than 64 bits"),
        (lambda x: x * x, [2**32], "an int of more than 64 bits"),
        (lambda x: -x, [-(2**63)], "an int of more than 64 bits"),
        (lambda x: 1 // x, [1, 0], "a division by zero"),
        (lambda x: 1 / x, [0], "a division by zero"),
        (lambda x: x[3], [[1, 2]], "an index out of range"),
        (lambda x: SCORES[x], ["a", "z"], "a key that the dict lacks"),
        (lambda x: x == 0.5, [2**60], "an int too large for a float"),
    ],
    ids=map(str, itertools.count()),
)
def test_guards_say_what_python_would_do_otherwise(
    function: Callable[[Any], Any], rows: list[Any], reason: str
) -> None:
    """Where Python raises, or goes on with large ints, the block is given back."""
    assert by_columns(rows, Map(function)) == f"guard: {reason}"


def test_guards_count_only_where_their_branch_is_taken() -> None:
    """What isn't computed can't fail."""
    check(lambda x: 10 // x if x else 0, [0, 5])
    check(lambda x: x != 0 and 10 // x > 1, [0, 5])
    check(lambda x: x[1] if len(x) > 1 else -1, [[1], [1, 2]])


def unknown(word: str) -> Any:
    """Do what has no columns."""
    for _ in range(3):
        word += "x"
    return word


class Strange:
    """No plain value."""

    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (unknown, "isn't known in columns"),
        (lambda w: w.swoosh(), "swoosh"),
        (lambda w: Strange(w), "`Strange`"),
        (lambda w: 1 if w else "a", "sometimes a int and sometimes a str"),
        (lambda w: print(w), "`print`"),
        (lambda *w: w, "any number of arguments"),
        (lambda w: w < 1, "`<` on a str and a int"),
        (lambda w: {w}, "a set"),
        (lambda w, v: w, "isn't given `v`"),
    ],
    ids=map(str, itertools.count()),
)
def test_refusals_say_why(function: Callable[..., Any], reason: str) -> None:
    """What isn't known stays on the row path, for a reason in words."""
    found = by_columns(["a"], Map(function))

    assert isinstance(found, str)
    assert found.startswith("refused: ")
    assert any(part in found for part in reason.split("|"))


def test_recursion_is_refused() -> None:
    """A function that calls itself has no end that is known."""

    def down(n: int) -> int:
        return 0 if n == 0 else down(n - 1)

    assert "calls itself" in str(by_columns([1, 2], Map(down)))


def pairs(line: str) -> Any:
    """Yield from one loop."""
    for word in line.split(" "):
        if word:
            yield word, len(word)


@pytest.mark.parametrize(
    "function",
    [
        lambda line: line.split(" "),
        lambda line: [(w, 1) for w in line.split(" ")],
        lambda line: [w + line for w in line.split(" ") if w and w != "b"],
        lambda line: (w for w in line.split(" ")),
        lambda line: map(len, line.split(" ")),
        lambda line: filter(None, line.split(" ")),
        lambda line: map(lambda w: (w, line), line.split(" ")),  # noqa: C417
        lambda line: [line, line + "!"],
        lambda line: [(line, 1), (line, 2)],
        pairs,
    ],
    ids=map(str, itertools.count()),
)
def test_many_records_of_one(function: Callable[[Any], Any]) -> None:
    """Lists, comprehensions, generators, map and filter are flattened."""
    rows = ["a b  c", "", "b", "d a"]

    assert by_columns(rows, FlatMap(function)) == [
        item for row in rows for item in function(row)
    ]


def test_filters_keep_what_is_true() -> None:
    """Any value is true or false, as Python sees it."""
    assert by_columns(["", "a", "b"], Filter(lambda w: w)) == ["a", "b"]
    assert by_columns([0.0, 2.5, -0.0], Filter(lambda x: x)) == [2.5]
    assert by_columns([[], [1]], Filter(bool)) == [[1]]


def test_nan_is_equal_to_nothing() -> None:
    """Comparison of floats is Python's."""
    check(
        lambda x: (x == x, x != x, x < 1.0, x >= 1.0, max(x, 1.0) == 1.0),  # noqa: PLR0124
        [math.nan, 1.0, math.inf, -math.inf, 0.0, -0.0],
    )

"""Tests of engine/columnar/text_operations.py: str in columns is Python's str."""

import itertools
import operator
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import text_operations as operations
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Translation,
    Tuple,
    Value,
)

TEXTS = [
    *("", "a", "ab", "abc", "a,b,c", ",a,,", "a b  c", " x ", "\t y\n", "A-B=C=d"),
    *(
        "Aß",
        "ÉÀ",
        "İi",
        "ΣΑΣ",
        "ǅ",
        "12",
        "-12",
        "+7",
        "٣",
        "1_000",
        "²",
        "½",
        "\u017f",
    ),
    *("hello World", "HELLO", "x\x1cy", "x\u2028y\r\nz", "𝄞abc", "\x00", "it's", '"'),
    *("\\", "e\u0301", "they're ok", "ÿ,ÿ", "_id9", "nan", "\xa0 q \u3000", "a\x85b"),
    *("aaa", "aaaa", "aXaa", "ŉ", "ﬁ", "$1", ".*", "9" * 30),
]
PAIRS = list(itertools.product(TEXTS[:24], repeat=2))
PROPERTIES = [
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
]
CASES = ["lower", "upper", "title", "capitalize", "casefold", "swapcase"]
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    *((name, ()) for name in [*PROPERTIES, *CASES]),
    *(("split", args) for args in [(), (None,), (",",), (" ",), ("aa",), ("ß",)]),
    *(("split", (",", n)) for n in (-1, 0, 1, 2, 40)),
    *(("split", args) for args in [("aa", 2), (None, 1), (None, 0)]),
    *(("rsplit", args) for args in [(), (",",), ("aa",), (",", 1), (None, 1)]),
    *(("splitlines", args) for args in [(), (True,)]),
    *(("partition", (by,)) for by in (",", "aa", "$1")),
    *(("rpartition", (by,)) for by in (",", "aa")),
    *(
        (name, args)
        for name in ("strip", "lstrip", "rstrip")
        for args in [(), (None,), ("",), ("a ",), ("cß,",)]
    ),
    *(("startswith", args) for args in [("a",), ("",), (("a", "A"),), ((),)]),
    *(("endswith", args) for args in [("c",), (("c", ""),), ("c", 1), ("c", 0, 2)]),
    *(("replace", args) for args in [("a", "XX"), ("", "-"), (",", ""), ("aa", "$1")]),
    *(("replace", args) for args in [(".", "b"), ("a", "b", 1), ("a", "b", -1)]),
    *((name, (x,)) for name in ("find", "rfind", "count") for x in ("b", "", "aa")),
    *((name, ("a", 1)) for name in ("find", "rfind", "count")),
    *((name, (x,)) for name in ("index", "rindex") for x in ("b", "")),
    *((name, (5,)) for name in ("zfill", "ljust", "rjust", "center")),
    *((name, (6, "ß")) for name in ("ljust", "rjust", "center")),
    *((name, (6, "xx")) for name in ("ljust", "rjust")),
    *((name, (-1,)) for name in ("zfill", "ljust", "rjust", "center")),
    *(("removeprefix", (x,)) for x in ("a", "", "aa")),
    *(("removesuffix", (x,)) for x in ("c", "", "aa")),
    *(("encode", args) for args in [(), ("utf-8",), ("latin-1",), ("ascii", "ignore")]),
    ("translate", ({97: "Q", 98: None},)),
    ("expandtabs", ()),
]


def first(value: Value) -> Value:
    """Return the first item of a tuple."""
    assert isinstance(value, Tuple)
    return value.items[0]


def second(value: Value) -> Value:
    """Return the second item of a tuple."""
    assert isinstance(value, Tuple)
    return value.items[1]


def call(t: Translation, text: Value, name: str, *args: Any) -> Value:
    """Return what a method makes of a text, with constants."""
    return operations.call_method(t, text, name, [Constant(arg) for arg in args], {})


@pytest.mark.parametrize(("name", "args"), CALLS)
def test_methods_with_constants(name: str, args: tuple[Any, ...]) -> None:
    """A method says what Python's says, and only where that raises does a guard fire."""
    check(
        lambda t, value: call(t, value, name, *args),
        lambda text: getattr(text, name)(*args),
        TEXTS,
        ordinary=True,
    )


@pytest.mark.parametrize(
    "name",
    [
        "split",
        "rsplit",
        "partition",
        "strip",
        "lstrip",
        "startswith",
        "endswith",
        "find",
        "rfind",
        "index",
        "count",
        "removeprefix",
        "removesuffix",
        "join",
    ],
)
def test_methods_with_columns(name: str) -> None:
    """An argument may vary as well as the text does."""
    check(
        lambda t, value: operations.call_method(
            t, first(value), name, [second(value)], {}
        ),
        lambda pair: getattr(pair[0], name)(pair[1]),
        PAIRS,
        ordinary=True,
    )


@given(st.lists(st.text(), min_size=1), st.text(max_size=3), st.text(max_size=3))
@pytest.mark.slow
def test_methods_of_drawn_texts(texts: list[str], one: str, other: str) -> None:
    """It is so whatever the texts."""
    for name, args in [
        ("replace", (one, other)),
        ("find", (one,)),
        ("count", (one,)),
        ("strip", (one,)),
        ("partition", (one or " ",)),
        ("split", (one or " ",)),
        ("split", ()),
        ("title", ()),
    ]:
        check(
            lambda t, value: call(t, value, name, *args),
            lambda text: getattr(text, name)(*args),
            texts,
            ordinary=True,
        )


def test_replacing_by_a_column() -> None:
    """Either argument of `replace` may vary."""
    check(
        lambda t, value: operations.call_method(
            t, first(value), "replace", [Constant("a"), second(value)], {}
        ),
        lambda pair: pair[0].replace("a", pair[1]),
        PAIRS,
        ordinary=True,
    )
    check(
        lambda t, value: operations.call_method(
            t, first(value), "replace", [second(value), Constant("$1")], {}
        ),
        lambda pair: pair[0].replace(pair[1], "$1"),
        PAIRS,
        ordinary=True,
    )


@pytest.mark.parametrize("name", ["startswith", "endswith"])
def test_one_of_several_columns_at_an_end(name: str) -> None:
    """A tuple may have columns in it."""
    check(
        lambda t, value: operations.call_method(
            t, first(value), name, [Tuple((second(value), Constant("b")))], {}
        ),
        lambda pair: getattr(pair[0], name)((pair[1], "b")),
        PAIRS,
        ordinary=True,
    )


def test_joining() -> None:
    """A constant joins a tuple, a list and the characters of a text."""
    check(
        lambda t, v: operations.call_method(t, Constant("-"), "join", [v], {}),
        "-".join,
        PAIRS,
        ordinary=True,
    )
    check(
        lambda t, v: operations.call_method(t, Constant("-"), "join", [v], {}),
        "-".join,
        [[], [""], ["a"], ["a", "ß", ""]],
        ordinary=True,
    )
    check(
        lambda t, v: operations.call_method(t, Constant("--"), "join", [v], {}),
        "--".join,
        TEXTS,
        ordinary=True,
    )


@pytest.mark.parametrize("rows", [[(1, "a")], [[1, 2]], [2]])
def test_joining_what_is_no_text_is_refused(rows: list[Any]) -> None:
    """It raises in Python, so columns leave it alone."""
    with pytest.raises(Refusal):
        check(
            lambda t, v: operations.call_method(t, Constant("-"), "join", [v], {}),
            "-".join,
            rows,
        )


def test_methods_with_keywords() -> None:
    """Keywords are Python's own."""
    check(
        lambda t, v: operations.call_method(
            t, v, "split", [], {"sep": Constant(","), "maxsplit": Constant(1)}
        ),
        lambda text: text.split(sep=",", maxsplit=1),
        TEXTS,
        ordinary=True,
    )


@pytest.mark.parametrize(
    ("name", "args"),
    [("decode", ()), ("split", (b",",)), ("strip", ()), ("upper", ()), ("hex", ())],
)
def test_methods_of_bytes(name: str, args: tuple[Any, ...]) -> None:
    """Bytes have their own methods."""
    check(
        lambda t, value: call(t, value, name, *args),
        lambda data: getattr(data, name)(*args),
        [*(text.encode() for text in TEXTS), b"\xff", b"\xed\xa0\x80"],
        ordinary=True,
    )


def test_an_unknown_method_is_refused() -> None:
    """What str hasn't, or changes nothing, isn't guessed at."""
    with pytest.raises(Refusal, match=r"str\.foo\(\) isn't known"):
        check(lambda t, v: call(t, v, "foo"), str, TEXTS)


def test_none_takes_the_row_path() -> None:
    """A method of None raises in Python, so a guard fires."""
    check(
        lambda t, value: call(t, value, "upper"),
        lambda text: text.upper(),
        ["a", None, ""],
        ordinary=True,
    )


CHARACTERS = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]


@pytest.mark.parametrize("name", [*PROPERTIES, *CASES, "splitlines"])
def test_characters(name: str) -> None:
    """Whatever a character is to Python, it is in columns."""
    check(
        lambda t, value: call(t, value, name),
        lambda text: getattr(text, name)(),
        CHARACTERS[:0x600] + CHARACTERS[0x600:0x3100:7] + CHARACTERS[0x3100::997],
        ordinary=True,
    )


@pytest.mark.slow
def test_all_white_space() -> None:
    """Every character is white space, to `strip` and `split`, that is so to Python."""
    assert [c for c in CHARACTERS if c.isspace()] == list(operations.WHITE_SPACE)
    check(
        lambda t, value: call(t, value, "split"),
        str.split,
        ["a".join(CHARACTERS[n : n + 64]) for n in range(0, len(CHARACTERS), 64)],
        ordinary=True,
    )
    check(
        lambda t, value: call(t, value, "strip"),
        str.strip,
        [f"{c}a{c}b{c}" for c in CHARACTERS[:0x3100]],
        ordinary=True,
    )


@pytest.mark.parametrize("name", [*PROPERTIES, *CASES, "strip", "split"])
def test_ascii_characters_beside_others(name: str) -> None:
    """Nor is there any place in a text of ASCII characters."""
    texts = [
        f"{before}{chr(code)}{after}"
        for code in range(128)
        for before in ("", "a", "9")
        for after in ("", "\n", "A")
    ]

    check(
        lambda t, value: call(t, value, name),
        lambda text: getattr(text, name)(),
        texts,
        ordinary=True,
    )


OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.mark.parametrize("op", OPERATORS)
def test_comparing(op: str) -> None:
    """Texts, and bytes, compare by what they consist of."""
    for rows in (PAIRS, [(a.encode(), b.encode()) for a, b in PAIRS]):
        check(
            lambda t, value: operations.compare(t, op, first(value), second(value)),
            lambda pair: OPERATORS[op](*pair),
            rows,
            ordinary=True,
        )


@pytest.mark.parametrize("op", OPERATORS)
def test_comparing_with_none(op: str) -> None:
    """None equals None; it has no order."""
    check(
        lambda t, value: operations.compare(t, op, first(value), second(value)),
        lambda pair: OPERATORS[op](*pair),
        [("a", None), (None, "a"), (None, None), ("a", "a"), ("a", "b")],
        ordinary=True,
    )


def test_operators() -> None:
    """Length, `in` and `+` mean what they mean in Python."""
    for rows in (PAIRS, [(a.encode(), b.encode()) for a, b in PAIRS]):
        check(
            lambda t, value: operations.concat(t, first(value), second(value)),
            lambda pair: pair[0] + pair[1],
            rows,
            ordinary=True,
        )
        check(
            lambda t, value: operations.contains(t, first(value), second(value)),
            lambda pair: pair[0] in pair[1],
            rows,
            ordinary=True,
        )
        check(
            lambda t, value: operations.length(t, second(value)),
            lambda pair: len(pair[1]),
            rows,
            ordinary=True,
        )


BOUNDS = [None, 0, 1, 2, 5, -1, -2, -5]


@pytest.mark.parametrize("start", BOUNDS)
def test_slices(start: int | None) -> None:
    """Any bounds, before, in and behind a text, and any step."""
    for stop, step in itertools.product(BOUNDS, [None, 1, -1, 2, 0]):
        check(
            lambda t, value: operations.slice_of(
                t, value, Constant(start), Constant(stop), Constant(step)
            ),
            lambda text: text[start:stop:step],
            TEXTS[:12],
            ordinary=True,
        )


INDEXED = [(text, n) for text in TEXTS for n in (-3, -1, 0, 1, 2, 40)]


@pytest.mark.parametrize("index", [0, 1, 2, -1, -2, -5, True])
def test_items_at_constants(index: int) -> None:
    """An index out of range fires a guard, on either side."""
    for rows in (TEXTS, [text.encode() for text in TEXTS]):
        check(
            lambda t, value: operations.item(t, value, Constant(index)),
            lambda text: text[index],
            rows,
            ordinary=True,
        )


def test_items_slices_and_copies_by_columns() -> None:
    """What varies may be an index, a bound, or how often a text is repeated."""
    check(
        lambda t, value: operations.item(t, first(value), second(value)),
        lambda pair: pair[0][pair[1]],
        INDEXED,
        ordinary=True,
    )
    check(
        lambda t, value: operations.repeat(t, first(value), second(value)),
        lambda pair: pair[0] * pair[1],
        INDEXED,
        ordinary=True,
    )
    check(
        lambda t, value: operations.slice_of(
            t, first(value), second(value), Constant(None), Constant(None)
        ),
        lambda pair: pair[0][pair[1] :],
        INDEXED,
        ordinary=True,
    )


@pytest.mark.parametrize("times", [-1, 0, 1, 3, 30])
def test_copies_by_constants(times: int) -> None:
    """A text is repeated as often as is said, or not at all."""
    check(
        lambda t, value: operations.repeat(t, value, Constant(times)),
        lambda text: text * times,
        TEXTS,
        ordinary=True,
    )

"""Tests of engine/columnar/json_values.py: `json.loads` gives the same, or a guard fires."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import json_values
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Special,
    Translation,
    Value,
    as_record,
    as_scalar,
)

RECORDS = [
    {"id": n, "name": name, "price": price, "ok": ok, "in": {"x": [n, 2]}, "opt": opt}
    for n, name, price, ok, opt in [
        (1, "a", 1.5, True, None),
        (-2, 'é"\\/\n\t𝄞', 1e300, False, "q"),
        (2**62, "", -0.0, True, ""),
    ]
]
PLAIN = [
    "1",
    "1.0",
    '"1"',
    "true",
    "null",
    "1e2",
    "-0",
    "-0.0",
    "0",
    "01",
    "1.",
    "1e400",
]
PLAIN += ["99999999999999999999", str(2**63 - 1), str(-(2**63)), str(2**63), "NaN"]
PLAIN += ["Infinity", "-Infinity", r'"\u0000"', r'"\ud800"', r'"\ud83d\ude00"', '""']
PLAIN += [r'"\ud83d"', r'"a\"b"', '"\x01"', '"\x7f"', "[]", "{}", "[1]", r'"\x"', "'a'"]
PLAIN += [
    "",
    "tru",
    '"é"',
    "0.1",
    "12.5e-30",
    r'"\\"',
    r'"a\\"',
    '"1.5"',
    '"e"',
    "[1, null]",
]
OTHER_LINES = ['{"a":1,"a":2}', '{"b":1,"a":2}', '{"a":1,"b":2}', "{}", "", "[", "nul"]
OTHER_LINES += ['{"a":1}x', '\ufeff{"a":1}', '{"a" :1,}', '{"a":1', '{"A":1}', "\xa0 1"]
SOME_ABSENT = ['{"a":1,"b":2,"c":3}', '{"b":5,"c":4}', '{"b":5}', '{"a":1,"b":2}']


def loads(t: Translation, value: Value) -> Value:
    """Return `json.loads(value)`."""
    return json_values.loads(t, as_scalar(value, "a text"))


def record(t: Translation, value: Value) -> Value:
    """Return `json.loads(value)`, all of it."""
    return as_record(t, loads(t, value))


def item(*keys: str) -> Callable[[Translation, Value], Value]:
    """Return what gives `json.loads(value)[key]`, and so on."""

    def translate(t: Translation, value: Value) -> Value:
        made = loads(t, value)
        for key in keys:
            assert isinstance(made, Special)
            made = made.subscript(t, Constant(key))
        return made

    return translate


def asked(name: str, *args: Any) -> Callable[[Translation, Value], Value]:
    """Return what calls a method of `json.loads(value)`."""

    def translate(t: Translation, value: Value) -> Value:
        made = loads(t, value)
        assert isinstance(made, Special)
        constants = [Constant(arg) for arg in args]
        if name == "in":
            return made.contains(t, *constants)
        return made.call_method(t, name, constants, {})

    return translate


@pytest.mark.parametrize(
    "options",
    [{}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": 2}],
    ids=str,
)
@pytest.mark.parametrize("frame", ["%s", "\t%s \r\n"], ids=repr)
def test_whole_objects(frame: str, options: dict[str, Any]) -> None:
    """However it is written, an object is the dict that Python makes of it."""
    lines = [frame % json.dumps(each, **options) for each in RECORDS]

    check(record, json.loads, lines, ordinary=True)


@pytest.mark.parametrize("key", RECORDS[0])
def test_single_values(key: str) -> None:
    """Each value by its key, and by `get`."""
    lines = [json.dumps(each) for each in RECORDS]
    if key == "in":
        check(item("in", "x"), lambda s: json.loads(s)["in"]["x"], lines, ordinary=True)
        return

    check(item(key), lambda line: json.loads(line)[key], lines, ordinary=True)
    check(asked("get", key), lambda s: json.loads(s).get(key), lines, ordinary=True)


@pytest.mark.parametrize(
    "first", ["5", "5.5", '"x"', "true", "null", "[3]", '["x"]', "[1.5]"]
)
@pytest.mark.parametrize(
    "line", ["%s", '{"a": %s}', '{"z": 0, "a": %s , "b": {"c": 1}}']
)
def test_other_lines_than_the_first(line: str, first: str) -> None:
    """A value of another type, or another line, is right or fires a guard."""
    is_object = "a" in line
    rows = [line % first] * 100 + [line % other for other in PLAIN] + OTHER_LINES

    check(
        item("a") if is_object else loads,
        lambda text: json.loads(text)["a"] if is_object else json.loads(text),
        rows,
    )


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_keys_that_some_lines_have(key: str) -> None:
    """`get` and `in` say what a line has; only `[...]` needs the key."""
    check(
        asked("get", key), lambda s: json.loads(s).get(key), SOME_ABSENT, ordinary=True
    )
    check(
        asked("get", key, 7),
        lambda line: json.loads(line).get(key, 7),
        SOME_ABSENT,
        ordinary=True,
    )
    check(
        asked("in", key),
        lambda line: key in json.loads(line),
        SOME_ABSENT,
        ordinary=True,
    )
    if key != "d":
        check(item(key), lambda line: json.loads(line)[key], SOME_ABSENT, ordinary=True)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (SOME_ABSENT, "differ in their keys"),
        (['{"a":1,"b":2}', '{"b":1,"a":2}'], "different orders"),
        (['{"a":1}', '{"a":1.5}'], "a value of JSON that is float and int"),
        (['{"a":[1]}', '{"a":["x"]}'], "a value of JSON that is list of int and str"),
        (['{"a":[{"b":1}]}'], "lists of more than plain values"),
        (['{"a":{"b":1}}', '{"a":null}'], "there are other values"),
        (["nothing", ""], "the first lines aren't JSON"),
        (["{}", "{}"], "without a key that all have"),
    ],
)
def test_lines_of_many_shapes_are_refused(lines: list[str], reason: str) -> None:
    """There is no record for what differs from line to line."""
    with pytest.raises(Refusal, match=reason):
        check(record, json.loads, lines)


def test_values_that_are_not_used_may_be_anything_plain() -> None:
    """Only what is used must be of one type."""
    lines = ['{"a":1,"b":2}', '{"a":1.5,"b":2}', '{"a":[1,"x"],"b":3}']

    check(item("b"), lambda line: json.loads(line)["b"], lines, ordinary=True)


def test_odd_keys() -> None:
    """A key is text like any other."""
    value = {"é.*(": 1, '"': 2, "\n": 3, "": 4, "$": 5}
    lines = [json.dumps(value, ensure_ascii=is_ascii) for is_ascii in (True, False)]

    check(record, json.loads, lines, ordinary=True)


KINDS = [
    *(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none()),
    *(st.none() | st.text(max_size=5), st.none() | st.integers(-9, 9)),
    *(st.lists(st.integers(), min_size=1), st.lists(st.text(max_size=2), min_size=1)),
    st.tuples(st.integers(-9, 9), st.text('\\"é', max_size=3)).map(
        lambda row: {"x": row[0], "": row[1]}
    ),
]
schemas = st.dictionaries(st.text(max_size=2), st.sampled_from(KINDS), min_size=1)
objects = schemas.flatmap(
    lambda schema: st.lists(
        st.tuples(*schema.values()).map(
            lambda row: dict(zip(schema, row, strict=True))
        ),
        min_size=1,
        max_size=5,
    )
)


@given(objects, st.lists(st.sampled_from(OTHER_LINES)), st.booleans())
@pytest.mark.slow
def test_drawn_json(drawn: list[Any], others: list[str], is_ascii: bool) -> None:
    """Whatever the lines, all of each is what Python makes of it, or a guard fires."""
    lines = [json.dumps(value, ensure_ascii=is_ascii) for value in drawn]
    lines = [line for line in lines if line.isascii() or line.isprintable()]
    assume(lines)

    # The first lines, of which the shape is taken, are without the others.
    check(record, json.loads, lines * 100 + others)

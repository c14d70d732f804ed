"""Drawn data: records of one drawn type, weighted towards what is odd.

Types are drawn first. A text has a flavour, which says what it is likely to hold, so that
most programs do something sensible with it.
"""

import datetime
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.properties.columnar.choices import Choices


@dataclass(frozen=True, slots=True)
class Type:
    """What a drawn expression is meant to give; it may give something else."""

    name: str
    items: "tuple[Type, ...]" = ()
    keys: tuple[str, ...] = ()
    flavour: str = ""


INT, FLOAT, BOOL = Type("int"), Type("float"), Type("bool")
STR, BYTES, NONE = Type("str"), Type("bytes"), Type("none")
DATE, DATETIME = Type("date"), Type("datetime")
NUMBER_TEXT = Type("str", flavour="number")
DECIMAL_TEXT = Type("str", flavour="decimal")
WORDS = Type("str", flavour="words")
DATE_TEXT = Type("str", flavour="date")
ANY = Type("any")

KEYS = ("a", "b", "name")


def list_of(item: Type) -> Type:
    """Return the type of a list."""
    return Type("list", (item,))


def tuple_of(*items: Type) -> Type:
    """Return the type of a tuple."""
    return Type("tuple", items)


def optional(item: Type) -> Type:
    """Return the type of an item or None."""
    return Type("optional", (item,))


INTS = [0, 1, 2, 3, -1, 5, 7, 10, -7, 12]
ODD_INTS = [
    *(2**31 - 1, -(2**31), 2**31, 2**32, 2**53, 2**53 + 1, -(2**53) - 1),
    *(2**63 - 1, -(2**63), -(2**63) + 1, 3037000500, 10**18, 4611686018427387904),
    *(2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**30),
]
FLOATS = [0.0, 1.0, 0.5, 2.0, -1.0, 0.1, 0.25, 3.0, 1.5, 100.0]
ODD_FLOATS = [
    *(-0.0, math.nan, math.inf, -math.inf, 5e-324, 2.2250738585072014e-308, 1e16),
    *(1e-5, 1e22, 1e15, 123456789012345680.0, 0.1 + 0.2, 1.7976931348623157e308),
    *(2.0**53, 2.0**63, -(2.0**63), 2.0**64, 9007199254740993.0, 1e-4, 1e100, 2.675),
    *(0.30000000000000004, -2.5, 4.35, 1e23, 9.5e-7),
]
WORD_LIST = ["a", "b", "ab", "the", "cat", "", "A", "The"]
TEXTS = ["a", "b", "ab", "a b", "a,b", "hello world", "", "Ab", "x=1", "b,a,c"]
ODD_TEXTS = [
    *("", " ", "  ", "\t", " a ", "a  b", "\n", "a\nb", "a\r\nb", "\ra", "\x0b\x0c"),
    *("\x1c", "a\x1db", "\x1e\x1f", "\x85", "a\x85b", "\xa0", "a\xa0b", "\u2028"),
    *("\u2029", "\u200b", "\u3000a", "\u1680", "\u2003x\u205f", "\ufeff", "\ufeffa"),
    *(
        "\ufffd",
        "ß",
        "straße",
        "İ",
        "\u0131",
        "\u017f",
        "Σ",
        "ΑΣ",
        "σς",
        "ǅ",
        "ﬁ",
        "ŉ",
        "e\u0301",
    ),
    *("é", "É", "ÅÅ", "日本語", "😀", "a😀b", "👩‍👩‍👧", "\U0010ffff", "\x00", "a\x00b"),
    *("\x7f", "\x01", '"', '"a","b"', 'a,"b,c"', "\\", "\\n", "'", "{}", "%s", "{0}"),
    *("³", "½", "٣", "Ⅷ", "१२", "aAbB", "AB", "ab cd  ef", ",", ",,", "a,", ",a"),
    *("a" * 70, "é" * 40, "ab," * 30, "ⓐ", "ª", "ʰ", "ÿ", "Ÿ", "K", "Å", "ᾳ", "ŉ"),
]
SURROGATES = ["\ud800", "a\udfffb", "\udcff"]
NUMBER_TEXTS = ["1", "2", "0", "10", "-1", "3", "42", "7"]
DECIMAL_TEXTS = ["1.5", "0.5", "2", "12.34", "-0.25", "100", "0.1", "7.0"]
ODD_NUMBER_TEXTS = [
    *(
        "1_000",
        " 1 ",
        "+1",
        "1e5",
        "0x1",
        "inf",
        "nan",
        "-0",
        "00",
        "1.",
        ".5",
        "1e400",
    ),
    *(
        "\u0661",
        "",
        " ",
        "-",
        "+",
        "1_",
        "_1",
        "1__0",
        "- 1",
        "1\n",
        "\u20031",
        "1\x1f",
        "1\x00",
    ),
    *("-inf", "Infinity", "NaN", "-nan", "1e-400", "9223372036854775807", "+-1", "0_0"),
    *("9223372036854775808", "-9223372036854775808", "1" * 25, "1" + "0" * 40, "0b1"),
    *("0.1", "1e16", "-0.0", "1.7976931348623157e308", "1.7976931348623159e308", "1e"),
    *("4.9e-324", "2.4703282292062327e-324", "0.30000000000000004", "1E5", "1e+5"),
    *(
        "9007199254740993",
        "9007199254740993.0",
        "1,000",
        "$1",
        "1 2",
        "\uff11\uff12",
        "007",
    ),
    *("123456789.123456789", "1e22", "1e23", "8.5e-7", "true", "None", "\ufeff1"),
]
DATE_TEXTS = ["2024-01-15", "2024-02-29", "2023-12-31", "2000-01-01"]
TIME_TEXTS = ["2024-01-15 10:20:30", "2024-02-29 00:00:00", "1999-12-31 23:59:59"]
ODD_DATE_TEXTS = [
    *("2024-1-5", "2023-02-29", "24-01-15", "2024-01-15T10:20:30", "20240115", ""),
    *("2024-01-15 10:20:30.5", "2024-01-15 1:2:3", " 2024-01-15", "2024-01-15 "),
    *("0001-01-01", "9999-12-31 23:59:59", "2024-W03-1", "2024-01-15 24:00:00"),
    *("2024-01-15T10:20:30+02:00", "2024-01-15 10:20:60", "2024-13-01", "٢٠٢٤-01-15"),
    *("2024-01-15T10:20:30Z", "2024-01-15T10", "2024-01-15 10:20:30.123456", "x"),
]
DATETIMES = [
    datetime.datetime(2024, 1, 15, 10, 20, 30),
    datetime.datetime(2024, 2, 29),
    datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
]
ODD_DATETIMES = [
    *(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    *(datetime.datetime(1969, 12, 31, 23, 59, 59, 1), datetime.datetime(1600, 2, 29)),
    datetime.datetime(2024, 1, 15, tzinfo=datetime.UTC),
    datetime.datetime(2024, 1, 15, fold=1),
]
DATES = [datetime.date(2024, 1, 15), datetime.date(2024, 2, 29)]
ODD_DATES = [
    *(datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(1969, 12, 31)),
]
BYTE_TEXTS = [b"a", b"b", b"ab", b"a b", b""]
ODD_BYTE_TEXTS = [b"\xff", b"\xc3\xa9", b"\x00", b"a,b", b" a\n", b"\xed\xa0\x80"]
SEPARATORS = [",", " ", ";", "|", "\t"]


def draw_type(choices: Choices) -> Type:
    """Return the type of the records of a program."""
    draw: Callable[[Choices], Type] = choices.weighted(
        [
            (12, _draw_text_type),
            (5, lambda _: INT),
            (4, lambda _: FLOAT),
            (8, _draw_pair_type),
            (4, _draw_tuple_type),
            (3, _draw_dict_type),
            (2, lambda c: list_of(_draw_plain_type(c))),
            (2, lambda c: optional(_draw_plain_type(c))),
            (1, lambda _: BOOL),
            (1, lambda _: BYTES),
            (1, lambda c: c.pick([DATE, DATETIME])),
            (1, lambda _: ANY),
        ]
    )
    return draw(choices)


def _draw_text_type(choices: Choices) -> Type:
    draw: Callable[[Choices], Type] = choices.weighted(
        [
            (4, lambda _: WORDS),
            (4, lambda _: STR),
            (3, lambda _: NUMBER_TEXT),
            (2, lambda _: DECIMAL_TEXT),
            (6, _draw_csv_type),
            (5, _draw_json_type),
            (2, lambda _: DATE_TEXT),
        ]
    )
    return draw(choices)


def _draw_csv_type(choices: Choices) -> Type:
    fields = [
        choices.pick([WORDS, NUMBER_TEXT, DECIMAL_TEXT, STR, DATE_TEXT])
        for _ in range(choices.between(1, 4))
    ]
    return Type("str", tuple(fields), (choices.pick(SEPARATORS),), "csv")


def _draw_json_type(choices: Choices) -> Type:
    return Type("str", (_draw_dict_type(choices),), (), "json")


def _draw_dict_type(choices: Choices) -> Type:
    keys = KEYS[: choices.between(1, 3)]
    items = [
        choices.weighted(
            [
                (5, INT),
                (4, FLOAT),
                (4, WORDS),
                (2, STR),
                (1, BOOL),
                (1, list_of(INT)),
                (1, Type("dict", (INT,), ("c",))),
                (1, optional(INT)),
            ]
        )
        for _ in keys
    ]
    return Type("dict", tuple(items), keys)


def _draw_plain_type(choices: Choices) -> Type:
    return choices.pick([INT, WORDS, FLOAT, STR, NUMBER_TEXT, BOOL])


def _draw_pair_type(choices: Choices) -> Type:
    key = choices.weighted(
        [
            (6, WORDS),
            (5, INT),
            (2, STR),
            (2, FLOAT),
            (1, BOOL),
            (2, tuple_of(WORDS, INT)),
            (1, optional(WORDS)),
            (1, DATE),
            (1, ANY),
        ]
    )
    value = choices.weighted(
        [
            (6, INT),
            (4, FLOAT),
            (2, WORDS),
            (2, tuple_of(INT, FLOAT)),
            (1, optional(INT)),
            (1, list_of(INT)),
            (1, BOOL),
            (1, NUMBER_TEXT),
        ]
    )
    return tuple_of(key, value)


def _draw_tuple_type(choices: Choices) -> Type:
    items = [_draw_plain_type(choices) for _ in range(choices.between(1, 3))]
    if choices.chance(25):
        items.append(tuple_of(_draw_plain_type(choices), INT))
    return Type("tuple", tuple(items))


def draw_records(choices: Choices, kind: Type, *, count_max: int = 12) -> list[Any]:
    """Return a few records of a type; how odd they are is drawn too."""
    oddity = choices.weighted([(55, 0), (25, 10), (15, 45), (3, 80)])
    count = 0 if choices.chance(3) else choices.between(1, count_max)
    return [draw_value(choices, kind, oddity) for _ in range(count)]


def draw_value(choices: Choices, kind: Type, oddity: int) -> Any:
    """Return one value of a type, odd in so many of a hundred places."""
    match kind.name:
        case "tuple":
            return tuple(draw_value(choices, item, oddity) for item in kind.items)
        case "list":
            count = choices.weighted([(6, 2), (4, 1), (4, 3), (1, 0)])
            return [draw_value(choices, kind.items[0], oddity) for _ in range(count)]
        case "dict":
            return _draw_dict(choices, kind, oddity)
        case "optional":
            is_none = choices.chance(30)
            return None if is_none else draw_value(choices, kind.items[0], oddity)
        case "any":
            one = choices.pick([INT, FLOAT, BOOL, WORDS, NONE, STR, tuple_of(INT)])
            return draw_value(choices, one, oddity)
        case "str":
            return _draw_text(choices, kind, oddity)
        case "none":
            return None
        case _:
            plain, odd = _VALUES[kind.name]
            return choices.pick(odd if choices.chance(oddity) else plain)


_VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "int": (INTS, ODD_INTS),
    "float": (FLOATS, ODD_FLOATS),
    "bool": ([False, True], [False, True]),
    "bytes": (BYTE_TEXTS, ODD_BYTE_TEXTS),
    "date": (DATES, ODD_DATES),
    "datetime": (DATETIMES, ODD_DATETIMES),
}


def _draw_dict(choices: Choices, kind: Type, oddity: int) -> dict[str, Any]:
    made = {
        key: draw_value(choices, item, oddity)
        for key, item in zip(kind.keys, kind.items, strict=True)
    }
    if choices.chance(oddity // 4):
        made.pop(choices.pick(kind.keys))
    if choices.chance(oddity // 5):
        made["extra"] = 1
    if choices.chance(oddity // 6):
        made[choices.pick(kind.keys)] = draw_value(choices, ANY, oddity)
    if choices.chance(oddity // 6):
        made = dict(reversed(list(made.items())))
    return made


def _draw_text(choices: Choices, kind: Type, oddity: int) -> str:
    is_odd = choices.chance(oddity)
    if is_odd and choices.chance(4):
        return choices.pick(SURROGATES)
    match kind.flavour:
        case "words":
            return choices.pick(ODD_TEXTS if is_odd else WORD_LIST)
        case "number":
            return choices.pick(ODD_NUMBER_TEXTS if is_odd else NUMBER_TEXTS)
        case "decimal":
            return choices.pick(ODD_NUMBER_TEXTS if is_odd else DECIMAL_TEXTS)
        case "date":
            plain = choices.pick([DATE_TEXTS, TIME_TEXTS])
            return choices.pick(ODD_DATE_TEXTS if is_odd else plain)
        case "csv":
            fields = [_draw_text(choices, item, oddity) for item in kind.items]
            if choices.chance(oddity // 3):
                fields = fields[:-1] if choices.chance(50) else [*fields, "x"]
            return kind.keys[0].join(fields)
        case "json":
            return _draw_json(choices, kind, is_odd=is_odd, oddity=oddity)
        case _:
            pass
    if is_odd and choices.chance(30):
        return choices.pick(ODD_TEXTS) + choices.pick(TEXTS) + choices.pick(ODD_TEXTS)
    return choices.pick(ODD_TEXTS if is_odd else TEXTS)


_ODD_JSON = [
    *("", " ", "null", "1", "[]", "{}", '{"a": 1', '{"a": 1} x', '{"a": NaN}', "x"),
    *('{"a": 1, "a": 2}', '{"a": 1.0}', '{"a": "1"}', '{"a": true}', '{"a": null}'),
    *('{"a": 1e400}', '{"a": 12345678901234567890}', ' {"a": 1} ', '\ufeff{"a": 1}'),
    *('{"a": "\\ud800"}', '{"a": "\\u0000"}', '{"a": -0}', '{"a": -0.0}', '{"a": 01}'),
    *('{"a": 1E2}', '{"a": Infinity}', "{'a': 1}", '{"a": "\t"}', '{"a": [1, "x"]}'),
    *('{"a": {"c": 1}}', '{"a": 1,}', '{"\\u0061": 3}', '{"a": "\\ud83d\\ude00"}'),
    *(
        '{"a":1}\n',
        '{"a": 0.1}',
        '{"a": 123456789.123456789}',
        '{"a": 1.}',
        '{"a": .5}',
    ),
    *('{"a": 9007199254740993.0}', '{"a": [1, null]}', '{"a": []}', '{"a": [[1]]}'),
]


def _draw_json(choices: Choices, kind: Type, *, is_odd: bool, oddity: int) -> str:
    if is_odd and choices.chance(50):
        return choices.pick(_ODD_JSON)
    value = draw_value(choices, kind.items[0], oddity)
    return json.dumps(value, ensure_ascii=not choices.chance(30))


def source_of(value: Any) -> str:
    """Return the source text of a value; programs know `inf`, `nan` and `datetime`."""
    match value:
        case float():
            return repr(value)  # inf and nan are names in a program.
        case tuple():
            inner = ", ".join(map(source_of, value))
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case list():
            return f"[{', '.join(map(source_of, value))}]"
        case dict():
            pairs = (f"{key!r}: {source_of(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return repr(value)

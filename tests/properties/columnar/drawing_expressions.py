"""Drawn expressions: source text of a wanted type, over the variables in reach.

Most of it is the language that columns know. A `wild` writer now and then puts another
type where one is wanted, or a form that columns can't know.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.properties.columnar.choices import Choices
from tests.properties.columnar.drawing_data import (
    ANY,
    BOOL,
    BYTE_TEXTS,
    BYTES,
    DATE,
    DATE_TEXTS,
    DATES,
    DATETIME,
    DATETIMES,
    DECIMAL_TEXT,
    DECIMAL_TEXTS,
    FLOAT,
    FLOATS,
    INT,
    INTS,
    NONE,
    NUMBER_TEXT,
    NUMBER_TEXTS,
    ODD_BYTE_TEXTS,
    ODD_DATE_TEXTS,
    ODD_DATES,
    ODD_DATETIMES,
    ODD_FLOATS,
    ODD_INTS,
    ODD_NUMBER_TEXTS,
    ODD_TEXTS,
    STR,
    SURROGATES,
    TEXTS,
    WORD_LIST,
    Type,
    list_of,
    source_of,
    tuple_of,
)

Form: TypeAlias = "tuple[int, Callable[[Writer, int], str]]"

_PATTERNS = [
    r"\d+",
    r"[a-z]+",
    r"(\w+)",
    r"a(b)?",
    r"^a",
    r"b$",
    r"(\d+)-(\d+)",
    r"\s+",
    r"[,;]",
    r"(a|ab)",
    r".",
    r"a*",
    r"(?i)AB",
    r"\bcat\b",
    r"[^,]+",
    r"x=(\d)",
]
_FORMATS = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%d/%m/%Y", "%H:%M"]
_INT_SPECS = ["", "d", ">5", "05d", ",", "x", "+", "<4", "^6", "b", "_", "e", "%", "c"]
_FLOAT_SPECS = ["", ".2f", ".0f", ">8.1f", "e", ".3e", "g", "%", "08.2f", "+.1f", ","]
_STR_SPECS = ["", ">5", "<5", "^7", "*>4", ".2", "s", "10.3", "05"]


_LITERALS: dict[tuple[str, str], tuple[Sequence[Any], Sequence[Any]]] = {
    ("int", ""): (INTS, ODD_INTS),
    ("float", ""): (FLOATS, ODD_FLOATS),
    ("bool", ""): ([False, True], [False, True]),
    ("str", ""): (TEXTS, [*ODD_TEXTS, *SURROGATES]),
    ("str", "words"): (WORD_LIST, ODD_TEXTS),
    ("str", "number"): (NUMBER_TEXTS, ODD_NUMBER_TEXTS),
    ("str", "decimal"): (DECIMAL_TEXTS, ODD_NUMBER_TEXTS),
    ("str", "date"): (DATE_TEXTS, ODD_DATE_TEXTS),
    ("bytes", ""): (BYTE_TEXTS, ODD_BYTE_TEXTS),
    ("date", ""): (DATES, ODD_DATES),
    ("datetime", ""): (DATETIMES, ODD_DATETIMES),
    ("none", ""): ([None], [None]),
}
_BRIDGES = {
    ("str", "int"): ("len({})", "len({})", "{}.count('a')"),
    ("float", "int"): ("int({})", "round({})"),
    ("bool", "int"): ("int({})", "({} + 1)"),
    ("list", "int"): ("len({})",),
    ("int", "float"): ("float({})", "({} / 2)", "({} * 0.5)"),
    ("str", "float"): ("(len({}) / 4)",),
    ("int", "str"): ("str({})", "f'{{{}}}'"),
    ("float", "str"): ("str({})",),
    ("bool", "str"): ("str({})",),
    ("int", "bool"): ("({} > 1)", "({} % 2 == 0)", "({} == 0)"),
    ("float", "bool"): ("({} > 0.5)", "({} != 1)"),
    ("str", "bool"): ("('a' in {})", "({} != 'a')", "bool({})"),
    ("str", "list"): ("list({})", "{}.split()"),
    ("str", "bytes"): ("{}.encode()",),
}


@dataclass(slots=True)
class Writer:
    """Writes expressions; `scope` has what may be named, with its type."""

    choices: Choices
    scope: list[tuple[str, Type]] = field(default_factory=list)
    helpers: list[tuple[str, Type, Type]] = field(default_factory=list)
    is_wild: bool = False
    names: int = 0

    def fresh(self, stem: str = "v") -> str:
        """Return a name that nothing has yet."""
        self.names += 1
        return f"{stem}{self.names}"

    def expr(self, kind: Type, depth: int) -> str:
        """Return an expression that is meant to be of this type."""
        if self.is_wild and self.choices.chance(6):
            kind = self.choices.pick([INT, STR, FLOAT, NONE, BOOL, list_of(INT), ANY])
        paths = self.paths_to(kind)
        if paths and (depth <= 0 or self.choices.chance(40)):
            return self.choices.pick(paths)
        if depth <= 0:
            bridge = self.bridge(kind) if self.choices.chance(60) else ""
            return bridge or self.literal(kind)
        if self.is_wild and self.choices.chance(5):
            return self.choices.pick(_BEYOND)(self, kind, depth - 1)
        if self.choices.chance(7):
            return self.any_form(kind, depth - 1)
        if kind.name in _FORMS:
            return self.choices.weighted(_FORMS[kind.name])(self, depth - 1)
        return self.composite(kind, depth - 1)

    def bridge(self, kind: Type) -> str:
        """Return a conversion of something in reach to this type; "" if none is known."""
        found = [
            template.format(name)
            for name, known in self.reach()
            for template in _BRIDGES.get((known.name, kind.name), ())
        ]
        return self.choices.pick(found) if found else ""

    def composite(self, kind: Type, depth: int) -> str:
        """Return an expression of a type made of others."""
        match kind.name:
            case "tuple":
                items = [self.expr(item, depth) for item in kind.items]
                return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
            case "list":
                return self.list_expr(kind.items[0], depth)
            case "dict":
                pairs = [
                    f'"{key}": {self.expr(item, depth)}'
                    for key, item in zip(kind.keys, kind.items, strict=True)
                ]
                return f"{{{', '.join(pairs)}}}"
            case "optional":
                one = self.expr(kind.items[0], depth)
                if self.choices.chance(30):
                    return one
                return f"({one} if {self.expr(BOOL, depth)} else None)"
            case "none":
                return "None"
            case _:
                return self.expr(self.choices.pick([INT, STR, FLOAT, BOOL]), depth)

    def list_expr(self, item: Type, depth: int) -> str:
        """Return a list, or something like it."""
        choices = self.choices
        lists = [(name, kind) for name, kind in self.reach() if kind.name == "list"]
        forms: list[tuple[int, Callable[[], str]]] = [
            (3, lambda: f"[{self.expr(item, depth)}, {self.expr(item, depth)}]"),
            (1, lambda: f"[{self.expr(item, depth)}]"),
        ]
        if item.name == "str":
            forms += [
                (6, lambda: self.split_call(depth)),
                (1, lambda: f"list({self.expr(STR, depth)})"),
                (1, lambda: f"re.findall({self.pattern()}, {self.expr(STR, depth)})"),
                (1, lambda: f"re.split({self.pattern()}, {self.expr(STR, depth)})"),
                (1, lambda: f"{self.expr(STR, depth)}.splitlines()"),
            ]
        if item == INT:
            forms += [(1, lambda: f"list(range({self.expr(INT, 0)} % 5))")]
        forms += [(2, lambda: self.comprehension(item, depth))]
        if lists:
            name = choices.pick(lists)[0]
            forms += [
                (1, lambda: f"{name}{self.slice()}"),
                (1, lambda: f"sorted({name})"),
                (1, lambda: f"({name} + {name})"),
            ]
        return choices.weighted(forms)()

    def comprehension(self, item: Type, depth: int) -> str:
        """Return a list comprehension over a list in reach, or over words."""
        lists = [(name, kind) for name, kind in self.reach() if kind.name == "list"]
        lists.append((self.split_call(depth), list_of(STR)))
        over, kind = self.choices.pick(lists)
        name = self.fresh("w")
        self.scope.append((name, kind.items[0]))
        made = self.expr(item, min(depth, 1))
        condition = f" if {self.expr(BOOL, 1)}" if self.choices.chance(30) else ""
        self.scope.pop()
        return f"[{made} for {name} in {over}{condition}]"

    def split_call(self, depth: int) -> str:
        """Return a call that splits a text."""
        for name, kind in self.reach():
            if kind.flavour == "csv" and self.choices.chance(80):
                return f"{name}.split({kind.keys[0]!r})"
        text = self.expr(STR, min(depth, 1))
        return self.choices.weighted(
            [
                (5, f'{text}.split(" ")'),
                (4, f"{text}.split()"),
                (3, f'{text}.split(",")'),
                (1, f'{text}.split(",", 1)'),
                (1, f"{text}.split(None, 1)"),
                (1, f'{text}.rsplit(",", 1)'),
                (1, f'{text}.split("ab")'),
            ]
        )

    def slice(self) -> str:
        """Return a slice with its brackets."""
        return self.choices.pick(
            [
                "[1:]",
                "[:1]",
                "[:-1]",
                "[-2:]",
                "[1:3]",
                "[:]",
                "[0:0]",
                "[5:]",
                "[::2]",
                "[::-1]",
                "[-1:1]",
                "[None:2]",
            ]
        )

    def pattern(self) -> str:
        """Return a regular expression as a literal."""
        return "r" + repr(self.choices.pick(_PATTERNS)).replace("\\\\", "\\")

    def literal(self, kind: Type) -> str:
        """Return a constant."""
        choices = self.choices
        match kind.name:
            case "optional":
                return choices.pick(["None", self.literal(kind.items[0])])
            case "list":
                return f"[{self.literal(kind.items[0])}]"
            case "tuple" | "dict":
                return self.composite(kind, 0)
            case "any":
                return self.literal(choices.pick([INT, STR, NONE, FLOAT, BOOL]))
            case _:
                pass
        plain, odd = (
            _LITERALS.get((kind.name, kind.flavour)) or _LITERALS[kind.name, ""]
        )
        shown = source_of(choices.pick(odd if choices.chance(8) else plain))
        return f"({shown})" if kind.name in {"int", "float"} else shown

    # What is in reach: variables, and what is inside them.

    def reach(self) -> list[tuple[str, Type]]:
        """Return each variable and each part of one, with its type."""
        found = list(self.scope)
        for name, kind in self.scope:
            found += _parts(name, kind)
        return found

    def paths_to(self, kind: Type) -> list[str]:
        """Return what in reach is of this type, more or less."""
        found = [
            name
            for name, known in self.reach()
            if known == kind or (known.name == kind.name == "str")
        ]
        for name, taken, given in self.helpers:
            if given == kind:
                found += [
                    f"{name}({path})" for path, known in self.scope if known == taken
                ]
        return found

    def any_form(self, kind: Type, depth: int) -> str:
        """Return a form that any type can have."""
        one, other = self.expr(kind, depth), self.expr(kind, depth)
        condition = self.expr(BOOL, min(depth, 1))
        forms = [
            f"({one} if {condition} else {other})",
            f"({one} or {other})",
            f"({one} and {other})",
            f"({one}, {other})[{self.choices.pick(['0', '1', '-1'])}]",
        ]
        if self.is_wild:
            forms.append(f"(lambda z: z)({one})")
        if kind.name in {"int", "float", "str"}:
            forms += [f"max({one}, {other})", f"min({one}, {other})"]
            forms += [f"max([{one}, {other}])", f"[{one}, {other}][{condition}]"]
        return self.choices.pick(forms)


def _parts(name: str, kind: Type) -> list[tuple[str, Type]]:
    parts: list[tuple[str, Type]] = []
    match kind.name:
        case "tuple":
            parts = [(f"{name}[{at}]", item) for at, item in enumerate(kind.items)]
            parts.append((f"{name}[-1]", kind.items[-1]))
        case "dict":
            for key, item in zip(kind.keys, kind.items, strict=True):
                parts.append((f'{name}["{key}"]', item))
                parts.append((f'{name}.get("{key}")', item))
                if item.name in {"int", "str", "float"}:
                    default = {"int": "0", "str": '""', "float": "0.0"}[item.name]
                    parts.append((f'{name}.get("{key}", {default})', item))
        case "list":
            parts = [(f"{name}[0]", kind.items[0]), (f"{name}[-1]", kind.items[0])]
        case "optional":
            parts = [(name, kind.items[0])]
        case "str" if kind.flavour == "csv":
            fields = f"{name}.split({kind.keys[0]!r})"
            parts = [(fields, list_of(STR))]
            for at, item in enumerate(kind.items):
                parts.append((f"{fields}[{at}]", item))
                parts += _parts_of_text(f"{fields}[{at}]", item)
            return parts
        case "str" if kind.flavour == "json":
            parts = [(f"json.loads({name})", kind.items[0])]
        case "str":
            return _parts_of_text(name, kind)
        case _:
            pass
    if len(name) < 40:
        for path, part in list(parts):
            parts += _parts(path, part)
    return parts


def _parts_of_text(name: str, kind: Type) -> list[tuple[str, Type]]:
    if kind.flavour == "decimal":
        return [(f"float({name})", FLOAT)]
    if kind.flavour == "number":
        return [(f"int({name})", INT), (f"float({name})", FLOAT)]
    if kind.flavour == "date":
        return [
            (f'datetime.datetime.strptime({name}, "%Y-%m-%d")', DATETIME),
            (f'datetime.datetime.strptime({name}, "%Y-%m-%d %H:%M:%S")', DATETIME),
            (f"datetime.datetime.fromisoformat({name})", DATETIME),
            (f"datetime.date.fromisoformat({name})", DATE),
        ]
    return []


# The forms of each plain type. `E` writes an operand one level down.


def _form(template: str, *kinds: Type) -> Callable[[Writer, int], str]:
    """Return a form: each {} of the template takes an expression of the next type."""

    def write(writer: Writer, depth: int) -> str:
        return template.format(*(writer.expr(kind, depth) for kind in kinds))

    return write


def _choice(*templates: str, of: tuple[Type, ...]) -> Callable[[Writer, int], str]:
    def write(writer: Writer, depth: int) -> str:
        template = writer.choices.pick(templates)
        return template.format(*(writer.expr(kind, depth) for kind in of))

    return write


def _list_of_some(template: str, item: Type) -> Callable[[Writer, int], str]:
    return lambda writer, depth: template.format(writer.expr(list_of(item), depth))


def _number(writer: Writer, depth: int) -> str:
    return writer.expr(writer.choices.pick([INT, FLOAT, BOOL]), depth)


def _mixed(*templates: str) -> Callable[[Writer, int], str]:
    def write(writer: Writer, depth: int) -> str:
        template = writer.choices.pick(templates)
        return template.format(_number(writer, depth), _number(writer, depth))

    return write


def _f_string(writer: Writer, depth: int) -> str:
    pieces = []
    for _ in range(writer.choices.between(1, 3)):
        kind, specs = writer.choices.pick(
            [
                (STR, _STR_SPECS),
                (INT, _INT_SPECS),
                (FLOAT, _FLOAT_SPECS),
                (BOOL, ["", ">6", "d"]),
                (ANY, [""]),
            ]
        )
        inner = writer.expr(kind, min(depth, 1))
        if set("\"'\\{}!:") & set(inner):  # Not allowed inside before Python 3.12.
            inner = writer.choices.pick(
                [name for name, _ in writer.scope] or ["1"],
            )
        spec = writer.choices.pick(specs) if writer.choices.chance(50) else ""
        convert = writer.choices.pick(["", "", "", "!r", "!s"])
        if convert:
            spec = ""
        pieces.append(f"{{{inner}{convert}{':' + spec if spec else ''}}}")
    return 'f"' + writer.choices.pick(["", "-", " ", "é"]).join(pieces) + '"'


def _percent(writer: Writer, depth: int) -> str:
    spec, kind = writer.choices.pick(
        [
            ("%s", STR),
            ("%d", INT),
            ("%.2f", FLOAT),
            ("%5d", INT),
            ("%r", STR),
            ("%s", INT),
            ("%-4s|", STR),
            ("%x", INT),
            ("%e", FLOAT),
            ("%s", FLOAT),
            ("%d", FLOAT),
        ]
    )
    return f'"{spec},%s" % ({writer.expr(kind, depth)}, {writer.expr(STR, depth)})'


def _format_call(writer: Writer, depth: int) -> str:
    one, other = writer.expr(INT, depth), writer.expr(STR, depth)
    template = writer.choices.pick(["{}-{}", "{0}{1}{0}", "{:>3}|{:<3}", "{!r} {}"])
    return f'"{template}".format({one}, {other})'


def _text_method(writer: Writer, depth: int) -> str:
    method = writer.choices.pick(
        [
            "lower()",
            "upper()",
            "strip()",
            "lstrip()",
            "rstrip()",
            'strip("a,")',
            'replace("a", "b")',
            'replace("", "-")',
            "title()",
            "capitalize()",
            'rstrip("b")',
            "casefold()",
            "swapcase()",
            "zfill(5)",
            "rjust(4)",
            "ljust(3)",
            'center(6, "*")',
            'removeprefix("a")',
            'removesuffix("b")',
            "expandtabs()",
            'replace("a", "", 1)',
            'join(["x", "y"])',
            'replace(" ", "")',
            'lstrip(" ")',
            'partition(",")[0]',
            'rpartition(",")[2]',
            'partition("a")[1]',
        ]
    )
    return f"{writer.expr(STR, depth)}.{method}"


def _text_test(writer: Writer, depth: int) -> str:
    method = writer.choices.pick(
        [
            'startswith("a")',
            'endswith("b")',
            "isdigit()",
            "isalpha()",
            "isalnum()",
            "isspace()",
            "isupper()",
            "islower()",
            "isnumeric()",
            "isdecimal()",
            "istitle()",
            "isidentifier()",
            "isascii()",
            'startswith(("a", "t"))',
            'startswith("")',
            "isprintable()",
            'startswith("b", 1)',
        ]
    )
    return f"{writer.expr(STR, depth)}.{method}"


def _text_number(writer: Writer, depth: int) -> str:
    text = writer.expr(STR, depth)
    needle = writer.expr(STR, 0)
    method = writer.choices.weighted(
        [(3, "find"), (3, "count"), (1, "rfind"), (1, "index"), (1, "rindex")]
    )
    return f"{text}.{method}({needle})"


def _text_part(writer: Writer, depth: int) -> str:
    text = writer.expr(STR, depth)
    if writer.choices.chance(50):
        return text + writer.slice()
    index = writer.choices.pick(["0", "-1", "1", writer.expr(INT, 0)])
    return f"{text}[{index}]"


def _match(template: str) -> Callable[[Writer, int], str]:
    def write(writer: Writer, depth: int) -> str:
        name = writer.choices.pick(["search", "match", "fullmatch"])
        call = f"re.{name}({writer.pattern()}, {writer.expr(STR, depth)})"
        return template.format(call)

    return write


def _date_number(writer: Writer, depth: int) -> str:
    kind = writer.choices.pick([DATETIME, DATE])
    names = ["year", "month", "day", "weekday()", "isoweekday()", "toordinal()"]
    if kind is DATETIME:
        names += ["hour", "minute", "second", "microsecond"]
    return f"{writer.expr(kind, depth)}.{writer.choices.pick(names)}"


def _date_text(writer: Writer, depth: int) -> str:
    kind = writer.choices.pick([DATETIME, DATE])
    shown = writer.choices.pick(
        ["isoformat()", *(f'strftime("{format_}")' for format_ in _FORMATS), "ctime()"]
    )
    return f"{writer.expr(kind, depth)}.{shown}"


def _is_instance(writer: Writer, depth: int) -> str:
    name = writer.choices.pick(["int", "str", "float", "bool", "(int, float)", "tuple"])
    return f"isinstance({writer.expr(ANY, depth)}, {name})"


def _membership(writer: Writer, depth: int) -> str:
    kind = writer.choices.pick([STR, INT, FLOAT])
    one = writer.expr(kind, depth)
    items = ", ".join(writer.literal(kind) for _ in range(2))
    box = writer.choices.pick(["({})", "[{}]", "{{{}}}", "frozenset(({}))"]).format(
        items
    )
    return f"({one} {writer.choices.pick(['in', 'not in'])} {box})"


def _quantified(writer: Writer, depth: int) -> str:
    made = writer.comprehension(BOOL, depth)[1:-1]
    return f"{writer.choices.pick(['any', 'all'])}({made})"


def _summed(writer: Writer, depth: int) -> str:
    name = writer.choices.pick(["sum", "max", "min", "len"])
    if name == "len":
        return f"len({writer.comprehension(INT, depth)})"
    return f"{name}({writer.comprehension(INT, depth)[1:-1]})"


_ARITHMETIC = ("({} + {})", "({} - {})", "({} * {})")
_DIVISION = ("({} // {})", "({} % {})")
_SAFE_DIVISION = ("({} // 3)", "({} % 7)", "({} % -3)", "({} // 2)", "({} // -7)")
_COMPARED = (
    "({} < {})",
    "({} <= {})",
    "({} == {})",
    "({} != {})",
    "({} > {})",
    "({} >= {})",
)

_INT_FORMS: list[Form] = [
    (12, _choice(*_ARITHMETIC, of=(INT, INT))),
    (1, _choice(*_DIVISION, of=(INT, INT))),
    (4, _choice(*_SAFE_DIVISION, of=(INT,))),
    (4, _form("len({})", STR)),
    (2, _list_of_some("len({})", STR)),
    (2, _form("int({})", NUMBER_TEXT)),
    (2, _form("int({})", FLOAT)),
    (1, _form("int({})", BOOL)),
    (1, _choice("ord({}[0])", "ord({}[:1] or 'x')", of=(STR,))),
    (
        2,
        _choice(
            "(-{})", "abs({})", "(~{})", "(+{})", "({} ** 2)", "({} << 3)", of=(INT,)
        ),
    ),
    (
        1,
        _choice(
            "({} & {})", "({} | {})", "({} ^ {})", "({} >> ({} % 70))", of=(INT, INT)
        ),
    ),
    (
        1,
        _choice(
            "(1 << ({} % 70))",
            "(({} % 7) ** 3)",
            "pow({}, 2)",
            "(2 ** ({} % 80))",
            of=(INT,),
        ),
    ),
    (
        2,
        _choice(
            "round({})",
            "math.floor({})",
            "math.ceil({})",
            "math.trunc({})",
            of=(FLOAT,),
        ),
    ),
    (2, _text_number),
    (
        2,
        _choice("sum({})", "max({})", "min({})", "{}[0]", "{}[-1]", of=(list_of(INT),)),
    ),
    (1, _choice("divmod({}, {})[0]", "divmod({}, {})[1]", of=(INT, INT))),
    (1, _form("int({}, 16)", STR)),
    (1, _date_number),
    (1, _form("({} + {})", BOOL, INT)),
    (1, _summed),
    (1, _choice("operator.add({}, {})", "operator.mul({}, {})", of=(INT, INT))),
    (1, _form("K")),
    (1, _form("{}.count('a')", list_of(STR))),
    (2, _choice("sum(map(len, {}))", "len(list(map(len, {})))", of=(list_of(STR),))),
    (1, _choice("sum(map(int, {}))", "max(map(len, {}))", of=(list_of(STR),))),
    (1, _match("({0}.end() if {0} else 0)")),
]
_FLOAT_FORMS: list[Form] = [
    (8, _choice(*_ARITHMETIC, of=(FLOAT, FLOAT))),
    (4, _choice(*_ARITHMETIC, of=(FLOAT, INT))),
    (2, _choice(*_ARITHMETIC, of=(INT, FLOAT))),
    (1, _mixed("({} / {})")),
    (3, _mixed("({} / 3)", "({} / 0.1)", "({} / -2)", "({} / 7.0)")),
    (1, _choice(*_DIVISION, of=(FLOAT, FLOAT))),
    (1, _choice(*_DIVISION, of=(INT, FLOAT))),
    (2, _choice(*_SAFE_DIVISION, "({} // 0.5)", "({} % 0.3)", of=(FLOAT,))),
    (3, _form("float({})", NUMBER_TEXT)),
    (2, _form("float({})", DECIMAL_TEXT)),
    (2, _form("float({})", INT)),
    (
        2,
        _choice(
            "round({}, 2)", "round({}, 1)", "round({}, -1)", "round({}, 0)", of=(FLOAT,)
        ),
    ),
    (2, _choice("(-{})", "abs({})", "({} ** 2)", "({} ** 0.5)", of=(FLOAT,))),
    (
        1,
        _choice(
            "math.sqrt({})", "math.log({})", "math.exp({})", "math.sin({})", of=(FLOAT,)
        ),
    ),
    (1, _choice("sum({})", "max({})", "min({})", "{}[0]", of=(list_of(FLOAT),))),
    (1, _form("F")),
    (1, _form("float({})", BOOL)),
    (1, _form("(sum({}) / len({}))", list_of(INT), list_of(INT))),
]
_BOOL_FORMS: list[Form] = [
    (5, _choice(*_COMPARED, of=(INT, INT))),
    (3, _choice(*_COMPARED, of=(FLOAT, FLOAT))),
    (3, _mixed(*_COMPARED)),
    (5, _choice(*_COMPARED, of=(STR, STR))),
    (1, _choice(*_COMPARED, of=(tuple_of(INT, STR), tuple_of(INT, STR)))),
    (1, _choice(*_COMPARED, of=(list_of(INT), list_of(INT)))),
    (1, _choice(*_COMPARED, of=(DATETIME, DATETIME))),
    (1, _choice(*_COMPARED, of=(DATE, DATE))),
    (1, _choice("({} == {})", "({} != {})", "({} is {})", of=(ANY, ANY))),
    (1, _form("({} == {})", BOOL, INT)),
    (4, _choice("({} in {})", "({} not in {})", of=(STR, STR))),
    (1, _choice("({} in {})", "({} not in {})", of=(STR, list_of(STR)))),
    (3, _membership),
    (3, _choice("(not {})", "bool({})", of=(BOOL,))),
    (2, _choice("(not {})", "bool({})", of=(STR,))),
    (2, _choice("(not {})", "bool({})", of=(INT,))),
    (1, _choice("(not {})", "bool({})", of=(list_of(STR),))),
    (4, _choice("({} and {})", "({} or {})", of=(BOOL, BOOL))),
    (5, _text_test),
    (
        2,
        _choice(
            "({} < {} < {})", "({} <= {} > {})", "({} == {} != {})", of=(INT, INT, INT)
        ),
    ),
    (2, _choice("({} is None)", "({} is not None)", "({} == None)", of=(ANY,))),
    (1, _is_instance),
    (1, _quantified),
    (2, _match("bool({})")),
    (1, _match("({} is not None)")),
    (1, _choice("math.isnan({})", "math.isinf({})", "({} != {})", of=(FLOAT, FLOAT))),
]
_STR_FORMS: list[Form] = [
    (12, _text_method),
    (6, _form("({} + {})", STR, STR)),
    (6, _text_part),
    (4, _f_string),
    (2, _percent),
    (2, _format_call),
    (3, _form("str({})", INT)),
    (3, _form("str({})", FLOAT)),
    (1, _form("str({})", BOOL)),
    (1, _form("str({})", STR)),
    (1, _form("repr({})", STR)),
    (1, _form("repr({})", FLOAT)),
    (1, _form("str({})", tuple_of(INT, STR))),
    (1, _choice("({} * 2)", "({} * 0)", "(3 * {})", of=(STR,))),
    (1, _form("({} * ({} % 4))", STR, INT)),
    (2, _choice('",".join({})', '"".join({})', "sep.join({})", of=(list_of(STR),))),
    (3, _choice("{}[0]", "{}[-1]", of=(list_of(STR),))),
    (1, _form("chr({} % 200)", INT)),
    (2, _match("({0}.group(0) if {0} else '')")),
    (1, _match("({0}.group(1) if {0} else None)")),
    (1, lambda w, d: f"PATTERN.sub('<\\g<0>>', {w.expr(STR, d)})"),
    (1, lambda w, d: f"re.sub({w.pattern()}, '-', {w.expr(STR, d)})"),
    (1, _date_text),
    (1, _choice("format({}, '>6')", "format({}, '')", of=(STR,))),
    (1, _form("{}.decode()", BYTES)),
    (1, _choice("max({})", "min({})", of=(STR,))),
    (1, _form("'-'.join(map(str.upper, {}))", list_of(STR))),
    (1, _form("' '.join(filter(None, {}))", list_of(STR))),
    (1, _form("PREFIX")),
]
_BYTES_FORMS: list[Form] = [
    (3, _form("{}.encode()", STR)),
    (1, _form('{}.encode("utf-8")', STR)),
    (1, _form("({} + {})", BYTES, BYTES)),
    (1, _choice("{}[1:]", "{}.upper()", "{}[:-1]", of=(BYTES,))),
]
_DATETIME_FORMS: list[Form] = [
    (
        3,
        lambda w, d: (
            f'datetime.datetime.strptime({w.expr(Type("str", flavour="date"), d)}, "{w.choices.pick(_FORMATS)}")'
        ),
    ),
    (1, _form("datetime.datetime.fromisoformat({})", Type("str", flavour="date"))),
    (1, _form("({} + datetime.timedelta(days=1))", DATETIME)),
    (1, _form("datetime.datetime(2024, {} % 12 + 1, 1)", INT)),
    (1, _form("{}.replace(hour=0)", DATETIME)),
]
_DATE_FORMS: list[Form] = [
    (2, _form("{}.date()", DATETIME)),
    (1, _form("datetime.date.fromisoformat({})", Type("str", flavour="date"))),
]
_FORMS: dict[str, list[Form]] = {
    "int": _INT_FORMS,
    "float": _FLOAT_FORMS,
    "bool": _BOOL_FORMS,
    "str": _STR_FORMS,
    "bytes": _BYTES_FORMS,
    "datetime": _DATETIME_FORMS,
    "date": _DATE_FORMS,
}


# Beyond what columns know, or ever will.


def _odd_call(template: str) -> Callable[[Writer, Type, int], str]:
    def write(writer: Writer, kind: Type, depth: int) -> str:
        return template.format(writer.expr(kind, depth))

    return write


_BEYOND: list[Callable[[Writer, Type, int], str]] = [
    *map(
        _odd_call,
        [
            "({}).foo()",
            "(y := {})",
            "noted({})",
            "guarded(lambda: {})",
            "Shout({})",
            "starred({}, 1, z=2)",
            "next(iter([{}]))",
            "[*[{}]][0]",
            "{{**{{'k': {}}}}}['k']",
            "sorted([{}], key=lambda q: 0)[0]",
            "counted({})",
            "getattr({}, 'real', 0)",
            "(lambda *a, **k: a[0])({})",
            "list(map(lambda q: q, [{}]))[0]",
            "tally.add({})",
            "[q for q in [{}] for _ in range(2)][1]",
            "(eval('1') and {})",
            "partial_of({})",
            "type({}).__name__",
            "(hash({}) % 7 if False else 1)",
            "({})[0]",
            "({})['a']",
            "(({}) + None)",
            "len({})",
            "(1 // ({} and 0))",
            "({}).real",
            "Once()({})",
            "str({}).zfill(-1)",
            "tuple([{}])",
            "set([{}])",
            "dict(a={})",
            "({}, *(1, 2))",
        ],
    ),
]

"""Drawn programs: a chain of RDD operations over drawn data, as source text.

A program is a module with a function `program(sc)`; what it returns is compared. It has
constants and helper functions of its own, and its lambdas and functions are drawn.
"""

from dataclasses import dataclass
from typing import Any

from tests.properties.columnar.choices import Choices
from tests.properties.columnar.drawing_data import (
    BOOL,
    FLOAT,
    INT,
    STR,
    WORDS,
    Type,
    draw_records,
    draw_type,
    list_of,
    optional,
    source_of,
    tuple_of,
)
from tests.properties.columnar.drawing_expressions import Writer

PRELUDE = """\
import datetime, functools, json, math, operator, re
from math import inf, nan
K = 3
F = 0.5
PREFIX = "a"
sep = "-"
PATTERN = re.compile(r"[a-z]+")
SEEN = []
def noted(x):
    SEEN.append(x)
    return x
def counted(x):
    global K
    K += 1
    return x if K % 2 else None
def guarded(f):
    try:
        return f()
    except Exception as error:
        return type(error).__name__
def starred(x, *rest, **named):
    return x
class Shout(str):
    def upper(self):
        return "!"
class Once:
    def __call__(self, x):
        return x
def partial_of(x):
    return functools.partial(operator.add, x)(x)
tally = set()
"""

_ITEM_TYPES = [
    *((6, INT), (4, FLOAT), (6, STR), (2, WORDS), (2, BOOL), (1, list_of(INT))),
    *((1, Type("dict", (INT, STR), ("a", "b"))), (1, optional(INT)), (1, list_of(STR))),
    *((1, tuple_of(INT, tuple_of(STR, FLOAT))), (1, tuple_of(STR, INT, FLOAT))),
]
_KEY_TYPES = [(6, STR), (5, INT), (2, FLOAT), (2, BOOL), (2, tuple_of(STR, INT))]
_KEY_TYPES += [(1, optional(STR)), (1, WORDS), (1, optional(INT))]


_CALLABLES = [
    *(("str", "str", f"str.{name}") for name in ("upper", "lower", "strip", "title")),
    *(
        ("str", "str", 'operator.methodcaller("replace", "a", "b")'),
        ("str", "str", "str"),
    ),
    *(("str", "str", "operator.itemgetter(0)"), ("str", "str", "repr")),
    *(("str", "int", "len"), ("str", "int", "int"), ("str", "float", "float")),
    *(("str", "bool", "str.isdigit"), ("str", "bool", "bool"), ("str", "list", "list")),
    *(("str", "list", "str.split"), ("str", "list", "PATTERN.findall")),
    *(("int", "int", "abs"), ("int", "int", "operator.neg"), ("int", "str", "str")),
    *(("int", "float", "float"), ("int", "bool", "bool"), ("int", "str", "chr")),
    *(("float", "int", "int"), ("float", "int", "round"), ("float", "str", "repr")),
    *(
        ("float", "float", "abs"),
        ("float", "float", "math.sqrt"),
        ("tuple", "int", "len"),
    ),
    *(
        ("tuple", "str", "operator.itemgetter(0)"),
        ("tuple", "int", "operator.itemgetter(1)"),
    ),
    *(("tuple", "tuple", "operator.itemgetter(1, 0)"), ("list", "int", "len")),
    *(("list", "int", "sum"), ("list", "list", "sorted"), ("dict", "int", "len")),
    *(("dict", "str", 'operator.itemgetter("a")'), ("dict", "list", "list")),
]
_ADD = "lambda a, b: a + b"
_ADD_BOTH = "lambda a, b: (a[0] + b[0], a[1] + b[1])"
_COUNT_IN = "lambda a, v: (a[0] + v, a[1] + 1)"


@dataclass(slots=True)
class Program:
    """A program being drawn: functions of its module, and the lines of `program`."""

    choices: Choices
    writer: Writer
    functions: list[str]
    lines: list[str]

    # Functions.

    def function(self, names: list[str], kinds: list[Type], given: Type) -> str:
        """Return the source of a function of these parameters: a lambda or a name."""
        writer, choices = self.writer, self.choices
        writer.scope = list(zip(names, kinds, strict=True))
        depth = choices.weighted([(4, 1), (6, 2), (3, 3)])
        form = choices.weighted(
            [(12, "lambda"), (4, "def"), (1, "closure"), (1, "twin")]
        )
        if form == "lambda":
            default = ""
            if choices.chance(6):
                writer.scope.append(("d", INT))
                default = ", d=2"
            body = writer.expr(given, depth)
            return f"lambda {', '.join(names)}{default}: {body}"
        name = writer.fresh("f")
        if form == "object":
            return self.callable_object(name, names, kinds, given)
        if form == "twin":
            body, other = writer.expr(given, depth), writer.expr(given, depth)
            head = f"lambda {', '.join(names)}:"
            index = choices.pick(["0", "1"])
            self.functions.append(f"{name} = [{head} {body}, {head} {other}]")
            return f"{name}[{index}]"
        if form == "closure":
            writer.scope.append(("kept", INT))
            body = writer.expr(given, depth)
            self.functions += [
                f"def {name}(kept):",
                f"    return lambda {', '.join(names)}: {body}",
            ]
            return f"{name}({writer.literal(INT)})"
        self.functions.append(f"def {name}({', '.join(names)}):")
        self.functions += [f"    {line}" for line in self.body(given, depth)]
        return name

    def callable_object(
        self, name: str, names: list[str], kinds: list[Type], given: Type
    ) -> str:
        """Return a callable that is no function, or a function of another's making."""
        writer, choices = self.writer, self.choices
        found = [
            callable_
            for taken, made, callable_ in _CALLABLES
            if len(kinds) == 1 and taken == kinds[0].name and made == given.name
        ]
        if found and choices.chance(70):
            return choices.pick(found)
        writer.scope.append(("kept", INT))
        body = writer.expr(given, 2)
        head = ", ".join(names)
        if choices.chance(50):
            self.functions += [f"def {name}(kept, {head}):", f"    return {body}"]
            return f"functools.partial({name}, {writer.literal(INT)})"
        body = body.replace("kept", "self.kept")
        self.functions += [
            f"class {name.title()}:",
            "    def __init__(self, kept):",
            "        self.kept = kept",
            f"    def __call__(self, {head}):",
            f"        return {body}",
            f"    def make(self, {head}):",
            f"        return {body}",
        ]
        end = choices.pick(["", ".make"])
        return f"{name.title()}({writer.literal(INT)}){end}"

    def body(self, given: Type, depth: int) -> list[str]:
        """Return the lines of a function's body."""
        writer, choices = self.writer, self.choices
        lines: list[str] = []
        for _ in range(choices.between(0, 3)):
            kind = choices.weighted(_ITEM_TYPES)
            form = choices.weighted(
                [
                    *((6, "set"), (3, "return"), (1, "unpack"), (1, "again")),
                    *((1, "branch"), (writer.is_wild, "iterator")),
                ]
            )
            if form == "set":
                made, name = writer.expr(kind, depth), writer.fresh()
                lines.append(f"{name} = {made}")
                writer.scope.append((name, kind))
            elif form == "return":
                lines += [
                    f"if {writer.expr(BOOL, 1)}:",
                    f"    return {writer.expr(given, 1)}",
                ]
            elif form == "unpack":
                one, two = writer.expr(INT, 1), writer.expr(STR, 1)
                a, b = writer.fresh(), writer.fresh()
                lines.append(f"{a}, {b} = {one}, {two}")
                writer.scope += [(a, INT), (b, STR)]
            elif form == "iterator":
                made, name = writer.comprehension(INT, 1), writer.fresh()
                mapped = f"map(len, {writer.list_expr(STR, 1)})"
                lines.append(
                    f"{name} = {choices.pick([made, mapped, f'({made[1:-1]})'])}"
                )
                writer.scope.append((name, list_of(INT)))
            elif form == "again":
                name = writer.fresh()
                lines += [f"{name} = {writer.expr(INT, 1)}"]
                writer.scope.append((name, INT))
                lines += [f"{name} += {writer.expr(INT, 1)}"]
            else:
                name, test = writer.fresh(), writer.expr(BOOL, 1)
                lines += [f"if {test}:", f"    {name} = {writer.expr(kind, 1)}"]
                lines += ["else:", f"    {name} = {writer.expr(kind, 1)}"]
                writer.scope.append((name, kind))
        if writer.is_wild and choices.chance(15):
            made = writer.expr(given, depth)
            return [
                *lines,
                "try:",
                f"    return {made}",
                "except (ValueError, IndexError):",
                "    return None",
            ]
        return [*lines, f"return {writer.expr(given, depth)}"]

    def helper(self) -> None:
        """Add a helper that drawn functions may call."""
        taken = self.choices.pick([INT, STR, FLOAT])
        given = self.choices.pick([INT, STR, FLOAT, BOOL])
        name = self.writer.fresh("h")
        self.writer.scope = [("p", taken)]
        body = self.body(given, 1)
        self.functions += [f"def {name}(p):", *(f"    {line}" for line in body)]
        self.writer.helpers.append((name, taken, given))

    # Steps.

    def step(self, kind: Type) -> Type:
        """Add one transformation of records of `kind`; return what comes out."""
        choices = self.choices
        is_pair = kind.name == "tuple" and len(kind.items) == 2
        steps = [(8, self.map), (6, self.filter), (4, self.flat_map), (3, self.key_by)]
        steps += [(1, self.union), (1, self.distinct), (1, self.plain), (1, self.sort)]
        steps += [(5, self.pair), (12 if kind.name == "str" else 1, self.usual)]
        if is_pair:
            steps += [(6, self.map_values), (2, self.flat_map_values), (2, self.side)]
            steps += [(10, self.reduce_by_key), (5, self.group), (3, self.combine)]
            steps += [(4, self.join), (2, self.sort_by_key)]
        return choices.weighted(steps)(kind)

    def usual(self, kind: Type) -> Type:
        """Add what programs mostly do with such records."""
        choices = self.choices
        if kind.flavour == "csv":
            fields = self.writer.fresh("f")
            self.functions += [
                f"def {fields}(line):",
                f"    parts = line.split({kind.keys[0]!r})",
                f"    return parts[{choices.pick(['0', '-1'])}], {_converted(kind)}",
            ]
            self.add(f"map({fields})")
            return tuple_of(STR, _parsed(kind.items[-1]))
        if kind.flavour == "json":
            self.add("map(json.loads)")
            return kind.items[0]
        if kind.flavour in {"number", "decimal"}:
            name = choices.pick(["float", "float", "int"] if kind.flavour else ["int"])
            self.add(f"map({name})")
            return FLOAT if name == "float" else INT
        if kind.name == "str":
            sep = choices.pick(['" "', "", '","'])
            self.add(f"flatMap(lambda l: l.split({sep}))")
            if choices.chance(70):
                self.add("map(lambda w: (w, 1))")
                return tuple_of(WORDS, INT)
            return WORDS
        return self.pair(kind)

    def add(self, call: str) -> None:
        """Add a line that applies `call` to the RDD."""
        self.lines.append(f"rdd = rdd.{call}")

    def map(self, kind: Type) -> Type:
        given = self.choices.weighted(_ITEM_TYPES)
        self.add(f"map({self.function(['x'], [kind], given)})")
        return given

    def pair(self, kind: Type) -> Type:
        key = self.choices.weighted(_KEY_TYPES)
        given = tuple_of(key, self.choices.weighted(_ITEM_TYPES))
        self.add(f"map({self.function(['x'], [kind], given)})")
        return given

    def filter(self, kind: Type) -> Type:
        given = BOOL if self.choices.chance(85) else self.choices.pick([STR, INT])
        self.add(f"filter({self.function(['x'], [kind], given)})")
        return kind

    def flat_map(self, kind: Type) -> Type:
        item = self.choices.weighted(
            [(8, STR), (3, INT), (2, tuple_of(STR, INT)), (1, FLOAT)]
        )
        if self.choices.chance(12):
            self.add(f"flatMap({self.generator(kind, item)})")
        else:
            self.add(f"flatMap({self.function(['x'], [kind], list_of(item))})")
        return item

    def generator(self, kind: Type, item: Type) -> str:
        """Return a generator function that yields a few, or some of what it walks over."""
        writer, name = self.writer, self.writer.fresh("g")
        writer.scope = [("x", kind)]
        lines = [f"def {name}(x):"]
        if self.choices.chance(50):
            over = writer.list_expr(STR, 1)
            lines.append(f"    for w in {over}:")
            writer.scope.append(("w", STR))
            if self.choices.chance(60):
                lines.append(f"        if {writer.expr(BOOL, 1)}:")
                lines.append(f"            yield {writer.expr(item, 1)}")
            else:
                lines.append(f"        yield {writer.expr(item, 1)}")
        else:
            lines.append(f"    yield {writer.expr(item, 1)}")
            lines.append(f"    if {writer.expr(BOOL, 1)}:")
            lines.append(f"        yield {writer.expr(item, 1)}")
        self.functions += lines
        return name

    def key_by(self, kind: Type) -> Type:
        key = self.choices.weighted(_KEY_TYPES)
        self.add(f"keyBy({self.function(['x'], [kind], key)})")
        return tuple_of(key, kind)

    def union(self, kind: Type) -> Type:
        self.other(kind)
        self.add("union(other)")
        return kind

    def distinct(self, kind: Type) -> Type:
        self.add("distinct()")
        return kind

    def plain(self, kind: Type) -> Type:
        call = self.choices.pick(["coalesce(1)", "cache()", "repartition(2)", "glom()"])
        self.add(call)
        return list_of(kind) if call == "glom()" else kind

    def sort(self, kind: Type) -> Type:
        by = self.choices.weighted([(5, INT), (3, STR), (2, FLOAT), (1, kind)])
        key = self.function(["x"], [kind], by)
        down = self.choices.pick(["", ", False", ", numPartitions=1"])
        self.add(f"sortBy({key}{down})")
        return kind

    def map_values(self, kind: Type) -> Type:
        given = self.choices.weighted(_ITEM_TYPES)
        self.add(f"mapValues({self.function(['v'], [kind.items[1]], given)})")
        return tuple_of(kind.items[0], given)

    def flat_map_values(self, kind: Type) -> Type:
        item = self.choices.weighted([(2, INT), (2, STR)])
        function = self.function(["v"], [kind.items[1]], list_of(item))
        self.add(f"flatMapValues({function})")
        return tuple_of(kind.items[0], item)

    def side(self, kind: Type) -> Type:
        side = self.choices.pick([0, 1])
        self.add(("keys()", "values()")[side])
        return kind.items[side]

    def reduction(self, kind: Type) -> str:
        """Return a function of two values that gives a third of the same type."""
        choices = self.choices
        forms = ["lambda a, b: a + b", "operator.add", "max", "min"]
        forms += ["lambda a, b: b", "lambda a, b: a", "lambda a, b: a if a > b else b"]
        forms += ["lambda a, b: max(a, b)", "lambda a, b: b + a"]
        if kind.name in {"int", "float", "bool"}:
            forms += ["lambda a, b: a * b", "lambda a, b: a - b", "lambda a, b: a or b"]
            forms += ["lambda a, b: a and b", "lambda x, y: x + y + 1"]
            forms += ["lambda a, b: a | b", "lambda a, b: min(a, b)"]
        if kind.name == "tuple":
            pieces = [
                choices.pick(
                    ["a[{0}] + b[{0}]", "max(a[{0}], b[{0}])", "a[{0}]"]
                ).format(at)
                for at in range(len(kind.items))
            ]
            forms = [f"lambda a, b: ({', '.join(pieces)},)"] * 4 + forms
        if choices.chance(15):
            return self.function(["a", "b"], [kind, kind], kind)
        return choices.pick(forms)

    def reduce_by_key(self, kind: Type) -> Type:
        parts = self.choices.pick(["", ", 2", ", 1"])
        self.add(f"reduceByKey({self.reduction(kind.items[1])}{parts})")
        return kind

    def group(self, kind: Type) -> Type:
        how = self.choices.pick(
            [
                "sum",
                "len",
                "max",
                "min",
                "list",
                "lambda v: sum(v)",
                "lambda v: len(v)",
                "lambda v: sorted(v)",
                "lambda v: sum(v) / len(v)",
                "set",
                "tuple",
                "lambda v: len(set(v))",
                "lambda v: max(v) - min(v)",
                "any",
            ]
        )
        self.add(f"groupByKey().mapValues({how})")
        value = kind.items[1]
        if how in {"len", "lambda v: len(v)", "lambda v: len(set(v))"}:
            value = INT
        if how in {"list", "lambda v: sorted(v)"}:
            value = list_of(value)
        return tuple_of(kind.items[0], value)

    def combine(self, kind: Type) -> Type:
        key, value = kind.items
        call, given = self.choices.pick(
            [
                (
                    f"aggregateByKey((0, 0), {_COUNT_IN}, {_ADD_BOTH})",
                    tuple_of(value, INT),
                ),
                (
                    f"combineByKey(lambda v: (v, 1), {_COUNT_IN}, {_ADD_BOTH})",
                    tuple_of(value, INT),
                ),
                (
                    f"combineByKey(lambda v: [v], lambda a, v: a + [v], {_ADD})",
                    list_of(value),
                ),
                (f"aggregateByKey(0, lambda a, v: a + v, {_ADD})", value),
                (f"aggregateByKey(0, lambda a, v: a + 1, {_ADD})", INT),
                (f"foldByKey(0, {_ADD})", value),
                ("foldByKey(0, max)", value),
                ("combineByKey(lambda v: v, max, max)", value),
                ("combineByKey(lambda v: 1, lambda a, v: a + 1, operator.add)", INT),
            ]
        )
        self.add(call)
        return tuple_of(key, given)

    def join(self, kind: Type) -> Type:
        name = self.choices.pick(
            [
                "join",
                "leftOuterJoin",
                "rightOuterJoin",
                "fullOuterJoin",
                "cogroup",
                "subtractByKey",
            ]
        )
        key, value = kind.items
        self.other(tuple_of(key, INT))
        parts = self.choices.pick(["", ", 2", ", 1"])
        self.add(f"{name}(other{parts})")
        if name == "subtractByKey":
            return kind
        if name == "cogroup":
            self.add("mapValues(lambda p: (list(p[0]), list(p[1])))")
            return tuple_of(key, tuple_of(list_of(value), list_of(INT)))
        left = value if name in {"join", "leftOuterJoin"} else optional(value)
        right = INT if name in {"join", "rightOuterJoin"} else optional(INT)
        return tuple_of(key, tuple_of(left, right))

    def sort_by_key(self, kind: Type) -> Type:
        down = self.choices.pick(["", "False", "True, 1"])
        self.add(f"sortByKey({down})")
        return kind

    def other(self, kind: Type) -> None:
        """Make a second RDD."""
        records = draw_records(self.choices, kind, count_max=5)
        count = self.choices.between(1, 2)
        self.lines.append(f"other = sc.parallelize({source_of(records)}, {count})")

    # Actions.

    def action(self, kind: Type) -> str:
        """Return what the program returns of its RDD."""
        choices = self.choices
        actions = ["collect()"] * 12 + ["count()"] * 3 + ["countByValue()"] * 2
        actions += ["take(2)", "first()", "distinct().collect()", "glom().collect()"]
        actions += ["isEmpty()", "take(0)", "reduce(lambda a, b: a)", "top(2)"]
        actions += ["takeOrdered(2)", "distinct().count()", "collect()", "take(100)"]
        actions += [f"reduce({self.reduction(kind)})"] * 2
        if kind.name in {"int", "float", "bool"}:
            actions += ["sum()", "max()", "min()", "mean()", "stats().mean()"] * 2
            actions += ["fold(0, lambda a, b: a + b)", "fold(0, operator.add)"]
            actions += ["aggregate(0, lambda a, x: a + x, lambda a, b: a + b)"]
        if kind.name == "tuple" and len(kind.items) == 2:
            actions += ["countByKey()", "collectAsMap()", "values().collect()"] * 2
            actions += ["keys().distinct().collect()", "reduceByKeyLocally(max)"]
        return choices.pick(actions)


def _parsed(kind: Type) -> Type:
    return {"number": INT, "decimal": FLOAT}.get(kind.flavour, STR)


def _converted(kind: Type) -> str:
    name = _parsed(kind.items[-1]).name
    return f"{name}(parts[-1])"


def draw_program(choices: Choices) -> str:
    """Return the source of a program: a function `program(sc)` and what it needs."""
    writer = Writer(choices, is_wild=choices.chance(18))
    program = Program(choices, writer, [], [])
    kind = draw_type(choices)
    records = draw_records(choices, kind)
    source = _source(choices, kind, records)
    if choices.chance(30):
        program.helper()
    steps = choices.weighted([(4, 1), (5, 2), (4, 3), (2, 4), (1, 0)])
    for _ in range(steps):
        kind = program.step(kind)
    action = program.action(kind)
    lines = [f"rdd = {source}", *program.lines, f"return rdd.{action}"]
    return "\n".join(
        [*program.functions, "def program(sc):", *(f"    {line}" for line in lines), ""]
    )


def _source(choices: Choices, kind: Type, records: list[Any]) -> str:
    count = choices.between(1, 3)
    times = choices.weighted([(88, 1), (5, 3), (3, 40), (1, 700)])
    if kind.name == "str" and choices.chance(35):
        ends = [choices.weighted([(9, "\n"), (1, "\r\n"), (1, "\r")]) for _ in records]
        pairs = zip(records, ends, strict=True)
        text = "".join(record + end for record, end in pairs)
        data = text.encode("utf-8", "surrogateescape" if _is_bytes(text) else "replace")
        if choices.chance(30):
            data = data[:-1]
        return f"text_file(sc, {data!r}{f' * {times}' if times > 1 else ''}, {count})"
    data_text = source_of(records) + (f" * {times}" if times > 1 else "")
    return f"sc.parallelize({data_text}, {count})"


def _is_bytes(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def draw_function(choices: Choices) -> str:
    """Return the source of one function and its RECORDS: `FUNCTION(record)` is asked."""
    writer = Writer(choices, is_wild=choices.chance(10))
    program = Program(choices, writer, [], [])
    kind = draw_type(choices)
    records = draw_records(choices, kind)
    if choices.chance(20):
        program.helper()
    given = choices.weighted(_ITEM_TYPES)
    function = program.function(["x"], [kind], given)
    return "\n".join(
        [
            *program.functions,
            f"FUNCTION = {function}",
            f"RECORDS = {source_of(records)}",
            "",
        ]
    )

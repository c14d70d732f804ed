"""Drawn streams: batches of drawn records through windows, state and joins.

A stream is a function `setup(h)` over a test harness, whose collected output is compared.
"""

from tests.properties.columnar.choices import Choices
from tests.properties.columnar.drawing import Program
from tests.properties.columnar.drawing_data import (
    FLOAT,
    INT,
    STR,
    WORDS,
    Type,
    draw_records,
    list_of,
    source_of,
    tuple_of,
)
from tests.properties.columnar.drawing_expressions import Writer

BATCHES = 5

_UPDATES = [
    "lambda new, old: sum(new) + (old or 0)",
    "lambda new, old: (old or 0) + len(new)",
    "lambda new, old: (old or 0) + sum(new)",
    "lambda new, old: sum(new) if old is None else old + sum(new)",
    "lambda new, old: sum(new, old or 0)",
    "lambda new, old: max(new) if new else old",
    "lambda new, old: new[-1] if new else old",
    "lambda new, old: None if not new else sum(new)",
    "lambda new, old: (old or 0) + sum(new) if new else None",
    "lambda new, old: (old or []) + new",
    "lambda new, old: (sum(new) + (old or (0, 0))[0], len(new) + (old or (0, 0))[1])",
    "lambda new, old: max(new + [old]) if old is not None else max(new)",
    "updated",
    "dropped",
]
_HELPERS = """\
def updated(new, old):
    if old is None:
        old = 0
    return old + sum(new)
def dropped(new, old):
    total = sum(new) + (old or 0)
    if total > 5:
        return None
    return total
def counted_state(key, value, state):
    state.update((state.getOption() or 0) + (value or 0))
    return key, state.get()
def last_state(key, value, state):
    before = state.getOption()
    if value is not None and value == 0 and state.exists():
        state.remove()
    elif value is not None:
        state.update(value)
    return before
"""


def draw_stream(choices: Choices) -> str:
    """Return the source of a stream: a function `setup(h)` and what it needs."""
    writer = Writer(choices, is_wild=choices.chance(5))
    program = Program(choices, writer, [], [])
    key = choices.weighted([(5, WORDS), (4, INT), (1, STR), (1, tuple_of(WORDS, INT))])
    value = choices.weighted([(6, INT), (2, FLOAT)])
    kind = tuple_of(key, value)
    batches = [draw_records(choices, kind, count_max=6) for _ in range(BATCHES)]
    count = choices.between(1, 2)
    lines = [f"rdd = h.stream({source_of(batches)}, {count})"]
    for _ in range(choices.between(0, 1)):
        program.lines = []
        step = choices.pick([program.filter, program.map_values])
        kind = step(kind)
        lines += program.lines
    program.lines = []
    kind = _ending(choices, program, kind)
    lines += program.lines
    if choices.chance(30) and kind.name == "tuple":
        program.lines = []
        choices.pick([program.filter, program.map])(kind)
        lines += program.lines
    return "\n".join(
        [
            _HELPERS.rstrip(),
            *program.functions,
            "def setup(h):",
            *(f"    {line}" for line in lines),
            "    return h.collect(rdd)",
            "",
        ]
    )


def _ending(choices: Choices, program: Program, kind: Type) -> Type:
    window, slide = choices.pick([2, 3, 4]), choices.pick([1, 1, 2])
    parts = choices.pick(["", ", 1", ", 2"])
    key, value = kind.items
    form = choices.weighted(
        [
            (6, "update"),
            (4, "inverse"),
            (4, "window"),
            (2, "state"),
            (2, "plain"),
            (2, "values"),
            (2, "group"),
            (2, "join"),
            (1, "initial"),
        ]
    )
    match form:
        case "update":
            program.add(f"updateStateByKey({choices.pick(_UPDATES)}{parts})")
        case "initial":
            records = draw_records(choices, tuple_of(key, INT), count_max=4)
            given = f"initialRDD=h.sc.parallelize({source_of(records)}, 2)"
            program.add(f"updateStateByKey({choices.pick(_UPDATES)}, {given})")
        case "inverse":
            pair = "lambda a, b: a + b, lambda a, b: a - b"
            only = choices.pick(["", ", filterFunc=lambda p: p[1] != 0"])
            program.add(f"reduceByKeyAndWindow({pair}, {window}, {slide}{only})")
        case "window":
            function = program.reduction(value)
            program.add(f"reduceByKeyAndWindow({function}, None, {window}, {slide})")
        case "state":
            program.add(
                "mapWithState(StateSpec.function("
                f"{choices.pick(['counted_state', 'last_state'])}))"
            )
            return choices.pick([tuple_of(key, INT), INT])
        case "plain":
            return program.reduce_by_key(kind)
        case "values":
            call = choices.pick(["countByValueAndWindow", "countByWindow"])
            program.add(f"{call}({window}, {slide})")
            return INT if call == "countByWindow" else tuple_of(kind, INT)
        case "group":
            how = choices.pick(["sum", "list", "len", "max"])
            program.add(f"groupByKeyAndWindow({window}, {slide}).mapValues({how})")
            return tuple_of(key, list_of(value)) if how == "list" else kind
        case _:
            name = choices.pick(["join", "leftOuterJoin", "fullOuterJoin", "cogroup"])
            program.add(f"{name}(rdd.window({window}, 1))")
            program.add(
                "mapValues(lambda p: (list(p[0]) if type(p[0]).__name__ == 'ResultIterable' else p[0], 1))"
            )
            return tuple_of(key, tuple_of(value, INT))
    return kind

"""Drawn functions of mapWithState, over batches in which keys come again and again.

Both what is mapped and what is kept are compared, batch by batch.
"""

from tests.properties.columnar.choices import Choices

BATCHES = 5

_BOTH = """\
class Both:
    times_ms = ()
    def __init__(self, *outs):
        self.outs = outs
    @property
    def partitions(self):
        return [each.partitions for each in self.outs]
def put(state, new):
    if not state.exists():
        state.update(new)
        return True
    state.update(new)
    return False
def drop(state):
    if state.exists():
        state.remove()
"""

_INTS = ["0", "1", "1", "2", "3", "-1", "7", "-4"]
_ODD_INTS = ["2**62", "-2**63", "2**63 - 1", "2**70", "True", "1.0", "None", "0"]
_FLOATS = ["0.5", "1.0", "-1.5", "0.1", "0.0", "3.25", "1e16"]
_GIVEN_FLOATS = [*_FLOATS, "-0.0", "-0.0", "0.2", "0.3"]
_ODD_FLOATS = ["-0.0", "float('nan')", "float('inf')", "1e308", "1", "None"]
_TEXTS = ["'a'", "'b'", "''", "'ab'", "'é'", "'漢字'"]
_ODD_TEXTS = ["'\\ud800'", "None", "'\\x00'", "b'a'"]
_KEYS = ["'a'", "'b'", "'é'", "'c'", "''"]
_INT_KEYS = ["1", "2", "3", "0"]
_ODD_KEYS = ["None", "True", "1", "1.0", "float('nan')", "2**65", "('a', 1)", "[1]"]


def draw_mapped_states(choices: Choices) -> str:
    """Return the source of a stream: a function `setup(h)` and what it needs."""
    return _Drawing(choices).source()


class _Drawing:
    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.kind = choices.weighted(
            [(6, "int"), (3, "float"), (2, "str"), (3, "pair"), (1, "mixed")]
        )
        self.takes_time = choices.chance(40)
        self.odd = choices.weighted([(6, 0), (2, 4), (1, 30)])

    # Data.

    def value(self) -> str:
        plain, odd = {
            "float": (_GIVEN_FLOATS, _ODD_FLOATS),
            "str": (_TEXTS, _ODD_TEXTS),
        }.get(self.kind, (_INTS, _ODD_INTS))
        return self.choices.pick(odd if self.choices.chance(self.odd) else plain)

    def batches(self) -> str:
        choices = self.choices
        keys = choices.pick([_KEYS, _KEYS, _INT_KEYS])[: choices.between(1, 5)]
        odd_key = self.odd // 4
        made = []
        for _ in range(BATCHES):
            records = []
            for _ in range(choices.between(0, 14)):
                key = choices.pick(_ODD_KEYS if choices.chance(odd_key) else keys)
                records.append(f"({key}, {self.value()})")
            more = choices.weighted([(7, ""), (1, " * 5"), (2, " * 130")])
            made.append(f"[{', '.join(records)}]{more}")
        return f"[{', '.join(made)}]"

    # The function.

    def literal(self) -> str:
        plain = {"float": _FLOATS, "str": _TEXTS}.get(self.kind, _INTS)
        return self.choices.pick(plain)

    def default(self) -> str:
        one = {"float": ["0.0", "0.0", "1.5"], "str": ["''", "'x'"]}.get(
            self.kind, ["0", "0", "0", "1", "10"]
        )
        if self.kind == "pair":
            return f"({self.choices.pick(one)}, {self.choices.pick(one)})"
        return self.choices.pick(one)

    def made_of(self, old: str) -> str:
        """Return the expression of a new plain state."""
        choices = self.choices
        if self.kind == "str":
            forms = [
                "{o} + value",
                "value",
                "max({o}, value)",
                "min({o}, value)",
                "{o}",
            ]
        elif self.kind == "float":
            forms = [
                "{o} + value",
                "value + {o}",
                "{o} * 0.5 + value",
                "max({o}, value)",
                "min(value, {o})",
                "value",
                "{o} + 1.0",
                "{o} - value / 3",
            ]
        else:
            forms = [
                "{o} + value",
                "value + {o}",
                "{o} + 1",
                "max({o}, value)",
                "min({o}, value)",
                "value",
                "{o}",
                "{o} * 2 + value",
                "{o} + 2 * value",
                "value - {o}",
                "({o} + value) % 5",
                "{o} // 2 + value",
                "{o} + (1 if value > 0 else 0)",
                "{o} / 2",
                "{o} + len(str(key))",
            ]
        return choices.pick(forms).format(o=old)

    def new(self) -> str:
        if self.kind == "pair":
            return f"({self.made_of('old[0]')}, {self.made_of('old[1]')})"
        return self.made_of("old")

    def old(self) -> list[str]:
        default = self.default()
        return self.choices.weighted(
            [
                (4, [f"old = state.getOption() or {default}"]),
                (3, [f"old = state.get() if state.exists() else {default}"]),
                (
                    3,
                    [
                        "old = state.getOption()",
                        "if old is None:",
                        f"    old = {default}",
                    ],
                ),
                (
                    2,
                    [
                        "if not state.exists():",
                        "    state.update(value)",
                        "    return (key, value)",
                        "old = state.get()",
                    ],
                ),
                (
                    2,
                    [
                        "if state.exists():",
                        "    old = state.get()",
                        "else:",
                        f"    old = {default}",
                    ],
                ),
                (1, [f"old = {default} if not state.exists() else state.getOption()"]),
                (1, ["old = state.get()"]),
            ]
        )

    def condition(self) -> str:
        number = self.literal()
        forms = [
            f"value > {number}",
            f"value != {number}",
            "state.exists()",
            "not state.exists()",
            "state.isTimingOut()",
            "value is None",
            "key == 'a'",
        ]
        if self.kind != "pair":
            forms += [f"new > {number}", f"new == {number}", f"old < {number}"]
        else:
            forms += [f"new[0] > {number}", "new[1] == 3"]
        return self.choices.pick(forms)

    def change(self) -> list[str]:
        c = self.condition()
        return self.choices.weighted(
            [
                (6, ["state.update(new)"]),
                (2, [f"if {c}:", "    state.update(new)"]),
                (
                    3,
                    [
                        f"if {c}:",
                        "    state.remove()",
                        "else:",
                        "    state.update(new)",
                    ],
                ),
                (1, [f"state.update(new) if {c} else None"]),
                (1, [f"{c} or state.update(new)"]),
                (1, [f"{c} and state.update(new)"]),
                (1, ["put(state, new)"]),
                (1, [f"if {c}:", "    drop(state)", "else:", "    put(state, new)"]),
                (1, [f"if {c}:", f"    return {self.result()}", "state.update(new)"]),
                (
                    1,
                    [
                        f"if {c}:",
                        "    state.remove()",
                        f"    return {self.result()}",
                        "state.update(new)",
                    ],
                ),
                (1, ["state.update(new)", f"if {c}:", "    state.remove()"]),
                (1, [f"state.update({self.literal()})"]),
                (1, ["state.update(None)"]),
                (1, ["state.update(new)", "state.update(old)"]),
                (1, [f"if {c}:", "    state.remove()", "state.update(new)"]),
                (1, ["state.remove()"]),
                (1, []),
            ]
        )

    def result(self) -> str:
        c = self.condition()
        forms = [
            (5, "(key, new)"),
            (3, "new"),
            (2, "(key, value)"),
            (2, "(key, state.getOption())"),
            (1, "state.getOption()"),
            (1, "(key, state.get())"),
            (1, "(key, old, new)"),
            (1, "value"),
            (1, "None"),
            (1, "state.exists()"),
            (1, f"(key, 1 if {c} else 0)"),
            (2, f"(key, new) if {c} else None"),
            (1, f"new if {c} else None"),
            (1, "f'{key}:{value}'"),
            (1, "(key, state.exists(), state.isTimingOut())"),
        ]
        if self.takes_time:
            forms += [(1, "(key, time)"), (1, "(time.hour, new)")]
        return self.choices.weighted(forms)

    def function(self) -> list[str]:
        lines = []
        guard = self.choices.weighted(
            [
                (4, ["if value is None:", "    return None"]),
                (4, []),
                (1, ["if value is None:", "    return (key, state.get())"]),
                (1, ["if state.isTimingOut():", "    return (key, None)"]),
            ]
        )
        lines += guard
        lines += self.old()
        lines.append(f"new = {self.new()}")
        lines += self.change()
        lines.append(f"return {self.result()}")
        arguments = (
            "time, key, value, state" if self.takes_time else "key, value, state"
        )
        return [f"def mapped({arguments}):", *(f"    {line}" for line in lines)]

    # The stream.

    def spec(self) -> str:
        choices = self.choices
        made = "StateSpec.function(mapped)"
        made += choices.pick(["", ".numPartitions(1)", ".numPartitions(2)"])
        made += choices.weighted(
            [(6, ""), (1, ".timeout(2)"), (2, ".timeout(2, True)")]
        )
        if choices.chance(15):
            states = [
                f"({choices.pick(_KEYS)}, {self.default()})"
                for _ in range(choices.between(0, 3))
            ]
            made += f".initialState([{', '.join(states)}])"
        return made

    def source(self) -> str:
        after = self.choices.weighted(
            [
                (6, ""),
                (1, ".map(lambda x: (x, 1))"),
                (1, ".map(lambda x: (x, 1)).reduceByKey(lambda a, b: a + b)"),
                (1, ".filter(lambda x: x is not None)"),
            ]
        )
        before = self.choices.weighted([(4, ""), (1, ".map(lambda p: (p[0], p[1]))")])
        lines = [
            f"rdd = h.stream({self.batches()}, {self.choices.between(1, 2)}){before}",
            f"rdd = rdd.mapWithState({self.spec()})",
            f"return Both(h.collect(rdd{after}), h.collect(rdd.stateSnapshots()))",
        ]
        return "\n".join(
            [
                _BOTH.rstrip(),
                *self.function(),
                "def setup(h):",
                *(f"    {line}" for line in lines),
                "",
            ]
        )

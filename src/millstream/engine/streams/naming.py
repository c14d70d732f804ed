"""Names: what sources, states and outputs are called, so that a later program finds them.

A name given with `DStream.named` wins. Else it comes from the structure: a source is
called by what it reads, a stateful stream by what it does and what feeds it, anything
else by its path from there. Steps without state can be put in or taken out without
changing the names of what keeps state.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millstream.engine.streams.operators import Operator


def name_operators(
    inputs: "Iterable[Operator]", outputs: "Iterable[Operator]"
) -> "dict[Operator, str]":
    """Return the name of every input, every output and every operator between them."""
    names: dict[Operator, str] = {}
    taken: set[str] = set()

    def give(operator: "Operator", derived: str) -> None:
        name, number = operator.given_name or derived, 1
        while name in taken:
            number += 1
            name = f"{operator.given_name or derived}#{number}"
        taken.add(name)
        names[operator] = name

    everything = in_order(inputs, outputs)
    for operator in everything:
        if operator.given_name is not None:
            give(operator, operator.given_name)
    for operator in everything:
        if operator not in names:
            give(operator, _derived(operator, names))
    return names


def in_order(
    inputs: "Iterable[Operator]", outputs: "Iterable[Operator]"
) -> "list[Operator]":
    """Return all operators, parents before children, otherwise as they were made."""
    ordered: dict[Operator, None] = dict.fromkeys(inputs)
    for output in outputs:
        waiting: list[tuple[Operator, bool]] = [(output, False)]
        while waiting:
            operator, parents_done = waiting.pop()
            if operator in ordered:
                continue
            if parents_done:
                ordered[operator] = None
                continue
            waiting.append((operator, True))
            waiting.extend((parent, False) for parent in reversed(operator.parents))
    return list(ordered)


def _derived(operator: "Operator", names: "Mapping[Operator, str]") -> str:
    if not operator.parents:
        return operator.identity
    if operator.keeps_state:
        return f"{operator.kind}({', '.join(sorted(_feeders(operator, names)))})"
    first = names[operator.parents[0]]
    others = [names[parent] for parent in operator.parents[1:]]
    return f"{first}/{operator.kind}" + (f"({', '.join(others)})" if others else "")


def _feeders(operator: "Operator", names: "Mapping[Operator, str]") -> set[str]:
    """Return the nearest sources, states and named streams above."""
    found: set[str] = set()
    waiting = list(operator.parents)
    while waiting:
        above = waiting.pop()
        if not above.parents or above.keeps_state or above.given_name is not None:
            found.add(names[above])
        else:
            waiting.extend(above.parents)
    return found


def directory_name(name: str) -> str:
    """Return a directory name for an operator's: readable, and different for each.

    >>> directory_name("counts")
    'counts-b837163b'
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return f"{plain}-{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"

"""Ray nodes: which of a cluster's nodes are gone, sooner than Ray itself tells.

Ray takes up to half a minute to see that a node is gone, and lets who reads its blocks wait
for as long. A node's raylet listens at a port: where nobody answers there any more, twice in
a row, it is gone.
"""

import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

_CONNECT_S = 1.0
_FAILURES_MAX = 2

Address = tuple[str, int]


class NodeWatch:
    """Which nodes are gone. Those that could never be reached from here aren't judged."""

    def __init__(
        self,
        addresses: Callable[[], Mapping[str, Address]],
        answers: Callable[[Address], bool],
    ) -> None:
        """Learn of nodes from `addresses`, and see by `answers` whether one is there."""
        self._addresses = addresses
        self._answers = answers
        self._known: dict[str, Address] = {}
        self._failures: dict[str, int] = {}
        self.gone: set[str] = set()

    def look(self, nodes: Iterable[str]) -> set[str]:
        """Return which of `nodes` are found to be gone now, each once."""
        found = set()
        for node in set(nodes) - self.gone:
            if node not in self._failures:
                self._known.update(self._addresses())
            address = self._known.get(node)
            if address is None:
                continue
            if self._answers(address):
                self._failures[node] = 0
            elif node in self._failures:
                self._failures[node] += 1
                if self._failures[node] >= _FAILURES_MAX:
                    found.add(node)
        self.gone |= found
        return found


def addresses(ray: Any) -> dict[str, Address]:
    """Return where the raylets of a cluster listen, by the ids of the nodes."""
    return {
        each["NodeID"]: (each["NodeManagerAddress"], each["NodeManagerPort"])
        for each in ray.nodes()
        if each["Alive"]
    }


def answers(address: Address) -> bool:
    """Say whether somebody listens at an address."""
    try:
        with closing(socket.create_connection(address, timeout=_CONNECT_S)):
            return True
    except OSError:
        return False

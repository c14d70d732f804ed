"""Tests of engine/workers/ray_nodes.py: when a node counts as gone."""

import socket

from millstream.engine.workers.ray_nodes import Address, NodeWatch, answers


class Cluster:
    """Nodes that answer, or don't."""

    def __init__(self, **ports: int) -> None:
        self.addresses = {name: ("host", port) for name, port in ports.items()}
        self.silent: set[int] = set()

    def answers(self, address: Address) -> bool:
        """Say whether the node at an address answers."""
        return address[1] not in self.silent

    def watch(self) -> NodeWatch:
        """Return who watches them."""
        return NodeWatch(lambda: self.addresses, self.answers)


def test_a_node_is_gone_that_twice_does_not_answer() -> None:
    """It is told once, and never asked again."""
    cluster = Cluster(a=1, b=2)
    watch = cluster.watch()
    assert watch.look("ab") == set()
    cluster.silent.add(1)
    assert watch.look("ab") == set()
    assert watch.look("ab") == {"a"}
    cluster.silent.clear()

    assert watch.look("ab") == set()
    assert watch.gone == {"a"}


def test_an_answer_in_between_is_forgiveness() -> None:
    """A network may be slow now and then."""
    cluster = Cluster(a=1)
    watch = cluster.watch()
    watch.look("a")
    for _ in range(3):
        cluster.silent.add(1)
        assert watch.look("a") == set()
        cluster.silent.clear()
        assert watch.look("a") == set()


def test_a_node_that_was_never_reached_is_not_judged() -> None:
    """From outside a cluster none may be; nor is one that nobody knows."""
    cluster = Cluster(a=1)
    cluster.silent.add(1)
    watch = cluster.watch()
    for _ in range(4):
        assert watch.look(["a", "unknown"]) == set()
    cluster.addresses["b"] = ("host", 2)
    assert watch.look("ab") == set()
    cluster.silent.add(2)
    watch.look("b")
    assert watch.look("b") == {"b"}


def test_a_port_answers_while_somebody_listens_there() -> None:
    """On loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert answers(address)
    assert not answers(address)

"""Ray scaling: which actors go when there are to be fewer, and nodes for more of them."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from millstream.engine.workers.queueing import Ticket


class Scaled(Protocol):
    """An actor, as far as it matters here."""

    tickets: list[Ticket]
    is_alive: bool
    is_leaving: bool
    """Whether it takes no more tasks, and ends after the one that it has."""


ActorT = TypeVar("ActorT", bound=Scaled)


def count_ready(actors: Sequence[Scaled]) -> int:
    """Return how many take tasks now."""
    return sum(each.is_alive and not each.is_leaving for each in actors)


def plan_change(actors: Sequence[ActorT], count: int) -> tuple[int, list[ActorT]]:
    """Return how many actors to start, and which are to leave, so that `count` stay. Pure.

    Those that are only being started go first, then those without a task: what runs
    isn't thrown away while anything else will do.
    """
    staying = [each for each in actors if not each.is_leaving]
    surplus = len(staying) - count
    if surplus <= 0:
        return -surplus, []
    by_use = sorted(staying, key=lambda each: (each.is_alive, bool(each.tickets)))
    return 0, by_use[:surplus]


def request_nodes(count: int) -> None:
    """Let Ray's autoscaler, where the cluster has one, see to room for `count` actors."""
    from ray.autoscaler.sdk import request_resources  # noqa: PLC0415  An extra.

    request_resources(num_cpus=count)

"""Tests of engine/workers/ray_scaling.py."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.workers.protocol import StageBody, TaskOrder
from millstream.engine.workers.queueing import Ticket
from millstream.engine.workers.ray_scaling import count_ready, plan_change


@dataclass(slots=True, eq=False)
class Actor:
    """As much of one as matters."""

    tickets: list[Ticket] = field(default_factory=list)
    is_alive: bool = True
    is_leaving: bool = False


def busy() -> Actor:
    """Return an actor that has a task."""
    order = TaskOrder(StageBody("stage", b""), b"", "task")
    return Actor([Ticket(None, order, lambda _: None)])  # type: ignore[arg-type]


def test_more_are_started_than_those_that_stay() -> None:
    """One that is leaving is replaced."""
    actors = [Actor(), Actor(is_leaving=True), Actor(is_alive=False)]

    assert plan_change(actors, 2) == (0, [])
    assert plan_change(actors, 5) == (3, [])
    assert count_ready(actors) == 1


def test_those_go_first_that_do_nothing() -> None:
    """Those that aren't there yet, then the idle ones, and at last those with a task."""
    idle, working, starting = Actor(), busy(), Actor(is_alive=False)
    actors = [working, idle, starting]

    assert plan_change(actors, 2) == (0, [starting])
    assert plan_change(actors, 1) == (0, [starting, idle])
    assert plan_change(actors, 0) == (0, [starting, idle, working])


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8),
    st.integers(0, 10),
)
def test_as_many_stay_as_there_are_to_be(
    drawn: list[tuple[bool, bool, bool]], count: int
) -> None:
    """Whatever they do."""
    actors = [
        Actor(busy().tickets if is_busy else [], is_alive, is_leaving)
        for is_busy, is_alive, is_leaving in drawn
    ]
    more, leaving = plan_change(actors, count)
    staying = [each for each in actors if not each.is_leaving and each not in leaving]

    assert len(staying) + more == count
    assert more == 0 or leaving == []
    assert not any(each.is_leaving for each in leaving)

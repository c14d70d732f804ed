"""Tests of engine/workers/ray_executor.py: what the actor does, without a cluster."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from millstream.engine.base import driver_link, frames
from millstream.engine.columnar.blocks import Columns, Frozen
from millstream.engine.columnar.shapes import Kind, Plain
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.frozen_bytes import Description
from millstream.engine.plan.partitions import FrozenRows, freeze
from millstream.engine.workers.protocol import Body, Inside
from millstream.engine.workers.ray_executor import Call, Executor, Slice

ROWS = [("a", 1), ("b", 2)]


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Executor:
    """Return an actor that isn't one; this process is no worker afterwards."""
    monkeypatch.setattr(driver_link, "_ask", None)
    monkeypatch.setattr("sys.path", ["elsewhere"])
    monkeypatch.chdir(tmp_path)
    return Executor([], str(tmp_path))


def run(
    executor: Executor,
    body: Body | None,
    shelves: int = 0,
    reads: Sequence[Slice] = (),
    parts: Sequence[Any] = (),
    answers: dict[bytes, Any] | None = None,
) -> Any:
    """Run a body as a task named t."""
    pickled = None if body is None else frames.dumps_function(body)
    call = Call("stage", pickled, b"given", answers or {}, "t", shelves, reads)
    made = executor.run([call], *parts)
    if not shelves:
        (outcome,) = made
        return outcome
    (outcome,), *filled = made
    return outcome, *filled


def test_a_body_travels_once(executor: Executor) -> None:
    """An actor that was started anew doesn't know it, and says so."""
    assert run(executor, None) == ("unknown",)
    assert run(executor, lambda given, _: bytes(given)) == ("done", b"given", [])
    assert run(executor, None) == ("done", b"given", [])


def test_what_a_task_holds_is_returned_in_parts_and_read_from_them(
    executor: Executor,
) -> None:
    """Blocks are dealt out to the parts; each is read where its slice says."""
    columns = Columns(pl.DataFrame({"value": [1, 2, 3]}), Plain(Kind.INT))
    blocks: list[Frozen] = [freeze([[1], [2]]), columns, freeze(["x"])]
    about = [frozen_bytes.describe(each) for each in blocks]

    def hold(_given: bytes | memoryview, inside: Inside) -> bytes:
        return bytes(map(inside.hold, blocks))

    (kind, value, slices), *parts = run(executor, hold, shelves=2)
    assert (kind, value) == ("done", bytes(range(3)))
    assert [each.part for each in slices] == [0, 1, 0]

    def read(_given: bytes | memoryview, inside: Inside) -> bytes:
        found = [inside.read(place, each) for place, each in enumerate(about)]
        return frames.dumps([list(each.thaw()) for each in found])

    received = [bytes(memoryview(each)) for each in parts]
    outcome = run(executor, read, reads=slices, parts=received)
    assert frames.loads(outcome[1]) == [[[1], [2]], [1, 2, 3], ["x"]]


def test_rows_that_it_has_made_itself_are_read_as_they_are(executor: Executor) -> None:
    """The very objects: nothing is unpickled."""
    held = freeze(ROWS)
    seen: list[Any] = []

    def hold(_given: bytes | memoryview, inside: Inside) -> bytes:
        return bytes([inside.hold(held)])

    (_, _, slices), part = _run_live(executor, hold)

    def read(_given: bytes | memoryview, inside: Inside) -> bytes:
        seen.append(inside.read(0, Description(2, None, is_keyed=False)))
        return b""

    _run_live(executor, read, slices, [bytes(memoryview(part))])
    assert isinstance(seen[0], FrozenRows)
    assert seen[0].shared is held.shared


def _run_live(
    executor: Executor,
    body: Body,
    reads: Sequence[Slice] = (),
    parts: Sequence[Any] = (),
) -> Any:
    """Run a body that isn't pickled: it closes over the test's own objects."""
    executor._bodies["stage"] = body
    return run(executor, None, 1, reads, parts)


def test_tasks_that_come_together_end_one_by_one(executor: Executor) -> None:
    """Each has parts of its own; one that raises doesn't keep the others."""

    def work(given: bytes | memoryview, inside: Inside) -> bytes:
        inside.hold(freeze([bytes(given).decode()]))
        return b"ok" if given != b"b" else frames.dumps(1 // 0)

    body = frames.dumps_function(work)
    calls = [Call("stage", body, bytes([n]), {}, f"t{n}", 1, ()) for n in b"abc"]
    outcomes, *parts = executor.run(calls)

    assert [each[0] for each in outcomes] == ["done", "broken", "done"]
    assert [bytes(memoryview(e)) == b"" for e in parts] == [False, True, False]


def test_a_question_goes_to_the_driver_and_the_task_begins_anew(
    executor: Executor,
) -> None:
    """What it held by then is dropped: it will hold it again."""

    def ask(_given: bytes | memoryview, inside: Inside) -> bytes:
        inside.hold(freeze(["held"]))
        return frames.dumps(driver_link.ask("topic", 7))

    outcome, part = run(executor, ask, shelves=1)
    assert outcome == ("asked", "topic", 7)
    assert bytes(memoryview(part)) == b""
    key = frames.dumps(("topic", 7))
    outcome, part = run(executor, None, shelves=1, answers={key: "seven"})
    assert frames.loads(outcome[1]) == "seven"
    assert len(outcome[2]) == 1


def test_a_body_that_raises_is_told_with_its_traceback(executor: Executor) -> None:
    """And so is one that can't be loaded."""

    def fail(_given: bytes | memoryview, _inside: Inside) -> bytes:
        msg = "no luck"
        raise ValueError(msg)

    kind, text = run(executor, fail)
    assert kind == "broken"
    assert "ValueError: no luck" in text
    ((kind, text),) = executor.run([Call("other", b"no pickle", b"", {}, "t", 0, ())])
    assert kind == "broken"
    assert "Unpickling" in text


def test_a_copy_is_kept_until_it_is_let_go(executor: Executor) -> None:
    """One that isn't there can be let go, too: the actor may be another one."""
    executor.pin("part", b"data")
    assert executor._pinned == {"part": b"data"}
    executor.unpin(["part", "of the actor before"])
    assert not executor._pinned

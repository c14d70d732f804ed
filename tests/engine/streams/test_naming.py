"""Tests of streams/naming.py: names that stay when a program changes."""

from millstream.engine.streams.naming import directory_name
from millstream.testing import StreamHarness


def names(h: StreamHarness) -> list[str]:
    """Return all names of a harness's streams."""
    return list(h.ssc._graph.names().values())


def test_state_keeps_its_name_when_steps_come_and_go(checkpoint: str) -> None:
    """It is called by its kind and its source, whatever is between them."""
    found = []
    for has_step in (False, True):
        with StreamHarness(checkpoint=checkpoint) as h:
            stream = h.stream([])
            pairs = stream.filter(bool) if has_step else stream
            h.collect(pairs.updateStateByKey(lambda v, s: s))
            found.append([name for name in names(h) if "update" in name][:1])
    assert found[0] == found[1] == ["updateStateByKey(scripted)"]


def test_given_names_win_and_equal_ones_are_numbered(checkpoint: str) -> None:
    """A second source or state of the same kind gets a number."""
    with StreamHarness(checkpoint=checkpoint) as h:
        first, second = h.stream([]), h.stream([]).named("orders")
        for stream in (first, second, first):
            h.collect(stream.updateStateByKey(lambda v, s: s))
        states = [name for name in names(h) if name.startswith("update")]

    assert states[::2] == [
        "updateStateByKey(scripted)",
        "updateStateByKey(orders)",
        "updateStateByKey(scripted)#2",
    ]


def test_directories_differ_where_names_do() -> None:
    """Readable, and safe for any file system."""
    assert directory_name("a/b") != directory_name("a-b")
    assert directory_name("häuser / 7").startswith("h-user-7-")

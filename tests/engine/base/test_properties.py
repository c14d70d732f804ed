"""Tests of engine/base/properties.py."""

import threading

import pytest

from millstream.engine.base.properties import LocalProperties


def test_a_property_is_seen_until_it_is_removed() -> None:
    """None removes it; removing what isn't there is no error."""
    properties = LocalProperties()
    properties.set("pool", "fast")
    assert properties.get("pool") == "fast"

    properties.set("pool", None)
    properties.set("pool", None)

    assert properties.get("pool") is None


def test_each_thread_has_its_own() -> None:
    """Nothing passes from one thread to another by itself."""
    properties = LocalProperties()
    properties.set("pool", "mine")
    seen: list[str | None] = []

    def ask() -> None:
        seen.append(properties.get("pool"))
        properties.set("pool", "theirs")

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

    assert seen == [None]
    assert properties.get("pool") == "mine"


def test_a_snapshot_is_a_copy() -> None:
    """What is set later isn't in it, and installing one copies again."""
    properties = LocalProperties()
    properties.set("a", "1")
    before = properties.snapshot()
    properties.set("b", "2")
    properties.install(before)
    properties.set("c", "3")

    assert before == {"a": "1"}
    assert properties.snapshot() == {"a": "1", "c": "3"}


def test_properties_installed_for_a_while_go_again() -> None:
    """Whatever was set meanwhile, and when the work raises."""
    properties = LocalProperties()
    properties.set("a", "1")

    def work() -> None:
        with properties.installed({"b": "2"}):
            properties.set("c", "3")
            assert properties.snapshot() == {"b": "2", "c": "3"}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()

    assert properties.snapshot() == {"a": "1"}

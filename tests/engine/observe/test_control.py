"""Threads are told by where they are."""

import threading

from millstream.engine.observe.control import dump_threads


def wait_for(told: threading.Event, until: threading.Event) -> None:
    """Say that one is here, and stay."""
    told.set()
    until.wait()


def test_each_thread_is_told_with_its_calls_the_innermost_last() -> None:
    """By name, and with the lines."""
    told, until = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=wait_for, args=(told, until), name="a-sleeper", daemon=True
    )
    thread.start()
    told.wait()
    try:
        dumps = dump_threads()
    finally:
        until.set()
        thread.join()
    (found,) = [each for each in dumps if each.name == "a-sleeper"]
    names = [each.split(" ")[0] for each in found.calls]

    assert found.id == thread.ident
    assert found.is_daemon
    assert names.index("wait_for") < names.index("wait")
    assert "test_control.py:" in found.calls[names.index("wait_for")]
    assert [each.name for each in dumps] == sorted(each.name for each in dumps)
    assert any(each.calls[-1].startswith("dump_threads ") for each in dumps)

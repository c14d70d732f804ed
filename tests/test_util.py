"""Tests of util.py."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.context import SparkContext
from millstream.engine.base.errors import PySparkRuntimeError
from millstream.util import (
    InheritableThread,
    VersionUtils,
    _parse_memory,
    fail_on_stopiteration,
    inheritable_thread_target,
    keyword_only,
    since,
)


def _run(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


def test_a_thread_has_the_properties_of_who_starts_it(sc: SparkContext) -> None:
    """As they are at the start; what it sets itself stays its own."""
    seen: list[Any] = []

    def look(what: str, *, more: int) -> None:
        seen.append((what, more, sc.getLocalProperty("pool")))
        sc.setLocalProperty("pool", "changed")

    thread = InheritableThread(look, args=("x",), kwargs={"more": 2}, name="looker")
    sc.setLocalProperty("pool", "fast")
    _run(thread)

    assert seen == [("x", 2, "fast")]
    assert thread.name == "looker"
    assert sc.getLocalProperty("pool") == "fast"


def test_a_plain_thread_has_none(sc: SparkContext) -> None:
    """Properties don't pass by themselves."""
    seen: list[str | None] = []
    sc.setLocalProperty("pool", "fast")
    _run(threading.Thread(target=lambda: seen.append(sc.getLocalProperty("pool"))))

    assert seen == [None]


@pytest.mark.parametrize(
    "wrap",
    [inheritable_thread_target, inheritable_thread_target(None)],
    ids=["plain", "with a session"],
)
def test_a_wrapped_function_has_the_properties_of_who_wrapped_it(
    sc: SparkContext, wrap: Callable[..., Any]
) -> None:
    """As they were then; also as a decorator that takes a session."""
    seen: list[str | None] = []
    sc.setLocalProperty("pool", "then")

    @wrap
    def look() -> None:
        seen.append(sc.getLocalProperty("pool"))

    sc.setLocalProperty("pool", "later")
    _run(threading.Thread(target=look))

    assert seen == ["then"]
    assert look.__name__ == "look"


def test_without_a_context_threads_just_run() -> None:
    """There is nothing to inherit."""
    seen: list[int] = []
    _run(InheritableThread(seen.append, (1,)))
    _run(threading.Thread(target=inheritable_thread_target(lambda: seen.append(2))))

    assert seen == [1, 2]


def test_an_escaping_stop_iteration_is_an_error() -> None:
    """It would end somebody else's loop in silence."""
    with pytest.raises(PySparkRuntimeError, match="STOP_ITERATION_OCCURRED"):
        fail_on_stopiteration(next)(iter([]))

    assert fail_on_stopiteration(max)(1, 2) == 2


def test_keyword_only_methods_keep_what_they_were_given() -> None:
    """In `_input_kwargs`; a positional argument is refused by name."""

    class Thing:
        _input_kwargs: dict[str, Any]

        @keyword_only
        def configure(self, *, a: int = 0, b: int = 0) -> int:
            """Add."""
            return a + b

    thing = Thing()

    assert thing.configure(a=1, b=2) == 3
    assert thing._input_kwargs == {"a": 1, "b": 2}
    with pytest.raises(TypeError, match="configure only takes keyword arguments"):
        thing.configure(1)


def test_since_notes_the_version() -> None:
    """In the docstring."""

    @since("1.2")
    def function() -> None:
        """Do it."""

    assert function.__doc__ == "Do it.\n\n.. versionadded:: 1.2"


@given(
    st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", ".1", ".0-SNAPSHOT"])
)
def test_versions_come_apart(major: int, minor: int, rest: str) -> None:
    """Two numbers; the rest may be anything."""
    version = f"{major}.{minor}{rest}"

    assert VersionUtils.majorMinorVersion(version) == (major, minor)


@pytest.mark.parametrize("text", ["", "3", "three.five", "3.x"])
def test_what_is_no_version_is_refused(text: str) -> None:
    """By name."""
    with pytest.raises(ValueError, match="as a version"):
        VersionUtils.majorMinorVersion(text)


@pytest.mark.parametrize(
    ("text", "mib"),
    [("512m", 512), ("2g", 2048), ("1T", 1 << 20), ("2048k", 2), ("1.5g", 1536)],
)
def test_memory_is_told_in_mib(text: str, mib: int) -> None:
    """With a unit in any case."""
    assert _parse_memory(text) == mib


@pytest.mark.parametrize("text", ["", "12", "12q", "m"])
def test_memory_without_a_unit_is_refused(text: str) -> None:
    """Never guessed."""
    with pytest.raises(ValueError):
        _parse_memory(text)

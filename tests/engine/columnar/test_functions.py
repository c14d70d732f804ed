"""Functions: the tree that is found is that of the code that runs."""

import ast
import linecache
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from millstream.engine.base import frames
from millstream.engine.columnar import functions
from millstream.engine.columnar.values import Refusal

LIMIT = 3


def shipped(function: Any) -> FunctionType:
    """Return a function as a task gets it."""
    copy = frames.loads_function(frames.dumps_function(function))
    assert isinstance(copy, FunctionType)
    return copy


def text_of(function: Any) -> str:
    """Return the source of a function's tree, as Python would write it."""
    return ast.unparse(functions.tree_of(shipped(function)))


def test_two_lambdas_on_one_line_are_told_apart() -> None:
    """The code says which of them it is, not the line."""
    pair = (lambda x: x + 1, lambda x: x + 2)

    assert text_of(pair[0]) == "lambda x: x + 1"
    assert text_of(pair[1]) == "lambda x: x + 2"


def test_constants_of_other_types_are_told_apart() -> None:
    """1, 1.0 and True make different code."""
    three = (lambda x: x == 1, lambda x: x == 1.0, lambda x: x == True)  # noqa: E712

    assert [text_of(f)[-4:].strip() for f in three] == ["== 1", "1.0", "True"]


def test_closures_and_defs_are_found() -> None:
    """So are functions that close over variables, with defaults and docstrings."""

    def outer(n: int) -> Callable[[int], int]:
        def inner(x: int, y: int = 2) -> int:
            """Add."""
            z = x + n
            return z * y

        return inner

    assert text_of(outer(3)).endswith("return z * y")


class Greeter:
    """Has functions."""

    greet = staticmethod(lambda name: "hello " + name)

    def wave(self, times: int) -> int:
        """Wave."""
        return times + LIMIT


def test_methods_are_found() -> None:
    """Functions in a class have the same code as outside."""
    assert text_of(Greeter.greet) == "lambda name: 'hello ' + name"
    assert text_of(Greeter.wave).endswith("return times + LIMIT")


def made(text: str, shown: str | None = None) -> Any:
    """Return `f` of a module whose file reads `shown`, and was `text` when it ran."""
    name = f"<a module {hash((text, shown))}>"
    lines = (text if shown is None else shown).splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    scope: dict[str, Any] = {"__name__": "made"}
    exec(compile(text, name, "exec"), scope)
    return scope["f"]


def test_a_file_that_was_changed_is_noticed() -> None:
    """What the file reads now isn't what runs: no tree rather than a wrong one."""
    function = made("f = lambda x: x + 1\n", "f = lambda x: x + 2\n")

    with pytest.raises(Refusal, match="the lambda in line 1 isn't to be found"):
        functions.tree_of(function)


def test_a_file_that_was_changed_elsewhere_does_no_harm() -> None:
    """The function itself is the same."""
    function = made("f = lambda x: x + 1\ny = 1\n", "f = lambda x: x + 1\nz = 2\n")

    assert ast.unparse(functions.tree_of(function)) == "lambda x: x + 1"


def test_without_a_source_there_is_no_tree() -> None:
    """A function typed into a shell is one that stays on the row path."""
    scope: dict[str, Any] = {}
    exec("f = lambda x: x", scope)

    with pytest.raises(Refusal, match="isn't to be found"):
        functions.tree_of(scope["f"])


def test_a_traceback_of_a_shipped_function_names_its_file() -> None:
    """A function is pickled with the name of the file that it is from."""
    assert shipped(lambda x: x).__code__.co_filename == __file__


def test_names_of_modules_are_dependencies() -> None:
    """A name that a program may give another value is noted, and looked at again."""
    noted: list[functions.Dependency] = []
    namespace = {"__name__": __name__, "THRESHOLD": 1}
    function = FunctionType((lambda: THRESHOLD).__code__, namespace)  # type: ignore[name-defined]  # noqa: F821
    names = functions.Names(function, noted.append)

    assert names.look_up("THRESHOLD") == 1
    assert not noted, "its names are a copy, which nobody changes"

    own = functions.Names(lambda: LIMIT, noted.append)  # type: ignore[arg-type]

    assert own.look_up("LIMIT") == 3
    (dependency,) = noted
    assert dependency.is_as_it_was()
    assert not functions.Dependency({"LIMIT": 4}, "LIMIT", 3).is_as_it_was()


def test_an_unknown_name_is_refused() -> None:
    """It will raise NameError on the row path."""
    names = functions.Names(lambda: LIMIT, lambda _: None)  # type: ignore[arg-type]

    with pytest.raises(Refusal, match="nothing is called `nobody`"):
        names.look_up("nobody")

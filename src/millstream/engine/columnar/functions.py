"""Functions: the syntax tree of a user's function, proved to be what runs.

The text of a file may have changed since it was loaded, and two lambdas may stand on one
line. So each candidate at the function's first line is compiled again, and is taken only
if that gives the very same code.
"""

import ast
import builtins
import hashlib
import inspect
import linecache
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeAlias

from millstream.engine.columnar.values import Refusal

FunctionNode: TypeAlias = ast.Lambda | ast.FunctionDef

# Flags that change nothing here: of `from __future__ import ...`, and of being nested.
_WHEREABOUTS = 0xFFF_0000 | inspect.CO_NESTED


@dataclass(frozen=True, slots=True)
class Dependency:
    """A name of a module that was folded in, and what it stood for then."""

    names: Mapping[str, Any]
    name: str
    value: Any

    def is_as_it_was(self) -> bool:
        """Say whether the name still stands for the same object."""
        return self.names.get(self.name) is self.value


_MISSING = object()


def tree_of(function: FunctionType) -> FunctionNode:
    """Return the syntax tree of a function.

    Raises:
        Refusal: Its source isn't to be found.
    """
    node = _tree_of_code(function.__code__)
    if node is None:
        node = _find(function.__code__, function.__globals__)
    if node is None:
        msg = f"the source of {name_of(function)} isn't to be found"
        raise Refusal(msg)
    return node


_known: dict[CodeType, FunctionNode] = {}
_KNOWN_MAX = 4096


def _tree_of_code(code: CodeType) -> FunctionNode | None:
    return _known.get(code)


def _find(code: CodeType, module: dict[str, Any]) -> FunctionNode | None:
    text = "".join(linecache.getlines(code.co_filename, module))
    if not text:
        return None
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest()
    source = _read(text, digest)
    for node in source.functions.get(code.co_firstlineno, ()):
        if _is_same_code(_compiled(node, code, source.imports), code):
            if len(_known) >= _KNOWN_MAX:
                _known.clear()
            _known[code] = node
            return node
    return None


@dataclass(frozen=True, slots=True)
class _Source:
    """What is in a file: its functions, by the line that their code calls the first."""

    functions: dict[int, list[FunctionNode]]
    imports: list[str]
    """The names that are imported outside functions."""


# CPython 3.11 counts the depth of trees that are made in several threads as one, and then
# raises SystemError.
_parsing = threading.Lock()


@lru_cache(maxsize=64)
def _read(text: str, _digest: bytes) -> _Source:
    try:
        with _parsing:
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return _Source({}, [])
    found: dict[int, list[FunctionNode]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda | ast.FunctionDef):
            line = node.lineno
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                line = node.decorator_list[0].lineno
            found.setdefault(line, []).append(node)
    return _Source(found, sorted(set(_imported(tree))))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for each in node.names:
                yield (each.asname or each.name).split(".")[0]
        elif not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr
        ):
            yield from _imported(node)


def _compiled(
    node: FunctionNode, code: CodeType, imports: list[str]
) -> CodeType | None:
    """Compile a function alone, inside one that has the variables it closes over.

    Python compiles a call of `module.function()` in another way than one of a method, and
    knows which it is by the file's imports.
    """
    with _parsing:
        around = ast.parse(f"def around({', '.join(code.co_freevars)}): pass")
    outer = around.body[0]
    assert isinstance(outer, ast.FunctionDef), "it was parsed as one"
    if isinstance(node, ast.Lambda):
        outer.body = [ast.copy_location(ast.Return(node), node)]
    else:
        plain = copy(node)  # Not deep: only what the copy itself refers to is changed.
        plain.decorator_list = []
        outer.body = [plain]
    around.body[:0] = [ast.Import([ast.alias(name)]) for name in imports if name != "*"]
    ast.fix_missing_locations(around)
    try:
        with _parsing:
            module = compile(around, code.co_filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return None
    for inner in _codes(module):
        if inner.co_name == "around":
            return next(
                (each for each in _codes(inner) if each.co_name == code.co_name), None
            )
    return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (each for each in code.co_consts if isinstance(each, CodeType))


def _is_same_code(made: CodeType | None, code: CodeType) -> bool:
    return (
        made is not None
        and made.co_code == code.co_code
        and made.co_names == code.co_names
        and made.co_varnames == code.co_varnames
        and made.co_freevars == code.co_freevars
        and made.co_cellvars == code.co_cellvars
        and made.co_argcount == code.co_argcount
        and made.co_kwonlyargcount == code.co_kwonlyargcount
        and made.co_posonlyargcount == code.co_posonlyargcount
        and made.co_flags & ~_WHEREABOUTS == code.co_flags & ~_WHEREABOUTS
        and len(made.co_consts) == len(code.co_consts)
        and all(map(_is_same_constant, made.co_consts, code.co_consts))
    )


def _is_same_constant(made: Any, constant: Any) -> bool:
    if isinstance(made, CodeType) and isinstance(constant, CodeType):
        return _is_same_code(made, constant)
    if type(made) is not type(constant):
        return False
    if isinstance(made, tuple):
        return len(made) == len(constant) and all(
            map(_is_same_constant, made, constant)
        )
    if isinstance(made, frozenset):
        return sorted(map(repr, made)) == sorted(map(repr, constant))
    return bool(made == constant) and repr(made) == repr(constant)


def name_of(function: Any) -> str:
    """Return what a user calls a function."""
    if isinstance(function, FunctionType):
        if function.__name__ == "<lambda>":
            return f"the lambda in line {function.__code__.co_firstlineno}"
        return f"`{function.__name__}`"
    return f"`{getattr(function, '__qualname__', type(function).__name__)}`"


def note_home(function: FunctionType, on_fold: Callable[[Dependency], None]) -> None:
    """Note where a function that travels by its name is found.

    Another one may have that name by the time of a later job.
    """
    owner: Any = sys.modules.get(function.__module__ or "")
    *path, name = function.__qualname__.split(".")
    for part in path:
        owner = getattr(owner, part, None)
    names = getattr(owner, "__dict__", {})
    if names.get(name) is function:
        on_fold(Dependency(names, name, function))


@dataclass(frozen=True, slots=True)
class Names:
    """What the free and the global names of one function stand for."""

    function: FunctionType
    on_fold: Callable[[Dependency], None]

    def look_up(self, name: str) -> Any:
        """Return the object a name stands for that is no local variable.

        Raises:
            Refusal: Nothing has that name.
        """
        code = self.function.__code__
        if name in code.co_freevars:
            cell = (self.function.__closure__ or ())[code.co_freevars.index(name)]
            try:
                return cell.cell_contents
            except ValueError:
                msg = f"`{name}` has no value yet"
                raise Refusal(msg) from None
        module = self.function.__globals__
        value = module.get(name, _MISSING)
        if value is not _MISSING:
            self._note(module, name, value)
            return value
        value = getattr(builtins, name, _MISSING)
        if value is _MISSING:
            msg = f"nothing is called `{name}`"
            raise Refusal(msg)
        return value

    def attribute(self, module: Any, name: str) -> Any:
        """Return an attribute of a module.

        Raises:
            Refusal: It has no such attribute.
        """
        names = vars(module)
        if name not in names:
            msg = f"`{module.__name__}` has no `{name}`"
            raise Refusal(msg)
        self.on_fold(Dependency(names, name, names[name]))
        return names[name]

    def _note(self, module: dict[str, Any], name: str, value: Any) -> None:
        # A function that was pickled by value brings a copy of the names it uses; one
        # that was imported looks into its module, where the program may change them.
        owner = sys.modules.get(self.function.__module__ or "")
        if owner is not None and vars(owner) is module:
            self.on_fold(Dependency(module, name, value))

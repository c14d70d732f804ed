"""Program text: which functions of a program have changed, told without running it.

A program is the file that its `setup` function is in, and the modules beside that file
which it imports, directly or not. What is installed elsewhere isn't part of it.
"""

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_STATEMENTS = "<module>"
_SETUP = "<setup>"
_PACKAGES = frozenset({"site-packages", "dist-packages"})
_OURS = Path(__file__).parent.parent
# Positions and load/store say nothing that the rest doesn't; kinds differ by version.
_NO_MEANING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def file_of(setup: Callable[..., Any]) -> str:
    """Return the file a function is written in, or what stands for it."""
    code = getattr(_innermost(setup), "__code__", None)
    return "<unknown>" if code is None else str(code.co_filename)


def program_of(setup: Callable[..., Any]) -> str:
    """Return the file that is run so that `setup` is called, as far as one can tell."""
    file = file_of(setup)
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    is_below = main and Path(main).absolute().parent in Path(file).absolute().parents
    return str(main) if is_below else file


def _innermost(setup: Any) -> Any:
    """Return the function behind decorators, partial applications and callable objects."""
    while True:
        if isinstance(setup, functools.partial):
            setup = setup.func
        elif hasattr(setup, "__wrapped__"):
            setup = inspect.unwrap(setup)
        elif not hasattr(setup, "__code__") and hasattr(
            type(setup).__call__, "__code__"
        ):
            setup = type(setup).__call__
        else:
            return setup


def digests(setup: Callable[..., Any]) -> dict[str, str]:
    """Return a digest of each function and method of the program of `setup`, by its name.

    Comments, docstrings and positions don't count. Statements outside of functions are
    together called `<module>`; `<setup>` says which function it is. Names from other
    modules than that of `setup` begin with the module's. In a notebook, where there is no
    file, the program is `setup` and the functions it calls. A function typed into a shell
    leaves no text: nothing is told.
    """
    file, function = Path(file_of(setup)), _innermost(setup)
    found: dict[str, str] = {}
    if file.is_file():
        for prefix, module in _program(file.absolute()):
            named = module.digests.items()
            found.update((f"{prefix}{name}", digest) for name, digest in named)
    else:
        found = _without_a_file(function)
    return {_SETUP: function.__qualname__, **found} if found else {}


class _Import(NamedTuple):
    """What an import statement names."""

    level: int
    """How many dots there are; none in `import name`."""
    module: str
    names: tuple[str, ...]
    """What is taken from the module."""


@dataclass(frozen=True, slots=True)
class _Module:
    """What the text of a module says."""

    digests: Mapping[str, str]
    imports: tuple[_Import, ...]


@functools.lru_cache(maxsize=256)
def _module_of(text: bytes) -> _Module:
    """Return what a text says; it takes long, and a program is restored again and again.

    Raises:
        RecursionError: It is too deep.
        SyntaxError: It isn't Python.
        ValueError: It isn't text.
    """
    tree = ast.parse(text)
    return _Module(_of_module(tree), tuple(_imports(tree)))


def _of_module(tree: ast.Module) -> dict[str, str]:
    try:
        parts: dict[str, list[ast.AST]] = {}
        rest: list[ast.AST] = []
        for name, node in _definitions(tree.body, "", rest):
            # One name may have several: a property's getter and setter.
            parts.setdefault(name, []).append(node)
        parts[_STATEMENTS] = rest
        return {name: _digest(nodes) for name, nodes in parts.items()}
    except RecursionError:
        return {}  # Too deep for this Python: nobody can tell.


def _definitions(
    body: Iterable[ast.stmt], prefix: str, rest: list[ast.AST]
) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{prefix}{node.name}", node
            case ast.ClassDef():
                inner: list[ast.AST] = [
                    *node.bases,
                    *node.keywords,
                    *node.decorator_list,
                ]
                yield from _definitions(node.body, f"{prefix}{node.name}.", inner)
                for each in inner:
                    yield f"{prefix}{node.name}", each
            case _:
                rest.append(node)


def _digest(nodes: Iterable[ast.AST]) -> str:
    text: list[str] = []
    for node in nodes:
        if not _is_docstring(node):
            _write(node, text)
    return hashlib.sha256("".join(text).encode("utf-8", "surrogatepass")).hexdigest()[
        :16
    ]


def _write(value: Any, text: list[str]) -> None:
    """Append what `value` means; unlike `ast.dump`, alike in all versions of Python."""
    if isinstance(value, ast.AST):
        text.append(f"{type(value).__name__}(")
        for name, child in ast.iter_fields(value):
            if name not in _NO_MEANING and child is not None and child != []:
                text.append(f"{name}=")
                _write(child, text)
        text.append(")")
    elif isinstance(value, list):
        text.append("[")
        for each in value:
            if not _is_docstring(each):
                _write(each, text)
        text.append("]")
    else:
        text.append(f"{value!r},")


def _is_docstring(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


# Which modules belong to the program.


def _program(file: Path) -> Iterator[tuple[str, _Module]]:
    """Yield the program's modules as (prefix of their names, module), `file` first."""
    root = _root_of(file)
    seen = {file}
    waiting = [file]
    while waiting:
        place = waiting.pop(0)
        try:
            module = _module_of(place.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        yield ("" if place == file else f"{_module_name(place, root)}."), module
        for each in _imported(module.imports, place, root):
            if each not in seen and _belongs(each, file, root):
                seen.add(each)
                waiting.append(each)


def _root_of(file: Path) -> Path:
    """Return the directory from which a program's modules are imported."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is not None and Path(main).absolute().parent in file.parents:
        return Path(main).absolute().parent
    root = file.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    return root


def _belongs(module: Path, file: Path, root: Path) -> bool:
    if _OURS in module.parents:
        return False
    inside = module.relative_to(root).parts
    if root.name in _PACKAGES:  # The program is installed: its neighbours aren't it.
        return inside[0] == file.relative_to(root).parts[0]
    return not _PACKAGES & set(inside)


def _module_name(module: Path, root: Path) -> str:
    parts = module.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module) -> Iterator[_Import]:
    """Yield what a module's imports name, wherever they stand."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    yield _Import(0, alias.name, ())
            case ast.ImportFrom(name, names, level):
                taken = tuple(alias.name for alias in names)
                yield _Import(level or 0, name or "", taken)
            case _:
                pass


def _imported(imports: Iterable[_Import], module: Path, root: Path) -> Iterator[Path]:
    """Yield the files below `root` that a module's imports name."""
    for level, name, names in imports:
        base = module.parents[level - 1] if level else root
        if root not in (base, *base.parents):
            continue
        yield from _files_of(base, name)
        for each in names:
            yield from _files_of(base, f"{name}.{each}")


def _files_of(base: Path, name: str) -> Iterator[Path]:
    place = base
    for part in filter(None, name.split(".")):
        place = place / part
        for file in (place / "__init__.py", place.with_name(f"{part}.py")):
            if file.is_file():
                yield file


def _without_a_file(setup: Any) -> dict[str, str]:
    """Return digests of a notebook's functions: `setup` and what it names, by name."""
    known = getattr(setup, "__globals__", {})
    found: dict[str, str] = {}
    waiting = [setup]
    while waiting:
        each = waiting.pop()
        name = getattr(each, "__qualname__", "")
        if name in found:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        except (OSError, TypeError, SyntaxError):
            continue  # It has no text, or only a part of a line.
        found[name] = _digest([tree])
        named = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        for value in map(known.get, sorted(named)):
            is_of_program = getattr(value, "__module__", None) == setup.__module__
            if is_of_program and (inspect.isfunction(value) or inspect.isclass(value)):
                waiting.append(value)
    return found


# Telling.


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs, in words; nothing where one of them isn't known.

    >>> differences({"f": "1", "g": "2"}, {"f": "3", "h": "4"})
    ['`f` changed', '`h` is new', '`g` is gone']
    >>> differences({"<module>": "1"}, {"<module>": "2"})
    ['statements outside functions changed']
    """
    if not before or not now:
        return []
    changed = [n for n in now if n in before and now[n] != before[n]]
    told = [
        f"{_words(n)} changed" for n in sorted(changed, key=lambda n: _STATEMENTS in n)
    ]
    told += [f"{_words(n)} is new" for n in now if n not in before]
    return told + [f"{_words(n)} is gone" for n in before if n not in now]


def _words(name: str) -> str:
    if name == _SETUP:
        return "the setup function"
    module, is_statements, _ = name.partition(_STATEMENTS)
    if not is_statements:
        return f"`{name}`"
    where = f" of `{module.removesuffix('.')}`" if module else ""
    return f"statements outside functions{where}"

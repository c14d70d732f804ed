"""Program text: which functions of a program have changed, told without running it."""

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def file_of(setup: Callable[..., Any]) -> str:
    """Return the file a function is written in, or what stands for it."""
    code = getattr(inspect.unwrap(setup), "__code__", None)
    return "<unknown>" if code is None else str(code.co_filename)


def digests(setup: Callable[..., Any]) -> dict[str, str]:
    """Return a digest of each function and class in the file of `setup`, by its name.

    Comments, blank lines and positions don't count. Statements outside of functions are
    together called `<module>`. Without a file there is nothing to tell.
    """
    try:
        tree = ast.parse(Path(file_of(setup)).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    rest: list[ast.stmt] = []
    for name, node in _definitions(tree.body, "", rest):
        found[name] = _digest(node)
    found["<module>"] = _digest(ast.Module(rest, []))
    return found


def _definitions(
    body: list[ast.stmt], prefix: str, rest: list[ast.stmt]
) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{prefix}{node.name}", node
            case ast.ClassDef():
                inner: list[ast.stmt] = []
                yield from _definitions(node.body, f"{prefix}{node.name}.", inner)
                yield f"{prefix}{node.name}", ast.Module(inner, [])
            case _:
                rest.append(node)


def _digest(node: ast.AST) -> str:
    return hashlib.sha256(ast.dump(node).encode()).hexdigest()[:16]


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs, in words; nothing where one of them isn't known.

    >>> differences({"f": "1", "g": "2"}, {"f": "3", "h": "4"})
    ['`f` changed', '`h` is new', '`g` is gone']
    """
    if not before or not now:
        return []
    changed = [f"`{n}` changed" for n in now if n in before and now[n] != before[n]]
    new = [f"`{name}` is new" for name in now if name not in before]
    gone = [f"`{name}` is gone" for name in before if name not in now]
    return [*changed, *new, *gone]

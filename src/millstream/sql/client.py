"""Client: Spark Connect's Python client, loaded as a package of another name.

The library `pyspark-client` is installed as `pyspark`, the name that this project answers
with its own modules, and that a full PySpark has, too. So its files are loaded a second
time, as `spark_client`, with every `pyspark` in their import statements renamed: whoever
imports `pyspark`, before or after, gets what it would get without us, and what is changed
of the client here is changed for nobody else. The process that runs queries knows the
same modules by their own names (`engine_main`).
"""

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from millstream import errors
from millstream.engine.base.errors import MissingDependencyError
from millstream.sql.row import Row, _make_row

NAME: Final = "spark_client"
_ITS_NAME = "pyspark"
_HINT = "pip install 'millstream[sql]'"
_SHIMS = Path(__file__).parents[1] / "shims"
_ERRORS = f"{NAME}.errors.exceptions.base"
_COMPILED = f".{NAME}-1.pyc"
"""Counts up with what is changed of the files."""


def module(path: str) -> ModuleType:
    """Return a module of the client, by its path below `pyspark`, such as "sql.types".

    Raises:
        MissingDependencyError: The client, or something that it needs, isn't installed.
    """
    install()
    try:
        return import_module(f"{NAME}.{path}")
    except ImportError as error:
        name = (error.name or NAME).replace(NAME, _ITS_NAME)
        msg = f"millstream.sql needs the package '{name}': {error}"
        raise MissingDependencyError(msg, hint=_HINT) from error


def install() -> None:
    """Have imports of `spark_client` find the client's files."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def root() -> Path:
    """Return the client's directory.

    Raises:
        MissingDependencyError: It isn't installed.
    """
    for entry in without_shims(sys.path):
        directory = Path(entry or ".") / _ITS_NAME
        if (directory / "sql" / "connect" / "session.py").is_file():
            return directory
    msg = "millstream.sql needs the package 'pyspark-client'"
    raise MissingDependencyError(msg, hint=_HINT)


def without_shims(paths: Sequence[str]) -> list[str]:
    """Return places of modules without the one that makes `import pyspark` ours."""
    return [each for each in paths if Path(each).resolve() != _SHIMS]


class _Finder(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        del target
        if fullname == NAME:
            directory = root()
            file = str(directory / "__init__.py")
            return spec_from_file_location(
                fullname,
                file,
                loader=_Renaming(fullname, file),
                submodule_search_locations=[str(directory)],
            )
        if not fullname.startswith(f"{NAME}."):
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is None or not isinstance(found.loader, SourceFileLoader):
            return found
        found.loader = _Renaming(fullname, found.loader.path)
        return found


class _Renaming(SourceFileLoader):
    """Loads a file of the client with its imports renamed; keeps the outcome as Python does.

    What is compiled lies beside what Python would keep, where it can be written.
    """

    def source_to_code(  # type: ignore[override]
        self, data: Any, path: Any, *, _optimization: int = -1
    ) -> Any:
        tree = _Renamer().visit(ast.parse(data))
        if self.name == _ERRORS:
            _catch_by_ours(tree)
        ast.fix_missing_locations(tree)
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimization)

    def get_data(self, path: Any) -> bytes:
        return super().get_data(_kept_apart(path))

    def set_data(self, path: Any, data: Any, *, _mode: int = 0o666) -> None:
        super().set_data(_kept_apart(path), data, _mode=_mode)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        change = _CHANGES.get(module.__name__)
        if change is not None:
            change(module)


def _kept_apart(path: Any) -> Any:
    text = str(path)
    return text.removesuffix(".pyc") + _COMPILED if text.endswith(".pyc") else path


class _Renamer(ast.NodeTransformer):
    """Puts `spark_client` where a file of the client says `pyspark`."""

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for each in node.names:
            each.name = _renamed(each.name)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.module is not None and not node.level:
            node.module = _renamed(node.module)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = NAME if node.id == _ITS_NAME else node.id
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        # Where a file beside it is asked for by the package's name.
        if node.value == f"{_ITS_NAME}.errors":
            node.value = f"{NAME}.errors"
        return node


def _renamed(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{NAME}{dot}{rest}" if first == _ITS_NAME else name


def _catch_by_ours(tree: ast.Module) -> None:
    """Have what the client raises be caught by our errors of the same names."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not hasattr(errors, node.name):
            continue
        # Behind the root of its own, which has what its programs ask of an error.
        is_root = ast.unparse(node.bases[0]) == "Exception"
        ours = ast.parse(f"_ours.{node.name}", mode="eval").body
        node.bases.insert(0 if is_root else 1, ours)
    # After what must be first, imports from __future__.
    tree.body[1:1] = ast.parse("import millstream.errors as _ours").body


def _has_no_context(util: Any) -> None:
    # Of a full PySpark only the client is wanted: what is for a JVM isn't loaded.
    util._is_remote_only = True


def _has_no_hint(base: Any) -> None:
    base.PySparkException.hint = None


def _rows_are_ours(types: Any) -> None:
    # What a query gives and what a program makes are of one class.
    types.Row = Row
    types._create_row = _make_row


_CHANGES = {
    f"{NAME}.util": _has_no_context,
    f"{NAME}.sql.types": _rows_are_ours,
    _ERRORS: _has_no_hint,
}
_finder = _Finder()

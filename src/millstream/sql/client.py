"""Client: Spark Connect's Python client, loaded as a package of another name.

The library `pyspark-client` is installed as `pyspark`, the name that this project answers
with its own modules, and that a full PySpark has, too. So its files are loaded a second
time, as `spark_client`, with every `pyspark` in their import statements renamed: whoever
imports `pyspark`, before or after, gets what it would get without us, and what is changed
of the client here is changed for nobody else. The process that runs queries knows the
same modules by their own names (`engine_main`).
"""

import ast
import io
import pickle  # noqa: TID251  Its errors.
import re
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
from millstream.engine.base.errors import (
    MillstreamError,
    MissingDependencyError,
    NotSerializableError,
)
from millstream.sql import repairs
from millstream.sql.row import Row, _make_row

NAME: Final = "spark_client"
_ITS_NAME = "pyspark"
_FIT = (4, 2)
"""The version of the client; the engine asks for it, too."""
_HINT = "pip install 'millstream[sql]'"
_SHIMS = Path(__file__).parents[1] / "shims"
_ERRORS = f"{NAME}.errors.exceptions.base"
_COMPILED = f".{NAME}-1.pyc"
"""Counts up with what is changed of the files."""
_STAYING: Final = {
    ("millstream.broadcast", "Broadcast"): (
        "take its value before: `known = broadcast.value` outside of the function"
    ),
    ("millstream.accumulators", "Accumulator"): (
        "count in the query, or add in foreach or foreachPartition, which are tasks"
    ),
}
"""What belongs to tasks, and advice for who uses it in a function of a query."""


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
    """Return the client's directory: the first one on the path of the right version.

    Raises:
        MissingDependencyError: It isn't installed, or only in other versions.
    """
    unfit = ""
    for entry in without_shims(sys.path):
        directory = Path(entry or ".") / _ITS_NAME
        if not (directory / "sql" / "connect" / "session.py").is_file():
            continue
        version = _version(directory)
        if version == _FIT:
            return directory
        found = ".".join(map(str, version))
        unfit = unfit or f" 4.2: {directory} is {found}"
    msg = f"millstream.sql needs the package 'pyspark-client'{unfit}"
    raise MissingDependencyError(msg, hint=_HINT)


def _version(directory: Path) -> tuple[int, ...]:
    text = (directory / "version.py").read_text(encoding="utf-8")
    found = re.search(r"__version__[^=]*=\s*['\"](\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0,)


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


def _pickles_for_the_engine(serializers: Any) -> None:
    cloudpickle = serializers.cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc,name-defined]
        def reducer_override(self, obj: Any) -> Any:
            advice = _STAYING.get((type(obj).__module__, type(obj).__name__))
            if advice is not None:
                msg = (
                    f"{type(obj).__name__} can't be used by a function of a query, which "
                    "runs in the SQL engine's process"
                )
                raise NotSerializableError(msg, hint=advice)
            return super().reducer_override(obj)

    def dumps(_self: Any, obj: Any) -> bytes:
        file = io.BytesIO()
        try:
            Pickler(file).dump(obj)
        except (MillstreamError, pickle.PickleError):
            raise
        except Exception as error:
            msg = f"a function of a query can't be pickled: {error}"
            raise pickle.PicklingError(msg) from error
        return file.getvalue()

    serializers.CloudPickleSerializer.dumps = dumps


def _has_no_hint(base: Any) -> None:
    base.PySparkException.hint = None


def _asks_no_more(core: Any) -> None:
    # For an error, whether to show traces of a JVM, which the engine hasn't.
    core.SparkConnectClient._display_server_stack_trace = lambda _: False


def _finds_our_session(session: Any) -> None:
    # Where the client itself looks for one: there is one, of the live context.
    def active_if_any() -> Any:
        from millstream.sql.session import SparkSession  # noqa: PLC0415  It uses us.

        face = SparkSession.getActiveSession()
        return None if face is None else face._connected

    def active() -> Any:
        found = active_if_any()
        if found is None:
            # The client itself catches it where it can do without.
            raise session.PySparkRuntimeError(
                errorClass="NO_ACTIVE_OR_DEFAULT_SESSION", messageParameters={}
            )
        return found

    session.SparkSession.active = staticmethod(active)
    session.SparkSession.getActiveSession = staticmethod(active_if_any)
    session.SparkSession._get_default_session = staticmethod(active_if_any)


def _runs_no_doctests(utils: Any) -> None:
    # It takes a program that is no file, as of `python -c`, for its own tests.
    def check_dependencies() -> None:
        for name, check in vars(utils).items():
            if name.startswith("require_minimum_"):
                check()

    utils.check_dependencies = check_dependencies


def _rows_are_ours(types: Any) -> None:
    # What a query gives and what a program makes are of one class.
    types.Row = Row
    types._create_row = _make_row


_CHANGES = {
    f"{NAME}.util": _has_no_context,
    f"{NAME}.serializers": _pickles_for_the_engine,
    f"{NAME}.sql.connect.client.core": _asks_no_more,
    f"{NAME}.sql.connect.session": _finds_our_session,
    f"{NAME}.sql.connect.utils": _runs_no_doctests,
    f"{NAME}.sql.types": _rows_are_ours,
    f"{NAME}.sql.connect.expressions": repairs.install_in_expressions,
    f"{NAME}.sql.connect.functions.builtin": repairs.install_in_functions,
    _ERRORS: _has_no_hint,
}
_finder = _Finder()
find_spec = _finder.find_spec

"""Compat: `import pyspark` answered with Millstream.

A finder in front of all others gives Millstream's own modules under PySpark's names: the
same module objects, so classes are the same whichever way they were imported, and pickle
under Millstream's names.
"""

import os  # noqa: TID251  Environment variables only.
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

# PySpark's module paths that are elsewhere here, by their path below `pyspark`.
_MOVED = {
    "": "millstream",
    "core": "millstream",
    "core.broadcast": "millstream.broadcast",
    "core.conf": "millstream.conf",
    "core.context": "millstream.context",
    "core.files": "millstream.files",
    "core.rdd": "millstream.rdd",
    "core.status": "millstream.status",
    "errors.exceptions": "millstream.errors",
    "errors.exceptions.base": "millstream.errors",
    "errors.exceptions.captured": "millstream.errors",
    "sql.context": "millstream.sql.session",
    "sql.utils": "millstream.errors",
}

_PLAIN = (
    "accumulators",
    "broadcast",
    "conf",
    "context",
    "errors",
    "files",
    "profiler",
    "rdd",
    "resultiterable",
    "serializers",
    "sql",
    "sql.catalog",
    "sql.column",
    "sql.dataframe",
    "sql.datasource",
    "sql.functions",
    "sql.group",
    "sql.merge",
    "sql.observation",
    "sql.readwriter",
    "sql.session",
    "sql.tvf",
    "sql.types",
    "sql.udf",
    "sql.udtf",
    "sql.window",
    "statcounter",
    "status",
    "storagelevel",
    "streaming",
    "streaming.actor",
    "streaming.context",
    "streaming.dstream",
    "streaming.flume",
    "streaming.kafka",
    "streaming.kafka010",
    "streaming.kinesis",
    "streaming.listener",
    "streaming.mqtt",
    "streaming.receiver",
    "streaming.twitter",
    "streaming.util",
    "taskcontext",
    "util",
    "version",
)

_PACKAGES = frozenset(
    {
        "py4j",
        "pyspark",
        "pyspark.core",
        "pyspark.errors",
        "pyspark.errors.exceptions",
        "pyspark.sql",
        "pyspark.sql.functions",
        "pyspark.streaming",
    }
)

# Below these, what isn't ours is the client's.
_OF_CLIENT = ("sql.", "errors.exceptions.")


def target_of(name: str) -> str | None:
    """Return the module that stands for a PySpark module path, or None.

    >>> target_of("pyspark.core.rdd"), target_of("numpy")
    ('millstream.rdd', None)
    """
    if name in ("py4j", "py4j.protocol"):
        return "millstream.py4j_names"
    if name == "findspark":
        return "millstream.findspark_names"
    package, _, path = name.partition(".")
    if package != "pyspark":
        return None
    if path in _MOVED:
        return _MOVED[path]
    if path in _PLAIN:
        return f"millstream.{path}"
    return f"spark_client.{path}" if path.startswith(_OF_CLIENT) else None


class _Alias(Loader):
    """Hands out a module that exists under another name."""

    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        module = import_module(self._target)
        self._kept = module.__spec__, module.__dict__.get("__loader__")
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec on the module: undo that.
        module.__spec__, module.__loader__ = self._kept[0], self._kept[1]
        if module.__spec__ is not None:
            module.__package__ = module.__spec__.parent


class PySparkFinder(MetaPathFinder):
    """Answers imports of `pyspark`, `py4j` and `findspark`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of an alias; refuse PySpark modules that aren't here.

        Raises:
            ModuleNotFoundError: The module is PySpark's and not part of Millstream.
        """
        del path, target
        found = target_of(fullname)
        if found is not None:
            is_client = found.startswith("spark_client.")
            if is_client:
                from millstream.sql import client  # noqa: PLC0415  An extra.

                client.install()
            is_package = fullname in _PACKAGES or is_client
            return ModuleSpec(fullname, _Alias(found), is_package=is_package)
        package = fullname.partition(".")[0]
        if package not in ("pyspark", "py4j"):
            return None
        msg = f"No module named '{fullname}': Millstream has no such module"
        raise ModuleNotFoundError(msg, name=fullname)


_finder = PySparkFinder()
_SHIMS = str(Path(__file__).parent / "shims")


def install() -> None:
    """Answer PySpark's imports in this process from now on."""
    if _finder not in sys.meta_path:
        _drop_modules()
        sys.meta_path.insert(0, _finder)
        # Worker processes look for modules where this one does.
        sys.path.insert(1, _SHIMS)


def install_for_children() -> None:
    """Make child processes find Millstream when they import PySpark.

    The shims come first on their import path; each installs the finder and steps aside.
    """
    paths = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path
    ]
    if _SHIMS not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([_SHIMS, *paths])


def uninstall() -> None:
    """Leave PySpark's imports to others again."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
        _drop_modules()
        if _SHIMS in sys.path:
            sys.path.remove(_SHIMS)


def _drop_modules() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in ("pyspark", "py4j", "findspark"):
            del sys.modules[name]

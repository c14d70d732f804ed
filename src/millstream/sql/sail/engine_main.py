"""Engine main: the process that runs queries; it ends with the program that started it.

Sail serves Spark Connect on a port of this machine. It runs Python functions of queries in
this very process, by the modules of `pyspark`, which are the client's own here.
"""

import json
import os  # noqa: TID251  Ends the process, and what its libraries read.
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Final

from millstream.sql import client

PORT: Final = "millstream-sql-port="
"""Begins the line that tells the driver where it is asked."""
HAS_PATHS: Final = "millstream-sql-has-paths"
"""The line that tells the driver that modules are found where it has said last."""


def main() -> None:
    """Serve until standard input ends; each line there says where modules are now."""
    own = list(sys.path)
    _find_modules(own, sys.stdin.readline())
    os.environ.setdefault("RUST_LOG", "error")
    # The client takes a program that is no file for its own tests, and ends it.
    sys.modules["__main__"].__file__ = __file__
    sys.meta_path.insert(0, _OneNameForBoth())
    from pysail.spark import SparkConnectServer  # noqa: PLC0415  An extra.

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    sys.stdout.write(f"{PORT}{port}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        _find_modules(own, line)
        print(HAS_PATHS, flush=True)  # noqa: T201  The driver reads it.
    # Whatever runs here runs for nobody.
    os._exit(0)


def _find_modules(own: list[str], line: str) -> None:
    # Behind our own: a driver's modules may be called like what is needed here.
    sys.path[:] = client.without_shims([*own, *json.loads(line)])


class _OneNameForBoth(MetaPathFinder):
    """Finds the client that the driver has, by the name that its modules have there, too."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        del path, target
        if fullname == "pyspark":
            directory = client.root()
            return spec_from_file_location(
                fullname,
                directory / "__init__.py",
                submodule_search_locations=[str(directory)],
            )
        first, dot, rest = fullname.partition(".")
        if first != client.NAME:
            return None
        return ModuleSpec(fullname, _Same(f"pyspark{dot}{rest}"), is_package=True)


class _Same(Loader):
    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        module = import_module(self._name)
        self._spec = module.__spec__, module.__loader__, module.__package__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the other name's spec on it.
        module.__spec__, module.__loader__, module.__package__ = self._spec

"""Engine main: the process that runs queries; it ends with the program that started it.

Sail serves Spark Connect on a port of this machine. It runs Python functions of queries in
this very process, by the modules of `pyspark`, which are the client's own here.
"""

import json
import os  # noqa: TID251  Ends the process, and what its libraries read.
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from millstream.sql import client


def main() -> None:
    """Serve until standard input ends; the first line there says where modules are."""
    given = json.loads(sys.stdin.readline())
    # Behind our own: a driver's modules may be called like what is needed here.
    sys.path[:] = client.without_shims([*sys.path, *given["paths"]])
    os.environ.setdefault("RUST_LOG", "error")
    sys.meta_path.insert(0, _OneNameForBoth())
    from pysail.spark import SparkConnectServer  # noqa: PLC0415  An extra.

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_driver, daemon=True).start()
    threading.Event().wait()


def _end_with_driver() -> None:
    sys.stdin.read()
    # Whatever runs here runs for nobody.
    os._exit(0)


class _OneNameForBoth(MetaPathFinder):
    """Finds the client's modules by the name that they have in the driver."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        del path, target
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

"""Types: PySpark's module of that name, which is the client's; `Row` alone without it."""

import sys
from typing import TYPE_CHECKING

from millstream.engine.base.errors import MissingDependencyError
from millstream.sql import client
from millstream.sql.row import Row

if TYPE_CHECKING:
    from pyspark.sql.types import *  # type: ignore[assignment]  # noqa: F403

__all__ = ["Row"]

try:
    sys.modules[__name__] = client.module("sql.types")
except MissingDependencyError as _error:
    _missing = _error

    def __getattr__(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _missing

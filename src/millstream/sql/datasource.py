"""Data sources in Python: PySpark's module of that name, which is the client's."""

import sys
from typing import TYPE_CHECKING

from millstream.sql import client

if TYPE_CHECKING:
    from pyspark.sql.datasource import *  # noqa: F403

sys.modules[__name__] = client.module("sql.datasource")

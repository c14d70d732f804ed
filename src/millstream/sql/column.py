"""Columns: PySpark's module of that name, which is the client's."""

import sys

from millstream.sql import client

sys.modules[__name__] = client.module("sql.column")

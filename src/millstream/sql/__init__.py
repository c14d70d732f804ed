"""SQL: Row, and a SparkSession that says what is still to come."""

from millstream.sql.row import Row
from millstream.sql.session import HiveContext, SparkSession, SQLContext

__all__ = ["HiveContext", "Row", "SQLContext", "SparkSession"]

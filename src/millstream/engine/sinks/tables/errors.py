"""Table errors: what sinks raise when a table isn't reached, or refuses a batch."""

from millstream.engine.base.errors import SparkError


class TableError(SparkError, OSError):
    """A table can't be reached, or has refused what a sink asked of it."""

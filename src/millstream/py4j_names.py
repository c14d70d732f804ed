"""The names that PySpark programs import from `py4j.protocol` to catch errors."""

from millstream.engine.base.errors import EngineError as Py4JJavaError
from millstream.engine.base.errors import MillstreamError as Py4JError


class Py4JNetworkError(Py4JError):
    """Never raised here: there is no gateway to lose."""


__all__ = ["Py4JError", "Py4JJavaError", "Py4JNetworkError"]

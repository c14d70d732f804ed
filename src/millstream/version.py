"""Versions: of Spark's Python API that this package follows, and of the package."""

__version__: str = "4.3.0"

MILLSTREAM_VERSION = "0.1.0"

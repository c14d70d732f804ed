"""The version of Spark whose Python API this package follows."""

__version__: str = "4.3.0"

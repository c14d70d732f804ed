"""PySpark, as a child process of `millstream run` finds it: answered by Millstream."""

from importlib import import_module

from millstream import compat

compat.install()
import_module("pyspark")  # Takes this module's place.

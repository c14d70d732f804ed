"""Py4J, as a child process of `millstream run` finds it: answered by Millstream."""

from importlib import import_module

from millstream import compat

compat.install()
import_module("py4j")  # Takes this module's place.

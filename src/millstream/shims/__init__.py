"""Shims: what child processes of `millstream run` find first when they import PySpark."""

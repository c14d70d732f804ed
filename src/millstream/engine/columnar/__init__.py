"""Columns instead of rows, wherever a function's meaning allows it."""

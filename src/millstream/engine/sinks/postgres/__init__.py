"""Postgres: a table that is appended to, or upserted by key."""

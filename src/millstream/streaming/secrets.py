"""Secrets: passwords and tokens of sources and sinks, which nothing ever shows."""

from millstream.engine.base.secrets import MissingSecretError, Secret

__all__ = ["MissingSecretError", "Secret"]

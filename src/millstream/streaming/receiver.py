"""Receiver: the base class for receivers of your own; Spark's path to it."""

from millstream.engine.ingest.receiver import Receiver

__all__ = ["Receiver"]

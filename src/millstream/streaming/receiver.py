"""Receiver: the base class for receivers of your own; Spark's path to it."""

from millstream.engine.ingest.async_receiver import AsyncReceiver, Store
from millstream.engine.ingest.block_generator import (
    BlockGenerator,
    BlockGeneratorListener,
)
from millstream.engine.ingest.receiver import Receiver

__all__ = [
    "AsyncReceiver",
    "BlockGenerator",
    "BlockGeneratorListener",
    "Receiver",
    "Store",
]

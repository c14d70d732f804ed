"""Receiver: the base class for receivers of your own; Spark's path to it."""

from millstream.engine.ingest.async_receiver import AsyncReceiver, Store
from millstream.engine.ingest.block_generator import (
    BlockGenerator,
    BlockGeneratorListener,
)
from millstream.engine.ingest.lag import Lag, LagUnit, TellsLag
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)

__all__ = [
    "AsyncReceiver",
    "BlockGenerator",
    "BlockGeneratorListener",
    "Connection",
    "Delivery",
    "Lag",
    "LagUnit",
    "Receiver",
    "ReliableReceiver",
    "Store",
    "TellsLag",
]

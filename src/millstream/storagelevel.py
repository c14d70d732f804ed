"""StorageLevel: where kept partitions are; PySpark's path to it."""

from millstream.engine.base.levels import StorageLevel

__all__ = ["StorageLevel"]

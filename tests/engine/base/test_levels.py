"""Tests of engine/base/levels.py."""

import pickle

import pytest

from millstream.engine.base.levels import StorageLevel

_WORDS = {
    "NONE": "Serialized 1x Replicated",
    "DISK_ONLY": "Disk Serialized 1x Replicated",
    "DISK_ONLY_2": "Disk Serialized 2x Replicated",
    "DISK_ONLY_3": "Disk Serialized 3x Replicated",
    "MEMORY_ONLY": "Memory Serialized 1x Replicated",
    "MEMORY_ONLY_2": "Memory Serialized 2x Replicated",
    "MEMORY_AND_DISK": "Disk Memory Serialized 1x Replicated",
    "MEMORY_AND_DISK_2": "Disk Memory Serialized 2x Replicated",
    "OFF_HEAP": "Disk Memory OffHeap Serialized 1x Replicated",
    "MEMORY_AND_DISK_DESER": "Disk Memory Deserialized 1x Replicated",
}


@pytest.mark.parametrize(("name", "words"), _WORDS.items())
def test_a_level_says_where_and_how_often(name: str, words: str) -> None:
    """The flags in words, in Spark's order."""
    assert str(getattr(StorageLevel, name)) == words


def test_the_older_serialized_names_are_the_levels_of_today() -> None:
    """Python's levels were serialized all along."""
    assert StorageLevel.MEMORY_ONLY_SER is StorageLevel.MEMORY_ONLY
    assert StorageLevel.MEMORY_ONLY_SER_2 is StorageLevel.MEMORY_ONLY_2
    assert StorageLevel.MEMORY_AND_DISK_SER is StorageLevel.MEMORY_AND_DISK
    assert StorageLevel.MEMORY_AND_DISK_SER_2 is StorageLevel.MEMORY_AND_DISK_2


def test_levels_are_values() -> None:
    """Equal flags are one level, also as a key and after a journey."""
    level = StorageLevel(True, True, False, False, 2)

    assert repr(level) == "StorageLevel(True, True, False, False, 2)"
    assert level == StorageLevel.MEMORY_AND_DISK_2
    assert {level: 1}[StorageLevel.MEMORY_AND_DISK_2] == 1
    assert pickle.loads(pickle.dumps(level)) == level
    assert level != StorageLevel.MEMORY_AND_DISK


def test_one_replica_is_the_default() -> None:
    """The fifth flag may be left out."""
    assert StorageLevel(True, False, False, False) == StorageLevel.DISK_ONLY

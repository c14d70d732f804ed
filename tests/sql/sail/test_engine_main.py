"""Tests of sql/sail/engine_main.py: modules are there by the names that the driver has."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from millstream.sql import client
from millstream.sql.sail import engine_main


@pytest.fixture
def finder() -> Iterator[engine_main._OneNameForBoth]:
    """Have the finder of the engine's process for a while."""
    kept = {
        name: sys.modules.pop(name) for name in list(sys.modules) if _is_client(name)
    }
    finder = engine_main._OneNameForBoth()
    sys.meta_path.insert(0, finder)
    yield finder
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if _is_client(name)]:
        del sys.modules[name]
    sys.modules.update(kept)


def _is_client(name: str) -> bool:
    return name.partition(".")[0] in (client.NAME, "pyspark")


@pytest.mark.usefixtures("finder")
def test_both_names_are_one_module() -> None:
    """Classes are the same; the module keeps its own name."""
    types = import_module("spark_client.sql.types")
    assert types is import_module("pyspark.sql.types")
    assert types.__name__ == types.__spec__.name == "pyspark.sql.types"  # type: ignore[union-attr]
    assert Path(str(types.__file__)).is_relative_to(client.root())


def test_other_names_are_left_alone(finder: engine_main._OneNameForBoth) -> None:
    """The finder answers for the client only."""
    assert finder.find_spec("json") is None
    assert finder.find_spec("pyspark.sql") is None


def test_modules_of_the_driver_come_behind_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what makes `import pyspark` ours isn't among them."""
    shims = str(Path(client.__file__).parents[1] / "shims")
    monkeypatch.setattr(sys, "path", [])
    engine_main._find_modules(["/own"], f'["/of/driver", "{shims}"]')
    assert sys.path == ["/own", "/of/driver"]

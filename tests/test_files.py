"""Tests of files.py."""

from pathlib import Path

import pytest

from millstream.context import SparkContext
from millstream.engine.base.errors import PySparkRuntimeError
from millstream.files import SparkFiles


def test_a_file_is_found_by_its_name(sc: SparkContext, tmp_path: Path) -> None:
    """On the driver and in tasks."""
    (tmp_path / "words.txt").write_text("hello", encoding="utf-8")
    sc.addFile(str(tmp_path / "words.txt"))

    def read(_: int) -> str:
        return Path(SparkFiles.get("words.txt")).read_text(encoding="utf-8")

    assert read(0) == "hello"
    assert sc.parallelize([0]).map(read).collect() == ["hello"]
    assert SparkFiles.get("words.txt").startswith(SparkFiles.getRootDirectory())


def test_without_a_context_there_is_no_directory() -> None:
    """The error says what is missing."""
    with pytest.raises(PySparkRuntimeError, match="needs a SparkContext"):
        SparkFiles.get("words.txt")

"""Tests of engine/sinks/text_files.py and durable/object_files.py."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from millstream import SparkContext
from millstream.engine.base.errors import (
    DurabilityError,
    FileAlreadyExistsError,
    IllegalArgumentError,
    JobFailedError,
    PySparkNotImplementedError,
)
from millstream.engine.base.storage import LocalStorage
from millstream.engine.durable.object_files import read_rows, write_rows


def test_text_is_one_file_a_partition(sc: SparkContext, tmp_path: Path) -> None:
    """Lines of str(); bytes as they are; parts, _SUCCESS, nothing else."""
    out = tmp_path / "out"
    sc.parallelize(["a", 1, b"raw", None], 2).saveAsTextFile(str(out))

    assert sorted(p.name for p in out.iterdir()) == [
        "_SUCCESS",
        "part-00000",
        "part-00001",
    ]
    assert (out / "part-00000").read_bytes() == b"a\n1\n"
    assert (out / "part-00001").read_bytes() == b"raw\nNone\n"
    with pytest.raises(FileAlreadyExistsError, match="already exists"):
        sc.parallelize(["b"]).saveAsTextFile(str(out))
    assert (out / "part-00000").read_bytes() == b"a\n1\n"


@pytest.mark.parametrize(
    "codec", ["GzipCodec", "BZip2Codec", "ZStandardCodec", "Lz4Codec", "DefaultCodec"]
)
def test_codecs_write_what_can_be_read(
    sc: SparkContext, tmp_path: Path, codec: str
) -> None:
    """Hadoop's codec names; the extension tells the reader."""
    out = str(tmp_path / "out")
    name = f"org.apache.hadoop.io.compress.{codec}"
    sc.parallelize(["x", "y"], 1).saveAsTextFile(out, name)

    assert sc.textFile(out).collect() == ["x", "y"]
    with pytest.raises(IllegalArgumentError, match="isn't known"):
        sc.parallelize(["x"]).saveAsTextFile(out + "2", "com.example.Codec")


def test_a_failed_job_leaves_no_parts(sc: SparkContext, tmp_path: Path) -> None:
    """Nothing visible, nothing temporary, no _SUCCESS."""
    out = tmp_path / "out"
    with pytest.raises(JobFailedError):
        sc.parallelize([1, 0], 2).map(lambda x: 1 // x).saveAsTextFile(str(out))

    assert list(out.iterdir()) == []


def test_pickled_files_come_back(sc: SparkContext, tmp_path: Path) -> None:
    """Any records; pairs for sequence files."""
    rows: list[Any] = [1, "a", None, {"x": [1]}, (1, 2)]
    sc.parallelize(rows, 2).saveAsPickleFile(str(tmp_path / "p"), 1)
    sc.parallelize([("k", 1)], 1).saveAsSequenceFile(str(tmp_path / "s"))

    assert sc.pickleFile(str(tmp_path / "p")).collect() == rows
    assert sc.sequenceFile(str(tmp_path / "s")).collect() == [("k", 1)]
    with pytest.raises(JobFailedError, match="unpack"):
        sc.parallelize([1]).saveAsSequenceFile(str(tmp_path / "t"))


def test_a_file_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    """Reading gives a prefix of the records, then a named error, never a wrong one."""
    path = str(tmp_path / "rows")
    rows = [(i, "x" * i) for i in range(7)]
    assert write_rows(LocalStorage(), path, rows, 2) == 7
    whole = Path(path).read_bytes()
    assert list(read_rows(LocalStorage(), path)) == rows
    for cut in range(len(whole)):
        Path(path).write_bytes(whole[:cut])
        read: list[Any] = []
        with contextlib.suppress(DurabilityError):
            for row in read_rows(LocalStorage(), path):
                read.append(row)
        assert read == rows[: len(read)]
        assert len(read) < 7


@pytest.mark.parametrize(
    "name",
    [
        "saveAsHadoopFile",
        "saveAsHadoopDataset",
        "saveAsNewAPIHadoopFile",
        "saveAsNewAPIHadoopDataset",
    ],
)
def test_java_outputs_name_the_alternative(sc: SparkContext, name: str) -> None:
    """JVM-only entries exist and say what to use."""
    with pytest.raises(PySparkNotImplementedError, match="Java classes") as caught:
        getattr(sc.parallelize([1]), name)("path", "format")

    assert "saveAsTextFile" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "name", ["newAPIHadoopFile", "newAPIHadoopRDD", "hadoopFile", "hadoopRDD"]
)
def test_java_inputs_name_the_alternative(sc: SparkContext, name: str) -> None:
    """JVM-only entries exist and say what to use."""
    with pytest.raises(PySparkNotImplementedError, match="Java classes"):
        getattr(sc, name)("path", "format")

"""Tests of engine/sinks/text_files.py."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from millstream import SparkContext
from millstream.engine.base.errors import (
    FileAlreadyExistsError,
    IllegalArgumentError,
    JobFailedError,
    PySparkNotImplementedError,
)
from millstream.engine.base.storage import Storage
from millstream.engine.sinks.text_files import DirectoryOutput, WriteText


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


def test_of_several_attempts_one_counts(tmp_path: Path) -> None:
    """What others wrote goes when the job ends; a failed one leaves nothing."""
    out = tmp_path / "out"
    output = DirectoryOutput(str(out), ".gz")
    output.open_job(may_exist=False)
    lost = output.write_partition(0, 1, WriteText(["lost"], ".gz"))
    won = output.write_partition(0, 2, WriteText(["won"], ".gz"))

    def breaks(storage: Storage, path: str) -> None:
        storage.create(path).close()
        msg = "user code"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="user code"):
        output.write_partition(1, 3, breaks)

    assert sorted(map(str, (out / "_temporary").iterdir())) == sorted([lost, won])
    output.commit_job([won])
    assert sorted(p.name for p in out.iterdir()) == ["_SUCCESS", "part-00000.gz"]
    assert gzip.decompress((out / "part-00000.gz").read_bytes()) == b"won\n"


def test_a_stream_writes_a_batch_again_in_place(tmp_path: Path) -> None:
    """After a crash: no error, new parts, nothing temporary."""
    out = tmp_path / "out"
    output = DirectoryOutput(str(out))
    output.open_job(may_exist=True)
    output.write_partition(0, 1, WriteText(["crashed"], ""))
    for text in ("first", "again"):
        output.open_job(may_exist=True)
        output.commit_job([output.write_partition(0, 1, WriteText([text], ""))])

    assert sorted(p.name for p in out.iterdir()) == ["_SUCCESS", "part-00000"]
    assert (out / "part-00000").read_text() == "again\n"

"""Tests of engine/sources/files.py, text_lines.py and file_stream.py."""

import bz2
import gzip
import io
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import SparkContext
from millstream.engine.base.errors import EngineError, IllegalArgumentError
from millstream.engine.base.storage import FileInfo
from millstream.engine.sources.file_stream import FileSelection
from millstream.engine.sources.files import (
    InputFile,
    TextSplit,
    list_input,
    plan_text_splits,
)
from millstream.engine.sources.text_lines import read_lines

texts = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff"]),
    max_size=30,
).map(b"".join)


def _model(data: bytes) -> list[str]:
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    return lines[:-1] if not lines[-1] else lines


@given(texts)
def test_lines_are_cut_at_every_kind_of_end(data: bytes) -> None:
    r"""\n, \r\n and \r; as text or bytes."""
    assert list(read_lines(io.BytesIO(data), is_text=True)) == _model(data)
    raw = [
        line.decode("utf-8", "replace")
        for line in read_lines(io.BytesIO(data), is_text=False)
        if isinstance(line, bytes)
    ]
    assert raw == _model(data)


@given(texts, st.integers(1, 12))
def test_splits_share_no_line_and_lose_none(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, count: int
) -> None:
    """Cut anywhere, the splits together are the file."""
    path = tmp_path_factory.mktemp("splits") / "file.txt"
    path.write_bytes(data)
    files = [InputFile(str(path), len(data))]
    splits = plan_text_splits(files, count, is_text=True)

    assert sum(split.length for split in splits) == len(data)
    assert [line for split in splits for line in split.read()] == _model(data)
    size = max(1, len(data) // count)
    odd = [
        TextSplit(str(path), start, min(size, len(data) - start), len(data))
        for start in range(0, len(data), size)
    ]
    assert [line for split in odd for line in split.read()] == _model(data)


def test_text_files_by_path_directory_pattern_and_list(
    sc: SparkContext, tmp_path: Path
) -> None:
    """Hidden files and sub-directories are left out."""
    for name in ("a.txt", "b.txt", "_hidden", ".dot"):
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("c\n")

    def lines(path: str) -> list[str]:
        return sorted(sc.textFile(path).collect())

    assert lines(str(tmp_path)) == ["a.txt", "b.txt"]
    assert lines(f"file://{tmp_path}/a.txt") == ["a.txt"]
    assert lines(f"{tmp_path}/*.txt") == ["a.txt", "b.txt"]
    assert lines(f"{tmp_path}/{{a,b}}.txt") == ["a.txt", "b.txt"]
    assert lines(f"{tmp_path}/[b-z].txt") == ["b.txt"]
    assert lines(f"{tmp_path}/a.txt,{tmp_path}/sub/c.txt") == ["a.txt", "c"]
    assert lines(f"{tmp_path}/*/c.txt") == ["c"]
    assert sc.textFile(str(tmp_path), 6).getNumPartitions() >= 6
    assert sc.textFile(f"{tmp_path}/a.txt", use_unicode=False).collect() == [b"a.txt"]  # type: ignore[comparison-overlap]


def test_a_missing_input_is_told_at_once(sc: SparkContext, tmp_path: Path) -> None:
    """In Spark's words, with the path."""
    with pytest.raises(EngineError, match="Input path does not exist: file:/"):
        sc.textFile(str(tmp_path / "nothing"))
    with pytest.raises(EngineError, match="matches 0 files"):
        sc.textFile(str(tmp_path / "*.none"))


def test_compressed_files_are_read_by_extension(
    sc: SparkContext, tmp_path: Path
) -> None:
    """gzip, bzip2, zstandard, lz4 and deflate; one partition each."""
    import zlib

    import lz4.frame
    import zstandard

    plain = b"one\ntwo\n"
    for name, data in {
        "a.gz": gzip.compress(plain),
        "a.bz2": bz2.compress(plain),
        "a.zst": zstandard.ZstdCompressor().compress(plain),
        "a.lz4": lz4.frame.compress(plain),
        "a.deflate": zlib.compress(plain),
    }.items():
        (tmp_path / name).write_bytes(data)
        rdd = sc.textFile(str(tmp_path / name), 4)
        assert rdd.collect() == ["one", "two"], name
        assert rdd.getNumPartitions() == 1


def test_whole_files_and_records(sc: SparkContext, tmp_path: Path) -> None:
    """(path, content) pairs; fixed-length records; a short rest is an error."""
    (tmp_path / "a").write_bytes(b"aabb")
    uri = f"file:{tmp_path}/a"

    assert sc.wholeTextFiles(str(tmp_path)).collect() == [(uri, "aabb")]
    assert sc.binaryFiles(str(tmp_path)).collect() == [(uri, b"aabb")]
    assert sc.binaryRecords(str(tmp_path), 2).collect() == [b"aa", b"bb"]
    with pytest.raises(EngineError, match="does not have correct length"):
        sc.binaryRecords(str(tmp_path), 3).collect()
    with pytest.raises(IllegalArgumentError, match="recordLength must be positive"):
        sc.binaryRecords(str(tmp_path), 0)


def test_other_file_systems_are_reached_by_uri(sc: SparkContext) -> None:
    """Anything fsspec knows; here its file system in memory."""
    import fsspec

    target = "memory://out"
    sc.parallelize(["a", "b"], 2).saveAsTextFile(target)

    assert sorted(sc.textFile(target).collect()) == ["a", "b"]
    assert [info.uri for info in list_input(target)] == [
        "memory:///out/part-00000",
        "memory:///out/part-00001",
    ]
    fsspec.filesystem("memory").rm("/out", recursive=True)
    with pytest.raises(ImportError, match="no library for 'nosuch:'"):
        sc.textFile("nosuch://x/y")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_names_its_path(sc: SparkContext, tmp_path: Path) -> None:
    """Permission denied reaches the user with the path."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0)
    with pytest.raises(EngineError, match="Permission denied"):
        sc.textFile(str(tmp_path / "a")).collect()


times = st.integers(0, 40)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), times), max_size=12),
    times,
    st.integers(1, 4),
)
def test_file_selection_equals_the_rule(
    changes: list[tuple[str, int]], began: int, window: int
) -> None:
    """Each batch takes what SRC-6 says, with what it took before in mind."""
    selection = FileSelection(began, window * 5)
    taken: dict[int, set[str]] = {}
    for batch in range(5, 45, 5):
        visible = dict(changes[: batch // 3])
        listing = [FileInfo(p, p, 1, t, False) for p, t in sorted(visible.items())]
        remembered = {p for paths in taken.values() for p in paths}
        expected = [
            p
            for p, t in sorted(visible.items())
            if max(began, batch - window * 5) < t <= batch and p not in remembered
        ]
        found = selection.select(batch, listing)
        selection.apply(batch, found)
        assert list(found) == expected
        taken[batch] = set(expected)
        before = batch - window * 5
        selection.forget(before)
        taken = {t: paths for t, paths in taken.items() if t >= before}


def test_a_selection_can_be_restored() -> None:
    """Remembered batches keep their files and block their names."""
    selection = FileSelection(0, 100)
    selection.restore({10: ("a",)})
    info: Any = FileInfo("a", "a", 1, 5, False)

    assert selection.select(20, [info]) == ()
    assert selection.files_of_batch == {10: ("a",)}

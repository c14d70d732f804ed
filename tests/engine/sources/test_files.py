"""Tests of engine/sources/files.py."""

import bz2
import gzip
import os
import re
import tracemalloc
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import SparkContext
from millstream.engine.base import frames
from millstream.engine.base.compression import compressing
from millstream.engine.base.errors import (
    DurabilityError,
    EngineError,
    IllegalArgumentError,
    SparkError,
)
from millstream.engine.plan.text import split_lines
from millstream.engine.sources import files
from millstream.engine.sources.files import (
    FixedRecords,
    InputFile,
    TextSplit,
    list_input,
    plan_fixed_records,
    plan_text_splits,
    plan_whole_files,
)

texts = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff"]),
    max_size=30,
).map(b"".join)


def _model(data: bytes) -> list[str]:
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    return lines[:-1] if not lines[-1] else lines


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


@pytest.mark.parametrize("extension", ["", ".gz", ".bz2", ".zst", ".lz4"])
@pytest.mark.slow
def test_text_can_be_had_as_blocks_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    """Of whole lines and about 8 MiB, compressed or not; their lines are the split's."""
    assert files._TEXT_BLOCK_BYTES == 8 << 20
    smaller = 8 if extension else 1  # To compress takes long.
    monkeypatch.setattr(files, "_TEXT_BLOCK_BYTES", (8 << 20) // smaller)
    line = b"%07d \xff no text; fifty bytes and more in every line\r\n"
    data = b"\xef\xbb\xbf" + b"".join(
        line % number for number in range(700_000 // smaller)
    )
    path = tmp_path / f"file{extension}"
    with path.open("wb") as out, compressing(out, extension) as plain:
        plain.write(data)
    size = path.stat().st_size
    split = TextSplit(str(path), 0, size, size)
    blocks = list(split.text_blocks())
    lines = [text for block in blocks for text in split_lines(block, is_text=True)]

    assert b"".join(blocks) == data[3:]
    assert lines == list(split.read())
    assert all(block.endswith(b"\r\n") for block in blocks)
    assert len(blocks) == 5
    assert all(abs(len(block) - (8 << 20) // smaller) < 100 for block in blocks[:-1])


@pytest.mark.parametrize("extension", ["", ".gz"])
def test_no_more_than_three_blocks_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    """The one that is made, what was read for it, and the reader's; and a few reads."""
    monkeypatch.setattr(files, "_TEXT_BLOCK_BYTES", 1 << 20)
    path = tmp_path / f"file{extension}"
    with path.open("wb") as out, compressing(out, extension) as plain:
        plain.write(b"a line of some bytes\n" * (1 << 20))
    size = path.stat().st_size
    files._keep_freed_memory()  # Once a process: it takes memory, and gives it back.
    tracemalloc.start()
    try:
        for block in TextSplit(str(path), 0, size, size).text_blocks():
            assert len(block) <= 1.3 * (1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 3.8 * (1 << 20)


def test_blocks_of_ranges_share_no_line(tmp_path: Path) -> None:
    """As with rows: a range has the lines that begin in it."""
    path = tmp_path / "file"
    path.write_bytes(b"a\nbb\r\nccc\rdddd")
    size = path.stat().st_size
    splits = [TextSplit(str(path), start, 4, size) for start in range(0, size, 4)]

    for split in splits:
        blocks = list(split.text_blocks())
        assert len(blocks) <= 1
        assert [
            line for block in blocks for line in split_lines(block, is_text=True)
        ] == list(split.read())
    blocks = [block for split in splits for block in split.text_blocks()]
    assert b"".join(blocks) == path.read_bytes()


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
        "memory://out/part-00000",
        "memory://out/part-00001",
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


def test_a_linked_file_keeps_its_own_name(tmp_path: Path) -> None:
    """The name that was asked for says how it is compressed, not what it leads to."""
    (tmp_path / "blob").write_bytes(gzip.compress(b"one\n"))
    (tmp_path / "data.gz").symlink_to(tmp_path / "blob")
    files = list_input(str(tmp_path / "data.gz"))

    assert [file.uri for file in files] == [f"file:{tmp_path}/data.gz"]
    (split,) = plan_text_splits(files, 3, is_text=True)
    assert list(split.read()) == ["one"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """It is left out at the start of a file and only there."""
    path = tmp_path / "bom"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb")
    size = path.stat().st_size
    for length in range(1, size + 1):
        splits = [
            TextSplit(str(path), start, min(length, size - start), size)
            for start in range(0, size, length)
        ]
        read = [line for split in splits for line in split.read()]
        assert read == ["a", "\ufeffb"], length


@pytest.mark.parametrize("name", ["a.gz", "a.bz2", "a.zst", "a.lz4", "a.deflate"])
def test_a_compressed_file_cut_short_is_named(tmp_path: Path, name: str) -> None:
    """No line is taken for the last one that isn't."""
    path = tmp_path / name
    with path.open("wb") as out, compressing(out, path.suffix) as lines:
        lines.write(b"".join(b"line %d\n" % i for i in range(2000)))
    whole = path.read_bytes()
    for data in (whole[:-1], whole[: len(whole) // 2], b"not compressed at all"):
        path.write_bytes(data)
        with pytest.raises(DurabilityError, match=re.escape(name)):
            list(TextSplit(str(path), 0, len(data), len(data)).read())


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 6))
def test_splits_follow_the_goal_size(sizes: list[int], splits_min: int) -> None:
    """Each byte is in one split; none is more than a tenth over its share."""
    files = [InputFile(f"f{i}", size) for i, size in enumerate(sizes)]
    splits = plan_text_splits(files, splits_min, is_text=True)
    goal = max(1, sum(sizes) // splits_min)

    for file in files:
        mine = [split for split in splits if split.uri == file.uri]
        ends = [split.start + split.length for split in mine]
        assert [split.start for split in mine] == [0, *ends[:-1]]
        assert ends[-1] == file.size_bytes
        assert all(split.length <= goal * 1.1 for split in mine)


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 6))
def test_whole_files_are_grouped(sizes: list[int], groups_max: int) -> None:
    """Every file once, in order, in at most as many groups as asked for."""
    files = [InputFile(f"f{i}", size) for i, size in enumerate(sizes)]
    groups = plan_whole_files(files, groups_max, is_text=True)

    assert [uri for group in groups for uri in group.uris] == [f.uri for f in files]
    assert all(group.uris for group in groups)
    assert len(groups) <= groups_max


@given(st.binary(max_size=60), st.integers(1, 9), st.integers(1, 5))
def test_records_of_any_length(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, length: int, count: int
) -> None:
    """All splits together are the records; a rest is an error at its place."""
    path = tmp_path_factory.getbasetemp() / "records"
    path.write_bytes(data)
    splits = plan_fixed_records([InputFile(str(path), len(data))], length, count)
    records = chain.from_iterable(split.read() for split in splits)
    if len(data) % length:
        with pytest.raises(SparkError, match=f"{len(data) % length} did not equal"):
            list(records)
    else:
        expected = [data[i : i + length] for i in range(0, len(data), length)]
        assert list(records) == expected
    if not data:
        with pytest.raises(SparkError, match="0 did not equal"):
            list(FixedRecords(str(path), 0, length, length).read())


def test_splits_travel() -> None:
    """They are sent to tasks."""
    files = [InputFile("a", 10)]
    for split in (
        *plan_text_splits(files, 2, is_text=True),
        *plan_whole_files(files, 2, is_text=False),
        *plan_fixed_records(files, 2, 2),
    ):
        assert frames.loads(frames.dumps(split)) == split


def test_a_path_object_is_read_as_it_is(tmp_path: Path) -> None:
    """Without looking for commas in it, which lists in text have."""
    (tmp_path / "a,b").write_text("x\n")
    (found,) = list_input(tmp_path / "a,b")
    assert found.uri == f"file:{tmp_path}/a,b"

"""Tests of engine/base/remote_storage.py."""

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tests.stories.object_store import object_store

from millstream.engine.base import remote_storage as module
from millstream.engine.base.errors import (
    DurabilityError,
    MissingDependencyError,
    UsageError,
)
from millstream.engine.base.remote_storage import (
    FsspecStorage,
    _seconds,
    remote_storage,
)
from millstream.engine.base.storage import LocalStorage, Storage, open_storage


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """Return the environment in which there is an S3-compatible server."""
    with object_store() as environment:
        yield environment


@pytest.fixture
def in_s3(bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `s3:` be that server."""
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    remote_storage.cache_clear()
    yield
    remote_storage.cache_clear()


@pytest.fixture(
    name="store",
    params=["memory", "local", pytest.param("s3", marks=pytest.mark.slow)],
)
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Every claim here holds for this machine's files too."""
    if request.param == "local":
        yield open_storage(str(tmp_path / "base"))
        return
    if request.param == "s3":
        request.getfixturevalue("in_s3")
        yield open_storage(f"s3://bucket/{tmp_path.name}/base")
        return
    yield open_storage("memory://remote-test/base")
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists("/remote-test"):
        filesystem.rm("/remote-test", recursive=True)


def _read(storage: Storage, path: str) -> bytes:
    with storage.open_input(path) as source:
        return source.read()


def test_files_are_written_read_and_listed(store: tuple[Storage, str]) -> None:
    """All that the engine asks of a storage."""
    storage, base = store
    storage.write_atomic(f"{base}/b", b"bb")
    with storage.create(f"{base}/a") as out:
        out.write(b"a")
    storage.write_atomic(f"{base}/c/d", b"d")

    assert [i.name for i in storage.list(base) if not i.is_dir] == ["a", "b"]
    assert [i.name for i in storage.list(base) if i.is_dir] == ["c"]
    assert storage.stat(f"{base}/b").size_bytes == 2
    assert storage.stat(f"{base}/b").modified_ms > 0
    with storage.open_input(f"{base}/b") as source:
        source.seek(1)
        assert source.read() == b"b"
    again, path = open_storage(storage.uri(f"{base}/b"))
    assert _read(again, path) == b"bb"


def test_files_appear_whole(store: tuple[Storage, str]) -> None:
    """When the block ends; after an error the old one stays."""
    storage, base = store
    storage.make_dirs(base)
    with storage.open_atomic(f"{base}/a") as out:
        out.write(b"old")
        assert not storage.exists(f"{base}/a")
    with contextlib.suppress(KeyError), storage.open_atomic(f"{base}/a") as out:
        out.write(b"new")
        raise KeyError

    assert _read(storage, f"{base}/a") == b"old"
    assert [info.name for info in storage.list(base)] == ["a"]


def test_files_move_and_go(store: tuple[Storage, str]) -> None:
    """Moving replaces; deleting what isn't there is fine; missing ones are named."""
    storage, base = store
    storage.write_atomic(f"{base}/a", b"a")
    storage.write_atomic(f"{base}/b", b"b")
    storage.rename(f"{base}/a", f"{base}/b")

    assert _read(storage, f"{base}/b") == b"a"
    storage.delete(f"{base}/a")
    storage.delete(f"{base}/b")
    storage.delete_tree(base)
    storage.delete_tree(base)
    for ask in (storage.open_input, storage.stat, storage.list):
        with pytest.raises(FileNotFoundError, match="base"):
            ask(f"{base}/none")


def test_directories_are_made(tmp_path: Path) -> None:
    """Where there are such; a store of objects has them as soon as there is something in."""
    for uri in (str(tmp_path / "base"), "memory://remote-test/base"):
        storage, base = open_storage(uri)
        storage.make_dirs(f"{base}/c")
        assert [info.name for info in storage.list(base) if info.is_dir] == ["c"]


@pytest.mark.slow
def test_large_objects_arrive_whole(
    in_s3: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that don't stay in memory until they are complete, too."""
    monkeypatch.setattr(module, "_SPOOLED_BYTES", 1000)
    monkeypatch.setattr(module, "_COPIED_BYTES", 7 << 20)
    storage, path = open_storage("s3://bucket/large")
    data = bytes(range(256)) * (12 << 12)
    with storage.open_atomic(path) as out:
        out.write(data)

    assert _read(storage, path) == data


@pytest.mark.slow
def test_a_store_of_objects_has_nothing_but_objects(in_s3: None) -> None:
    """No marks of directories, which cost a request each; nothing beside an object."""
    storage, path = open_storage("s3://bucket/bare/a/b")
    storage.make_dirs(path)
    assert not storage.exists(path)
    with storage.open_atomic(f"{path}/c") as out:
        out.write(b"c")

    top, bare = open_storage("s3://bucket/bare")
    assert [info.path for info in top.list(bare)] == ["bucket/bare/a"]
    assert [info.path for info in top.list(path)] == [f"{path}/c"]


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_is_none_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable, and what a right one looks like."""
    monkeypatch.setenv(name, "minio:9000")
    remote_storage.cache_clear()

    with pytest.raises(UsageError, match=f"{name} is 'minio:9000'") as caught:
        open_storage("s3://bucket/x")
    assert "https://minio.example:9000" in (caught.value.hint or "")


def test_logs_stay_on_disks() -> None:
    """A store that can't make the end of a file safe says so."""
    storage, path = open_storage("memory://remote-test/log")

    with pytest.raises(DurabilityError, match="'memory://remote-test/log'"):
        storage.append(path)


@pytest.mark.parametrize("uri", ["memory://h/a", "memory:/h/a", "memory:///h/a"])
def test_slashes_make_no_difference(uri: str) -> None:
    """The URI that comes back is as it was asked for."""
    storage, path = open_storage(uri)

    assert path == "/h/a"
    assert open_storage(storage.uri(path)) == (storage, path)


def test_the_host_is_part_of_a_uri() -> None:
    """Where the file system leaves it out of paths, it comes back."""
    storage = FsspecStorage("hdfs://name:8020", "/", fsspec.filesystem("memory"))

    assert storage.path_below("/a/b") == "/a/b"
    assert storage.uri("/a/b") == "hdfs://name:8020/a/b"


def test_an_unknown_scheme_names_the_command() -> None:
    """What to install is in the hint."""
    with pytest.raises(MissingDependencyError, match="'nosuch:'") as caught:
        open_storage("nosuch://x/y")

    assert "pip install" in (caught.value.hint or "")
    assert isinstance(open_storage("x/y")[0], LocalStorage)


def test_times_come_in_many_forms() -> None:
    """Seconds, text or dates."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    assert _seconds(5) == 5.0
    assert _seconds(moment) == _seconds(moment.isoformat()) == moment.timestamp()

"""Tests of engine/base/storage.py."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from millstream.engine.base import storage
from millstream.engine.base.errors import (
    DurabilityError,
    UnsupportedOperationError,
    UsageError,
)
from millstream.engine.base.storage import (
    LocalStorage,
    mount,
    open_storage,
    path_text,
    read_small,
)
from millstream.testing.sim_storage import SimStorage

STORAGE = LocalStorage()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a/b", "/a/b"),
        ("a/b", "a/b"),
        ("file:/a/b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("FILE:/a/b", "/a/b"),
        ("file:a/b", "a/b"),
        ("file://a/b", "/a/b"),
        ("/a:b/c", "/a:b/c"),
        ("C:/a", "C:/a"),
    ],
)
def test_paths_and_file_uris_are_local(uri: str, path: str) -> None:
    """With one, two or three slashes."""
    storage, found = open_storage(uri)

    assert isinstance(storage, LocalStorage)
    assert found == path


def test_a_uri_is_absolute_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Spark prints it: one slash, no dots, links left as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    assert STORAGE.uri("link/./x/../y") == f"file:{tmp_path}/link/y"
    assert open_storage(STORAGE.uri("a b%20"))[1] == f"{tmp_path}/a b%20"


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_appears_whole(tmp_path: Path, sync: bool) -> None:
    """Old until the block ends, then new; directories are made; nothing else stays."""
    path = tmp_path / "deep" / "er" / "file"
    STORAGE.write_atomic(str(path), b"old", sync=sync)
    with STORAGE.open_atomic(str(path), sync=sync) as out:
        out.write(b"new")
        out.flush()
        assert path.read_bytes() == b"old"

    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    """And nothing of the new one."""
    path = tmp_path / "file"
    STORAGE.write_atomic(str(path), b"old")
    with contextlib.suppress(KeyError), STORAGE.open_atomic(str(path)) as out:
        out.write(b"new")
        raise KeyError

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    """Those of the process's mask, as any other file: others may read a checkpoint."""
    STORAGE.write_atomic(str(tmp_path / "atomic"), b"x")
    (tmp_path / "plain").write_bytes(b"x")

    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_what_a_crash_left_is_not_in_the_way(tmp_path: Path) -> None:
    """Names of files being written are taken only when they are free."""
    with STORAGE.open_atomic(str(tmp_path / "a"), sync=False):
        (scratch,) = tmp_path.iterdir()
    prefix, number = scratch.name.rsplit("-", 1)
    for ahead in range(1, 4):
        (tmp_path / f"{prefix}-{int(number) + ahead}").write_text("left")
    STORAGE.write_atomic(str(tmp_path / "b"), b"x", sync=False)

    assert (tmp_path / "b").read_bytes() == b"x"


def test_a_log_grows(tmp_path: Path) -> None:
    """Behind what is there, also when it is opened again; synced means in the file."""
    path = tmp_path / "deep" / "log"
    with STORAGE.append(str(path)) as log:
        log.write(b"one")
        log.sync()
        assert path.read_bytes() == b"one"
        log.write(b"two")
    with STORAGE.append(str(path)) as log:
        log.write(b"three")

    assert path.read_bytes() == b"onetwothree"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk")
def test_a_full_disk_names_the_file() -> None:
    """No write is lost in silence."""
    log = STORAGE.append("/dev/full")
    log.write(b"x")
    with pytest.raises(DurabilityError, match="can't write '/dev/full'"):
        log.sync()
    with pytest.raises(DurabilityError, match="No space left"):
        log.close()


def test_entries_are_listed_in_order(tmp_path: Path) -> None:
    """With size, time and kind; a link that leads nowhere is left out."""
    (tmp_path / "b").write_bytes(b"xyz")
    os.utime(tmp_path / "b", ns=(0, 1_234_567_890))
    (tmp_path / "a").mkdir()
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    a, b = STORAGE.list(str(tmp_path))

    assert (a.name, a.is_dir) == ("a", True)
    assert (b.path, b.size_bytes, b.modified_ms) == (f"{tmp_path}/b", 3, 1234)
    assert not b.is_dir
    assert STORAGE.stat(b.path) == b


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """By reading and listing; deleting it again is no error."""
    path = str(tmp_path / "none")
    for ask in (STORAGE.open_input, STORAGE.stat, STORAGE.list):
        with pytest.raises(FileNotFoundError, match="none"):
            ask(path)
    STORAGE.delete(path)
    STORAGE.delete_tree(path)

    assert not STORAGE.exists(path)


def test_files_move_and_go(tmp_path: Path) -> None:
    """A file at the target is replaced; its directory is made."""
    with STORAGE.create(str(tmp_path / "a" / "b")) as out:
        out.write(b"x")
    STORAGE.make_dirs(str(tmp_path / "c"))
    STORAGE.rename(str(tmp_path / "a" / "b"), str(tmp_path / "d" / "e"))

    assert (tmp_path / "d" / "e").read_bytes() == b"x"
    STORAGE.delete_tree(str(tmp_path / "d"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "c"]


FORBIDDEN = """
import os, sys
from millstream.engine.base.storage import LocalStorage
if os.geteuid() == 0:
    os.setuid(65534)
for ask in (LocalStorage().open_input, LocalStorage().list):
    try:
        ask(sys.argv[1])
    except PermissionError as error:
        assert sys.argv[1] in str(error)
        print("refused")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="users are POSIX's")
def test_what_is_forbidden_is_named(tmp_path: Path) -> None:
    """As a user who isn't root: root may read everything."""
    (tmp_path / "secret").mkdir(mode=0)
    program = [sys.executable, "-c", FORBIDDEN, str(tmp_path / "secret")]
    done = subprocess.run(program, capture_output=True, text=True)

    assert done.stdout.split() == ["refused", "refused"], done.stderr


def test_a_file_that_somebody_wrote_can_be_made_safe(tmp_path: Path) -> None:
    """By its path alone; a missing one is an error that names it."""
    (tmp_path / "written").write_bytes(b"x")
    storage = LocalStorage()
    storage.sync(str(tmp_path / "written"))

    assert (tmp_path / "written").read_bytes() == b"x"
    with pytest.raises(FileNotFoundError, match="missing"):
        storage.sync(str(tmp_path / "missing"))


def test_a_mounted_storage_answers_for_its_scheme() -> None:
    """What simulations run on; other schemes aren't touched."""
    disk = SimStorage()
    mount("sim-test", disk)

    assert open_storage("sim-test:/a/b") == (disk, "/a/b")
    assert isinstance(open_storage("file:/a/b")[0], LocalStorage)


def test_a_file_uri_may_name_a_drive() -> None:
    """On Windows, where the slash before it is none of the path's."""
    assert storage._local_path("", "///C:/a/b", has_drives=True) == "C:/a/b"
    assert storage._local_path("", "/c:/a", has_drives=True) == "c:/a"
    assert storage._local_path("", "///a/b", has_drives=True) == "/a/b"
    assert storage._local_path("", "///C:/a/b", has_drives=False) == "/C:/a/b"


def test_a_new_file_is_written_once(tmp_path: Path) -> None:
    """Of several writers one does, whole; nothing is left of the others."""
    storage = LocalStorage()
    path = str(tmp_path / "new" / "file")
    storage.write_new(path, b"first")
    with pytest.raises(FileExistsError):
        storage.write_new(path, b"second")

    assert Path(path).read_bytes() == b"first"
    assert [info.name for info in storage.list(str(tmp_path / "new"))] == ["file"]


def test_a_file_system_without_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else says of two writers which was first."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(UnsupportedOperationError, match="only if it isn't there"):
        LocalStorage().write_new(str(tmp_path / "file"), b"")
    assert list(tmp_path.iterdir()) == []


def test_known_names_are_left_out_of_a_listing(tmp_path: Path) -> None:
    """The rest is as in `list`."""
    for name in "abc":
        (tmp_path / name).write_text(name)
    storage = LocalStorage()

    found = storage.list_except(str(tmp_path), {"b"})
    assert found == [storage.stat(str(tmp_path / name)) for name in "ac"]


def test_paths_of_other_libraries_are_text() -> None:
    """Unless they carry what a URI has no place for."""

    class UPath:
        protocol = "s3"

        def __init__(self, **options: str) -> None:
            self.storage_options = options

        def __str__(self) -> str:
            return "s3://bucket/x"

    assert path_text("a") == "a"
    assert path_text(Path("a/b")) == "a/b"
    assert path_text(UPath()) == "s3://bucket/x"  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="options of 's3://bucket/x'") as caught:
        path_text(UPath(secret="hunter2"))  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match="must be text or a Path, not int"):
        path_text(1)  # type: ignore[arg-type]


def test_a_small_file_is_read_at_once(tmp_path: Path) -> None:
    """The first 64 kB, of any storage; one that isn't there is named."""
    there, missing = tmp_path / "there", str(tmp_path / "missing")
    disk = SimStorage()
    for data in (b"", b"text", bytes(100_000)):
        there.write_bytes(data)
        disk.put_file("/there", data)
        assert read_small(STORAGE, str(there)) == data[: 1 << 16]
        assert read_small(disk, "/there") == data[: 1 << 16]

    with pytest.raises(FileNotFoundError, match="missing"):
        read_small(STORAGE, missing)
    with pytest.raises(FileNotFoundError):
        read_small(disk, missing)

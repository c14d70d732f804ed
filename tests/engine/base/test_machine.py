"""Tests of base/machine.py: cores and memory as cgroups of either version limit them."""

import logging
import os
from pathlib import Path

import pytest

from millstream.engine.base import machine
from millstream.engine.base.machine import Share, share_of_cores, share_of_memory

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
NO_LIMIT = "9223372036854771712"
GIB = 1 << 30


def tree(root: Path, groups: str, mounts: str) -> Path:
    """Make a file system of a process in these groups, with these mounts."""
    write(root / "proc/self/cgroup", groups)
    write(
        root / "proc/self/mountinfo", f"22 1 0:21 / / rw - ext4 /dev/sda rw\n{mounts}"
    )
    return root


def write(file: Path, text: str) -> Path:
    """Write a file and the directories that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")
    return file


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("100001 100000", 2),
        ("max 100000", 16),
        ("9999999 100000", 16),
    ],
)
def test_a_quota_of_version_2_is_rounded_up(
    tmp_path: Path, text: str, amount: int
) -> None:
    """As the JVM does it; one that is more than there is, or none, limits nothing."""
    root = tree(tmp_path, "0::/", V2_MOUNT)
    file = write(root / "sys/fs/cgroup/cpu.max", text)

    found = share_of_cores(root, 16, 16)

    assert found == Share(amount, 16, file if amount < 16 else None)


@pytest.mark.parametrize(
    ("quota", "period", "amount"),
    [("250000", "100000", 3), ("50000", "200000", 1), ("-1", "100000", 16)],
)
def test_a_quota_of_version_1_is_rounded_up(
    tmp_path: Path, quota: str, period: str, amount: int
) -> None:
    """Its two parts are in two files, and none is -1."""
    root = tree(tmp_path, "4:cpu,cpuacct:/", V1_CPU)
    file = write(root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota)
    write(root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", period)

    found = share_of_cores(root, 16, 16)

    assert found == Share(amount, 16, file if amount < 16 else None)


def test_the_tightest_group_from_ones_own_upwards_limits(tmp_path: Path) -> None:
    """And no neighbour's."""
    root = tree(tmp_path, "0::/kubepods/pod7/main", V2_MOUNT)
    top = root / "sys/fs/cgroup"
    write(top / "kubepods/cpu.max", "1200000 100000")
    tight = write(top / "kubepods/pod7/cpu.max", "300000 100000")
    write(top / "kubepods/pod7/main/cpu.max", "800000 100000")
    write(top / "kubepods/pod7/other/cpu.max", "100000 100000")
    write(top / "kubepods/pod7/main/memory.max", str(4 * GIB))
    high = write(top / "kubepods/pod7/main/memory.high", str(3 * GIB))
    write(top / "kubepods/pod7/memory.max", "max")
    write(top / "kubepods/memory.max", str(8 * GIB))

    assert share_of_cores(root, 16, 16) == Share(3, 16, tight)
    assert share_of_memory(root, 64 * GIB) == Share(3 * GIB, 64 * GIB, high)


def test_memory_of_version_1_has_a_huge_number_for_none(tmp_path: Path) -> None:
    """A group above limits, the own one doesn't."""
    root = tree(tmp_path, "4:memory:/docker/a", V1_MEMORY)
    top = root / "sys/fs/cgroup/memory"
    write(top / "docker/a/memory.limit_in_bytes", NO_LIMIT)
    write(top / "memory.limit_in_bytes", NO_LIMIT)

    assert share_of_memory(root, 64 * GIB) == Share(64 * GIB, 64 * GIB)

    file = write(top / "docker/memory.limit_in_bytes", str(2 * GIB))

    assert share_of_memory(root, 64 * GIB) == Share(2 * GIB, 64 * GIB, file)


@pytest.mark.parametrize("path", ["/docker/a", "/docker/a/inner", "/../b", "/"])
def test_a_container_sees_its_own_group_as_the_top(tmp_path: Path, path: str) -> None:
    """Whatever the process's path is called outside."""
    mount = V1_MEMORY.replace(" / /sys", " /docker/a /sys")
    root = tree(tmp_path, f"4:memory:{path}", mount)
    file = write(root / "sys/fs/cgroup/memory/memory.limit_in_bytes", str(GIB))

    assert share_of_memory(root, 64 * GIB) == Share(GIB, 64 * GIB, file)


def test_both_versions_count_at_once(tmp_path: Path) -> None:
    """Systems between the two have some controllers here, some there."""
    unified = V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    root = tree(
        tmp_path, "4:cpu,cpuacct:/\n1:name=systemd:/\n0::/", f"{V1_CPU}\n{unified}"
    )
    quota = write(root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000")
    write(root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    high = write(root / "sys/fs/cgroup/unified/memory.high", str(GIB))

    assert share_of_cores(root, 16, 16) == Share(4, 16, quota)
    assert share_of_memory(root, 64 * GIB) == Share(GIB, 64 * GIB, high)


def test_affinity_counts_where_it_is_less(tmp_path: Path) -> None:
    """A quota beyond the cores that the scheduler gives is no limit."""
    root = tree(tmp_path, "0::/", V2_MOUNT)
    file = write(root / "sys/fs/cgroup/cpu.max", "400000 100000")

    assert share_of_cores(root, 16, 3) == Share(3, 16)
    assert share_of_cores(root, 16, 8) == Share(4, 16, file)


def test_without_cgroups_the_machine_is_all(tmp_path: Path) -> None:
    """As on macOS, where there is no /proc."""
    assert share_of_cores(tmp_path, 8, 8) == Share(8, 8)
    assert share_of_memory(tmp_path, GIB) == Share(GIB, GIB)


@pytest.mark.parametrize("text", ["many 100000", "0 100000", "100000 0", "1", "-5 1"])
def test_a_limit_without_sense_is_told_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """A program starts all the same."""
    root = tree(tmp_path, "0::/", V2_MOUNT)
    file = write(root / "sys/fs/cgroup/cpu.max", text)

    assert share_of_cores(root, 16, 16) == Share(16, 16)
    assert caplog.messages == [f"no limit that makes sense file={file} text={text}"]


def test_a_limit_that_cant_be_read_is_told_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here a directory is in its place: root may read anything else."""
    root = tree(tmp_path, "0::/", V2_MOUNT)
    (root / "sys/fs/cgroup/memory.max").mkdir(parents=True)

    assert share_of_memory(root, GIB) == Share(GIB, GIB)
    (told,) = caplog.messages
    assert "memory.max" in told
    assert "can't be read" in told


@pytest.mark.parametrize("text", ["", "nonsense", "0:", "1:cpu:/a\n::", " - cgroup2"])
def test_nonsense_for_ones_group_or_mounts_limits_nothing(
    tmp_path: Path, text: str
) -> None:
    """Nor does it stop anything."""
    root = tree(tmp_path / "groups", text, V2_MOUNT)
    other = tree(tmp_path / "mounts", "0::/", text)
    for each in (root, other):
        write(each / "sys/fs/cgroup/cpu.max", "x")

    assert share_of_cores(root, 16, 16) == Share(16, 16)
    assert share_of_cores(other, 16, 16) == Share(16, 16)


def test_a_share_says_why_it_is_no_more() -> None:
    """In words that lead to the file."""
    file = Path("/sys/fs/cgroup/cpu.max")

    assert Share(16, 16).reason == "all of the machine's"
    assert Share(4, 16).reason == "its affinity"
    assert Share(2, 16, file).reason == f"its container's limit, says {file}"


def test_a_system_that_says_little_is_taken_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without affinities, as macOS; without a size of its memory, as Windows."""
    monkeypatch.setattr(machine, "_ROOT", Path("/nowhere"))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "sysconf_names", {})

    assert machine.cores() == Share(8, 8)
    assert machine.memory() is None


def test_this_machine_is_understood(caplog: pytest.LogCaptureFixture) -> None:
    """Its own files have nothing that must be ignored."""
    caplog.set_level(logging.WARNING)
    cores, memory = machine.cores(), machine.memory()

    assert 1 <= cores.amount <= cores.machine == os.cpu_count()
    assert memory is None or 0 < memory.amount <= memory.machine
    assert caplog.messages == []

"""Tests of durable/write_ahead_log.py."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import (
    DurabilityError,
    IllegalStateError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.durable.write_ahead_log import (
    BatchedLog,
    FileLog,
    LogHandle,
    WriteAheadLog,
    _encode,
    _Waiting,
)
from millstream.testing.sim_storage import (
    SimAppendStream,
    SimStorage,
    SimulatedCrashError,
    at_every_crash,
    at_every_failure,
)


def names(directory: Path) -> list[str]:
    """Return the names of a log's segments."""
    return sorted(path.name for path in directory.iterdir())


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    """A segment ends with its rolling interval; reading goes through all of them."""
    log = FileLog(str(tmp_path), rolling_ms=100)
    handles = [log.write(b"%d" % time, time) for time in (0, 50, 100, 101, 250)]

    assert list(log.read_all()) == [b"0", b"50", b"100", b"101", b"250"]
    assert names(tmp_path) == ["log-0-100", "log-101-201", "log-250-350"]
    assert [log.read(handle) for handle in handles] == list(log.read_all())
    log.close()
    log.close()
    with pytest.raises(IllegalStateError, match="is closed"):
        log.write(b"", 0)


def test_a_restart_begins_a_new_segment(tmp_path: Path) -> None:
    """Nothing is written behind what a crash may have torn; other files are ignored."""
    (tmp_path / "notes.txt").write_text("not a log")
    first = FileLog(str(tmp_path))
    first.write(b"a", 5)
    first.close()
    again = FileLog(str(tmp_path))
    again.write(b"b", 5)
    again.write(b"c", 4)  # The clock was set back.

    assert list(again.read_all()) == [b"a", b"b", b"c"]
    assert list(FileLog(str(tmp_path)).read_all()) == [b"a", b"b", b"c"]
    again.close()


def test_a_torn_record_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the last one; the log says which file and byte."""
    log = FileLog(str(tmp_path))
    log.write(b"whole", 0)
    log.write(b"torn", 0)
    log.close()
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])

    assert list(FileLog(str(tmp_path)).read_all()) == [b"whole"]
    assert "cut short by a crash" in caplog.text
    assert "byte=13" in caplog.text


def test_a_file_a_record_for_stores_that_cannot_append(tmp_path: Path) -> None:
    """Each write is one whole file; order and handles stay."""
    log = FileLog(str(tmp_path), closes_after_write=True)
    handles = [log.write(record, 7) for record in (b"a", b"b", b"c")]

    assert names(tmp_path) == ["log-7-60007", "log-7-60007.1", "log-7-60007.2"]
    assert list(FileLog(str(tmp_path)).read_all()) == [b"a", b"b", b"c"]
    assert log.read(handles[1]) == b"b"


def test_old_segments_go_and_the_current_one_stays(tmp_path: Path) -> None:
    """Strictly older than the threshold, by their ends."""
    log = FileLog(str(tmp_path), rolling_ms=10)
    for time in (0, 20, 40):
        log.write(b"%d" % time, time)
    log.clean(30)
    assert names(tmp_path) == ["log-20-30", "log-40-50"]
    log.clean(1000)

    assert list(log.read_all()) == [b"40"]
    log.close()


def test_a_handle_is_checked(tmp_path: Path) -> None:
    """A handle of another length, and a segment that is gone, are told apart."""
    log = FileLog(str(tmp_path))
    handle = log.write(b"abc", 0)
    with pytest.raises(DurabilityError, match="should have 4 bytes, but there is 3"):
        log.read(LogHandle(handle.path, 0, 4))
    log.close()
    Path(handle.path).unlink()
    with pytest.raises(DurabilityError, match=r"No such file .*log-0-60000"):
        log.read(handle)
    assert list(log.read_all()) == []


def write_all(log: WriteAheadLog, written: list[bytes]) -> None:
    """Write records over several segments, clean once, and note each that was safe."""
    for number in range(6):
        record = b"record %d" % number
        log.write(record, number * 40)
        written.append(record)
        if number == 4:
            log.clean(45)  # The segment 0..100 isn't older than that.
    log.close()


@pytest.mark.parametrize("closes", [False, True])
def test_a_crash_at_any_call_loses_nothing_that_was_safe(closes: bool) -> None:
    """What `write` returned for is read back in order; the one in flight perhaps."""
    runs: list[list[bytes]] = []

    def scenario(storage: SimStorage) -> None:
        runs.append([])
        log = FileLog(
            "/log", rolling_ms=100, closes_after_write=closes, storage=storage
        )
        write_all(log, runs[-1])

    for storage in at_every_crash(scenario):
        written = runs[-1]
        found = list(FileLog("/log", rolling_ms=100, storage=storage).read_all())
        in_flight = b"record %d" % len(written)
        assert found in (written, [*written, in_flight])
    assert len(runs) > len(runs[-1]), "each write is a call that a crash can hit"


def test_a_write_after_a_crash_follows_what_was_safe() -> None:
    """However the end was torn, what comes after the restart is read behind it."""

    def scenario(storage: SimStorage) -> None:
        write_all(FileLog("/log", rolling_ms=1000, storage=storage), [])

    for storage in at_every_crash(scenario):
        log = FileLog("/log", rolling_ms=1000, storage=storage)
        before = list(log.read_all())
        log.write(b"after", 10)
        assert list(FileLog("/log", storage=storage).read_all()) == [*before, b"after"]


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_failed_write_is_tried_again_elsewhere(closes: bool, seed: int) -> None:
    """Whichever call fails once, every record is there, once; what failed is cut off."""

    def scenario(storage: SimStorage) -> None:
        log = FileLog(
            "/log", rolling_ms=100, closes_after_write=closes, storage=storage
        )
        write_all(log, [])

    for storage in at_every_failure(scenario, seed=seed):
        found = list(FileLog("/log", storage=storage).read_all())
        assert found == [b"record %d" % number for number in range(6)]


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_after_a_failure_loses_nothing_either(seed: int) -> None:
    """Every pair of a failing call and a crash soon after it."""
    written: list[bytes] = []
    for failing, later in itertools.product(range(1, 20), range(1, 8)):
        storage = SimStorage(
            fail_at={failing},
            crash_at=failing + later,
            random=Random(f"{seed} {failing} {later}"),
        )
        written.clear()
        with contextlib.suppress(SimulatedCrashError):
            write_all(FileLog("/log", rolling_ms=100, storage=storage), written)
        left = storage.after_crash()
        found = list(FileLog("/log", storage=left).read_all())

        # The one in flight may be there from its first try and its second.
        in_flight = b"record %d" % len(written)
        assert found[: len(written)] == written
        assert found[len(written) :] in ([], [in_flight], [in_flight] * 2)


def test_a_crash_while_cleaning_leaves_what_is_not_old() -> None:
    """Old segments go one by one; what is left is the newest, in order."""
    times = [0, 20, 40, 60, 80]

    def scenario(storage: SimStorage) -> None:
        log = FileLog("/log", rolling_ms=10, storage=storage)
        for time in times:
            log.write(b"%d" % time, time)
        log.clean(55)

    sizes = set()
    for storage in at_every_crash(scenario):
        found = list(FileLog("/log", storage=storage).read_all())
        sizes.add(len(found))
        values = [int(record) for record in found]
        assert values == sorted(values)
        if values and values[0] > 0:  # It has begun to clean.
            assert {60, 80} <= set(values)
    assert sizes == set(range(6))


def test_what_interrupts_a_write_does_not_spoil_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in the middle of a frame: the next record is in a new segment."""
    storage = SimStorage()
    log = FileLog("/log", storage=storage)
    log.write(b"a", 0)
    with monkeypatch.context() as patch:

        def half(self: SimAppendStream, data: bytes) -> None:
            write(self, data[:5])
            raise KeyboardInterrupt

        write = SimAppendStream.write
        patch.setattr(SimAppendStream, "write", half)
        with pytest.raises(KeyboardInterrupt):
            log.write(b"b", 0)
    assert list(log.read_all()) == [b"a"]
    log.write(b"c", 0)

    assert list(FileLog("/log", storage=storage).read_all()) == [b"a", b"c"]
    assert [info.name for info in storage.list("/log")] == [
        "log-0-60000",
        "log-0-60000.1",
    ]


def test_a_write_that_was_given_up_is_not_read_later() -> None:
    """It raised; the next write or the end cuts off what may be there of it."""
    for seed in range(20):
        storage = SimStorage(
            fail_at={5 + seed % 2}, random=Random(seed)
        )  # After open, both writes and a sync: the header's or the record's.
        log = FileLog("/log", failures_max=1, storage=storage)
        log.write(b"a", 0)
        with pytest.raises(DurabilityError, match="simulated failure of call"):
            log.write(b"b", 0)
        log.close()

        assert list(FileLog("/log", storage=storage).read_all()) == [b"a"]


def test_cleaning_that_fails_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    """The next time the segment goes; after close nothing is deleted."""
    storage = SimStorage(fail_at={10}, random=Random(1))
    log = FileLog("/log", rolling_ms=10, storage=storage)
    for time in (0, 20):
        log.write(b"%d" % time, time)
    assert storage.calls == 9  # Twice open, two writes and sync; one close.
    log.clean(15)
    assert "an old log can't be deleted file=/log/log-0-10" in caplog.text
    log.clean(15)
    assert list(log.read_all()) == [b"20"]
    log.close()
    log.clean(1000)

    assert list(log.read_all()) == [b"20"]


def test_cleaning_ends_where_it_fails() -> None:
    """Or a record might outlive what was logged about it later, and be believed again."""
    storage = SimStorage(fail_at={20}, random=Random(0))
    log = FileLog("/log", rolling_ms=10, storage=storage)
    for time in (0, 20, 40, 60):
        log.write(b"%d" % time, time)
    assert storage.calls == 19
    log.clean(55)
    assert list(log.read_all()) == [b"0", b"20", b"40", b"60"]
    log.clean(55)

    assert list(log.read_all()) == [b"60"]


def test_without_sync_records_survive_the_process(tmp_path: Path) -> None:
    """Each is in the file when its write returns; times before 1970 are as good as 0."""
    log = FileLog(str(tmp_path), sync=False)
    log.write(b"a", -5)

    assert list(FileLog(str(tmp_path)).read_all()) == [b"a"]
    log.close()


def test_an_object_store_takes_a_log_of_whole_files() -> None:
    """Appending is refused there, with a hint."""
    uri = "memory://wal-of-objects/log"
    plain = FileLog(uri, failures_max=1)
    with pytest.raises(DurabilityError, match="can't be appended to safely"):
        plain.write(b"a", 0)
    log = FileLog(uri, closes_after_write=True, rolling_ms=10)
    handles = [log.write(record, time) for time, record in enumerate([b"a", b"b"])]
    log.write(b"c", 30)

    assert [log.read(handle) for handle in handles] == [b"a", b"b"]
    assert list(FileLog(uri).read_all()) == [b"a", b"b", b"c"]
    log.clean(20)
    assert list(FileLog(uri).read_all()) == [b"c"]


def test_threads_share_a_log(tmp_path: Path) -> None:
    """Every record is there once, and each handle is its record's."""
    log = FileLog(str(tmp_path), rolling_ms=5, sync=False)
    handles: dict[bytes, LogHandle] = {}

    def write(thread: int) -> None:
        for number in range(20):
            record = b"%d %d" % (thread, number)
            handles[record] = log.write(record, number)

    threads = [threading.Thread(target=write, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()

    assert sorted(log.read_all()) == sorted(handles)
    assert all(log.read(handle) == record for record, handle in handles.items())


def test_a_handle_never_reads_another_record(tmp_path: Path) -> None:
    """Each bit flipped, the file cut at each byte: the record, or an error that names it."""
    log = FileLog(str(tmp_path))
    log.write(b"before", 0)
    handle = log.write(b"mine", 0)
    log.close()
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        segment.write_bytes(flipped)
        if bit // 8 < handle.offset:
            assert log.read(handle) == b"mine"
            continue
        with pytest.raises(DurabilityError, match=segment.name):
            log.read(handle)
    for length in range(len(whole)):
        segment.write_bytes(whole[:length])
        with pytest.raises(DurabilityError, match=segment.name):
            log.read(handle)


_STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 300)),
    st.tuples(st.just("clean"), st.integers(0, 300)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("power failure"), st.just(0)),
)


@given(
    st.lists(_STEPS, max_size=20),
    st.sets(st.integers(1, 60), max_size=3),
    st.integers(0, 9),
)
def test_whatever_happens_what_was_safe_is_read_in_order(
    steps: list[tuple[str, int]], failing: set[int], seed: int
) -> None:
    """Restarts, power failures and failing calls lose nothing; cleaning only what is old."""
    storage = SimStorage(fail_at=failing, random=Random(seed))
    log = FileLog("/log", rolling_ms=50, failures_max=5, storage=storage)
    safe: list[tuple[bytes, int]] = []
    threshold_ms = 0
    for number, (step, time_ms) in enumerate(steps):
        if step == "write":
            log.write(b"%d" % number, time_ms)
            safe.append((b"%d" % number, time_ms))
        elif step == "clean":
            threshold_ms = max(threshold_ms, time_ms)
            log.clean(time_ms)
        else:
            if step == "power failure":
                storage = storage.after_crash()
            log = FileLog("/log", rolling_ms=50, failures_max=5, storage=storage)
    found = list(FileLog("/log", storage=storage.after_crash()).read_all())

    order = [record for record, _ in safe]
    unique = list(dict.fromkeys(found))  # Cutting off may be what fails.
    assert unique == [record for record in order if record in set(found)]
    assert {r for r, time_ms in safe if time_ms >= threshold_ms} <= set(found)
    assert len(found) == len(unique) or len(failing) > 1


def test_a_disk_that_keeps_failing_is_an_error() -> None:
    """After as many tries as the setting says."""
    log = FileLog("/log", failures_max=2, storage=SimStorage(fail_at=range(1, 100)))
    with pytest.raises(OSError, match=r"simulated failure of call 3: .*log-0-60000\.1"):
        log.write(b"x", 0)  # The second call only tidies up after the first.


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    """Cut at each byte, each bit flipped: a prefix of the records, or a named error."""
    log = FileLog(str(tmp_path))
    records = [b"one", b"", b"three"]
    for record in records:
        log.write(record, 0)
    log.close()
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        segment.write_bytes(data)
        try:
            found = list(FileLog(str(tmp_path)).read_all())
        except DurabilityError as error:
            assert segment.name in str(error)
        else:
            assert found == records[: len(found)]
            assert len(found) < len(records)


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 500)), max_size=12),
    st.integers(1, 200),
)
def test_any_records_at_any_times_come_back(
    records: list[tuple[bytes, int]], rolling_ms: int
) -> None:
    """In the order written, whatever their times are."""
    storage = SimStorage()
    log = FileLog("/log", rolling_ms=rolling_ms, storage=storage)
    for record, time in records:
        log.write(record, time)
    expected = [record for record, _ in records]

    assert list(log.read_all()) == expected
    assert list(FileLog("/log", storage=storage).read_all()) == expected


class Gated:
    """A log whose writes wait for the test, and may fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.written: list[tuple[bytes, int]] = []
        self.error: Exception | None = None

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Note it when the gate opens."""
        self.entered.set()
        self.gate.wait()
        if self.error is not None:
            raise self.error
        self.written.append((record, time_ms))
        return LogHandle("file", len(self.written), len(record))

    def read(self, handle: LogHandle) -> bytes:
        """Not asked."""
        raise NotImplementedError

    def read_all(self) -> Iterator[bytes]:
        """Yield what was written."""
        return iter([record for record, _ in self.written])

    def clean(self, threshold_ms: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def in_threads(log: BatchedLog, times: list[int]) -> list[threading.Thread]:
    """Write a record a time, each in a thread of its own, one after the other queued."""
    threads = []
    for time in times:
        thread = threading.Thread(target=log.write, args=(b"%d" % time, time))
        thread.start()
        threads.append(thread)
    return threads


def wait_until_queued(log: BatchedLog, count: int) -> None:
    """Block until so many records wait for the writing thread."""
    with log._changed:
        assert log._changed.wait_for(lambda: len(log._queue) == count, 10)


def test_writers_that_wait_share_a_write() -> None:
    """The first goes alone, those that came meanwhile together, in order of time."""
    inner = Gated()
    log = BatchedLog(inner)
    threads = in_threads(log, [1])
    assert inner.entered.wait(10)
    threads += in_threads(log, [5, 3, 4])
    wait_until_queued(log, 3)
    inner.gate.set()
    for thread in threads:
        thread.join()

    assert [time for _, time in inner.written] == [1, 5]
    assert list(log.read_all()) == [b"1", b"3", b"4", b"5"]
    with pytest.raises(UnsupportedOperationError):
        log.read(LogHandle("file", 0, 1))
    log.close()
    log.close()
    with pytest.raises(IllegalStateError):
        log.write(b"x", 0)


def test_large_records_are_written_alone() -> None:
    """Those between them still share a write; the order stays."""
    inner = Gated()
    log = BatchedLog(inner)
    threads = in_threads(log, [0])
    assert inner.entered.wait(10)
    records = [b"a", b"b", b"L" * 70_000, b"M" * 70_000, b"c", b"d"]
    for time, record in enumerate(records, 1):
        threads.append(threading.Thread(target=log.write, args=(record, time)))
        threads[-1].start()
    wait_until_queued(log, 6)
    inner.gate.set()
    for thread in threads:
        thread.join()

    assert [time for _, time in inner.written] == [0, 2, 3, 4, 6]
    assert list(log.read_all()) == [b"0", *records]
    log.close()


def test_a_group_that_cannot_be_written_fails_everybody() -> None:
    """Each writer sees an error whose cause is the disk's."""
    inner = Gated()
    inner.gate.set()
    inner.error = OSError("disk full")
    log = BatchedLog(inner)
    with pytest.raises(SparkError, match="disk full") as caught:
        log.write(b"x", 0)
    assert caught.value.__cause__ is inner.error
    log.close()


def test_a_writer_waits_only_so_long() -> None:
    """The error says how long, and which settings to look at."""
    inner = Gated()
    log = BatchedLog(inner, timeout_ms=1)
    with pytest.raises(SparkError, match="within 1 ms"):
        log.write(b"x", 0)
    inner.gate.set()
    log.close()


def test_a_writer_that_gives_up_takes_its_record_back() -> None:
    """What the disk hasn't begun to write isn't written; so the queue can't grow."""
    inner = Gated()
    patient, hasty = BatchedLog(inner), BatchedLog(inner)
    first = in_threads(hasty, [1])
    assert inner.entered.wait(10)
    hasty._timeout_ms = 1
    with pytest.raises(SparkError, match="within 1 ms"):
        hasty.write(b"2", 2)
    assert hasty._queue == []
    inner.gate.set()
    first[0].join()
    hasty._timeout_ms = 5000
    patient.write(b"3", 3)

    assert inner.written == [(b"1", 1), (b"3", 3)]
    hasty.close()
    patient.close()


def test_closing_refuses_the_records_that_wait() -> None:
    """The group that is being written is finished; closing again does nothing."""
    inner = Gated()
    log = BatchedLog(inner)
    errors: list[Exception] = []

    def write() -> None:
        try:
            log.write(b"2", 2)
        except IllegalStateError as error:
            errors.append(error)

    first = in_threads(log, [1])
    assert inner.entered.wait(10)
    second = threading.Thread(target=write)
    second.start()
    wait_until_queued(log, 1)
    closing = threading.Thread(target=log.close)
    closing.start()
    second.join()  # Before the disk is done.
    inner.gate.set()
    for thread in (closing, *first):
        thread.join()
    log.close()

    assert [str(error) for error in errors] == ["the log is closed"]
    assert inner.written == [(b"1", 1)]


def test_a_record_that_looks_like_a_group_is_still_one() -> None:
    """Alone or with others; empty ones too."""
    inner = Gated()
    inner.gate.set()
    log = BatchedLog(inner)
    for record in (b"\x00group", b"\x00groupxyz", b"", b"x"):
        log.write(record, 0)

    assert list(log.read_all()) == [b"\x00group", b"\x00groupxyz", b"", b"x"]
    log.close()


def test_a_crash_loses_no_group_that_was_safe() -> None:
    """A crash in the writing thread reaches the writer; a group is whole or not there."""
    written: list[bytes] = []

    def scenario(storage: SimStorage) -> None:
        written.clear()
        log = BatchedLog(FileLog("/log", rolling_ms=10, storage=storage))
        try:
            for number in range(4):
                log.write(b"%d" % number, number * 5)
                written.append(b"%d" % number)
        except SparkError as error:
            assert isinstance(error.__cause__, SimulatedCrashError)
        finally:
            log.close()

    for storage in at_every_crash(scenario):
        found = list(BatchedLog(FileLog("/log", storage=storage)).read_all())
        assert found in (written, [*written, b"%d" % len(written)])


def test_batched_and_plain_logs_read_each_other() -> None:
    """Switching the option over a restart changes nothing."""
    storage = SimStorage()
    plain = FileLog("/log", storage=storage)
    plain.write(b"a", 0)
    plain.write(b"b", 0)
    plain.close()
    log = BatchedLog(FileLog("/log", storage=storage))
    log.write(b"c", 1)
    log.close()

    assert list(BatchedLog(FileLog("/log", storage=storage)).read_all()) == [
        b"a",
        b"b",
        b"c",
    ]


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=5), st.data())
def test_a_group_cut_short_is_a_torn_record(
    records: list[bytes], data: st.DataObject
) -> None:
    """Wherever a crash has cut it: not damage, which would stop the restart."""
    storage = SimStorage()
    FileLog("/log", storage=storage).write(b"before", 1)
    log = FileLog("/log", storage=storage)
    group = _encode([_Waiting(each, 1) for each in records])
    handle = log.write(group, 1)
    with storage.open_input(handle.path) as source:
        whole = source.read()
    cut = data.draw(st.integers(0, len(whole) - 1))
    storage.put_file(handle.path, whole[:cut])

    again = BatchedLog(FileLog("/log", storage=storage))
    assert list(again.read_all()) == [b"before"]


@pytest.mark.parametrize("closes", [False, True])
def test_damage_at_a_segments_end_is_no_torn_record_once_another_follows(
    tmp_path: Path, closes: bool
) -> None:
    """The next one knows how long it was: in the same life, and after a restart."""
    log = FileLog(str(tmp_path), rolling_ms=10, closes_after_write=closes)
    log.write(b"one", 0)
    log.write(b"two", 20)
    log.close()
    again = FileLog(str(tmp_path), rolling_ms=10, closes_after_write=closes)
    assert list(again.read_all()) == [b"one", b"two"]
    again.write(b"three", 40)
    again.close()
    first, second, third = sorted(tmp_path.iterdir())
    for file in (first, second):
        whole = file.read_bytes()
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            with pytest.raises(DurabilityError, match=f"{file.name}' is damaged"):
                list(FileLog(str(tmp_path)).read_all())
        file.write_bytes(whole)
    third.write_bytes(third.read_bytes()[:-1])

    assert list(FileLog(str(tmp_path)).read_all()) == [b"one", b"two"]


def test_what_a_crash_had_torn_before_another_segment_stays_left_out(
    tmp_path: Path,
) -> None:
    """Its mark counts whole records alone; a segment that was cleaned isn't missed."""
    log = FileLog(str(tmp_path), rolling_ms=10)
    log.write(b"one", 0)
    log.write(b"torn", 0)
    log.close()
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    again = FileLog(str(tmp_path), rolling_ms=10)
    assert list(again.read_all()) == [b"one"]
    again.write(b"two", 20)
    assert list(FileLog(str(tmp_path)).read_all()) == [b"one", b"two"]
    again.clean(15)
    again.close()

    assert list(FileLog(str(tmp_path)).read_all()) == [b"two"]


def test_a_record_may_look_like_a_mark(tmp_path: Path) -> None:
    """The first of a log, and others."""
    record = b"\x00millstream-log-after log-0-10 1000"
    log = FileLog(str(tmp_path), rolling_ms=10)
    for time in (0, 0, 20, 20):
        log.write(record, time)
    log.close()

    assert list(FileLog(str(tmp_path)).read_all()) == [record] * 4

"""Tests of engine/sinks/files/sinks.py."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from millstream.engine.base import frames, storage
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.errors import DurabilityError, UsageError
from millstream.engine.sinks.contract import Sink, SinkBatch, StaleRunError
from millstream.engine.sinks.files import parts as file_parts
from millstream.engine.sinks.files.reading import CommittedFiles, read_manifest
from millstream.engine.sinks.files.schema import SchemaError
from millstream.engine.sinks.files.sinks import CsvSink, JsonSink, ParquetSink, TextSink
from millstream.engine.sinks.records import Records
from millstream.testing.sim_storage import (
    SimStorage,
    SimulatedCrashError,
    at_every_crash,
    at_every_failure,
)

OUTPUT = "app.out"


@pytest.fixture(autouse=True)
def _unmounted() -> Iterator[None]:
    yield
    storage._mounted.pop("sim", None)


def batch_of(
    sink: Sink[Any], time_ms: int, parts: Sequence[Sequence[Any]], run: int
) -> bool:
    """Take a batch to a sink as its writer does; say whether it was news."""
    batch = SinkBatch(OUTPUT, time_ms, len(parts), run)
    there = set(sink.begin(batch))
    if len(there) == len(parts):
        return False
    try:
        written = {
            number: frames.loads_function(frames.dumps_function(sink)).write(
                batch, number, Records([list(rows)])
            )
            for number, rows in enumerate(parts)
        }
        sink.commit(batch, written)
    except BaseException:
        sink.abort(batch)
        raise
    return True


def lines_of(uris: Sequence[str]) -> list[str]:
    """Return the lines of text files, wherever they are."""
    found: list[str] = []
    for uri in uris:
        place, path = storage.open_storage(uri)
        with place.open_input(path) as source:
            found += source.read().decode().splitlines()
    return found


def visible(directory: str) -> list[str]:
    """Return the files that a reader finds who knows of no manifest."""
    place, path = storage.open_storage(directory)
    return [
        f"{directory}/{info.name}"
        for info in place.list(path)
        if not info.is_dir and not info.name.startswith(("_", "."))
    ]


def below(directory: Path) -> set[str]:
    """Return the names of all hidden parts."""
    return {each.name for each in directory.glob("_millstream/parts/**/*.part")}


def started(sink: Sink[Any], run: int = 1) -> int:
    """Open a sink; return the run's number."""
    return sink.open(OUTPUT, run).run


# A crash anywhere.


def _life(sink: TextSink, done: list[int], last: int = 6) -> None:
    run = sink.open(OUTPUT, 1).run
    for time in range(1, last + 1):
        batch_of(sink, time * 1000, [[f"{time}-a", f"{time}-b"], [f"{time}-c"]], run)
        done.append(time)
    sink.close()


def _expected(last: int = 6) -> Counter[str]:
    return Counter(f"{time}-{name}" for time in range(1, last + 1) for name in "abc")


def _sim_sink() -> TextSink:
    return TextSink("sim:/out", target_bytes=24, carry_s=1000, grace_s=0)


@pytest.mark.slow
def test_after_a_crash_at_any_step_the_next_run_has_each_record_once() -> None:
    """Those that read the manifest see all; what others see is never there twice."""
    done: list[int] = []

    def scenario(disk: SimStorage) -> None:
        done.clear()
        storage.mount("sim", disk)
        _life(_sim_sink(), done)

    for survived in at_every_crash(scenario):
        storage.mount("sim", survived)
        try:
            seen = Counter(lines_of(read_manifest("sim:/out").paths()))
        except DurabilityError:
            seen = Counter()
        assert max(seen.values(), default=0) <= 1
        assert {f"{time}-a" for time in done} <= seen.keys()
        assert max(Counter(lines_of(_seen("sim:/out"))).values(), default=0) <= 1

        _life(_sim_sink(), [])

        committed = read_manifest("sim:/out")
        assert Counter(lines_of(committed.paths())) == _expected()
        assert Counter(lines_of(_seen("sim:/out"))) == _expected()
        committed.check()


@pytest.mark.slow
def test_after_a_failure_at_any_step_the_batch_can_be_tried_again() -> None:
    """The same run goes on: a call that failed may have had its effect."""

    def scenario(disk: SimStorage) -> None:
        storage.mount("sim", disk)
        sink = _sim_sink()
        run: int | None = None
        for time in range(1, 7):
            parts = [[f"{time}-a", f"{time}-b"], [f"{time}-c"]]
            for _ in range(2):
                try:
                    run = run or sink.open(OUTPUT, 1).run
                    batch_of(sink, time * 1000, parts, run)
                    break
                except (OSError, DurabilityError):
                    continue
        sink.close()

    for survived in at_every_failure(scenario):
        storage.mount("sim", survived)
        assert Counter(lines_of(read_manifest("sim:/out").paths())) == _expected()
        assert max(Counter(lines_of(_seen("sim:/out"))).values()) == 1


def _seen(directory: str) -> list[str]:
    try:
        return visible(directory)
    except FileNotFoundError:
        return []


class FileSinkMachine(RuleBasedStateMachine):
    """Runs, batches, crashes, stale runs, readers and time, beside a list of records."""

    readers: Bundle[tuple[CommittedFiles, Counter[str], int]] = Bundle("readers")

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.clock = ManualClock(1_000_000)
        self.disk = SimStorage(random=Random(seed), now_ms=self.clock.now_ms)
        storage.mount("sim", self.disk)
        self.model: Counter[str] = Counter()
        self.stale: list[tuple[TextSink, int]] = []
        self.time_ms = 0
        self.count = 0
        self.restart()

    def restart(self) -> None:
        self.sink = TextSink("sim:/out", target_bytes=40, carry_s=9, grace_s=60)
        self.sink._clock = self.clock
        opening = self.sink.open(OUTPUT, 1)
        self.run = opening.run

    def records(self, sizes: list[int]) -> list[list[str]]:
        self.count += 1
        return [
            [f"{self.count}.{part}.{number}" for number in range(size)]
            for part, size in enumerate(sizes)
        ]

    @rule(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=3))
    def batch(self, sizes: list[int]) -> None:
        """A batch goes well; asked again it is there, if there was anything in it."""
        parts = self.records(sizes)
        self.time_ms += 1000
        batch_of(self.sink, self.time_ms, parts, self.run)
        self.model.update(record for part in parts for record in part)
        if any(parts):
            assert not batch_of(self.sink, self.time_ms, parts, self.run)

    @rule(
        sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
        crash_at=st.integers(1, 30),
    )
    def crash(self, sizes: list[int], crash_at: int) -> None:
        """A batch doesn't, and the next run takes it again."""
        parts = self.records(sizes)
        self.time_ms += 1000
        storage.mount("sim", disk := self.disk.after_crash(crash_at=crash_at))
        try:
            batch_of(self.sink, self.time_ms, parts, self.run)
            disk.crash("the power fails between batches")
        except SimulatedCrashError:
            pass
        self.disk = disk.after_crash()
        storage.mount("sim", self.disk)
        self.stale.append((self.sink, self.run))
        self.restart()
        batch_of(self.sink, self.time_ms, parts, self.run)
        self.model.update(record for part in parts for record in part)

    @precondition(lambda self: self.stale)
    @rule(which=st.integers(0, 9))
    def zombie(self, which: int) -> None:
        """A run that was replaced writes: it is refused.

        At once, or when it tries again: what it was to merge may be gone.
        """
        sink, run = self.stale[which % len(self.stale)]
        with pytest.raises((StaleRunError, DurabilityError)):
            batch_of(sink, self.time_ms + 500, self.records([2]), run)
        with pytest.raises(StaleRunError):
            batch_of(sink, self.time_ms + 500, self.records([2]), run)

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        """Time passes; what is old is deleted."""
        self.clock.advance(seconds)

    @rule(target=readers)
    def reader_begins(self) -> tuple[CommittedFiles, Counter[str], int]:
        """A reader takes a list of files."""
        now_ms = self.clock.now_ms()
        return read_manifest("sim:/out"), Counter(self.model), now_ms

    @rule(reader=consumes(readers))
    def reader_ends(self, reader: tuple[CommittedFiles, Counter[str], int]) -> None:
        """It reads them, whatever happened meanwhile, if it isn't too late."""
        found, model, began_ms = reader
        if self.clock.now_ms() < began_ms + 60_000:
            assert Counter(lines_of(found.paths())) == model

    @rule()
    def stop(self) -> None:
        """The program ends well, and is started again: everybody sees all of it."""
        self.sink.close()
        assert Counter(lines_of(_seen("sim:/out"))) == self.model
        self.restart()

    @invariant()
    def each_record_is_there_once(self) -> None:
        """For readers of the manifest; and nobody else sees one twice."""
        if not hasattr(self, "sink"):
            return
        found = read_manifest("sim:/out")
        found.check()
        assert Counter(lines_of(found.paths())) == self.model
        assert not Counter(lines_of(_seen("sim:/out"))) - self.model


@pytest.mark.slow
def test_a_file_sink_equals_a_list_of_records() -> None:
    """Through crashes, stale runs, and readers that take their time."""
    run_state_machine_as_test(
        FileSinkMachine, settings=settings(stateful_step_count=25)
    )


# What files look like.


def committed(tmp_path: Path) -> CommittedFiles:
    """Return what is committed to `out`, with every file checked."""
    found = read_manifest(tmp_path / "out")
    found.check()
    return found


def table_of(tmp_path: Path) -> pl.DataFrame:
    """Return the records of Parquet files, as the guide reads them."""
    found = committed(tmp_path)
    return pl.scan_parquet(
        found.paths(),
        schema=found.schema,
        missing_columns="insert",
        hive_partitioning=True,
    ).collect()


def test_small_files_are_hidden_until_the_sink_is_closed(tmp_path: Path) -> None:
    """Readers of the manifest see them at once."""
    sink: ParquetSink[Any] = ParquetSink(tmp_path / "out")
    run = started(sink)
    batch_of(sink, 1000, [[{"n": 1}], [{"n": 2}]], run)

    assert table_of(tmp_path)["n"].sort().to_list() == [1, 2]
    assert [each.is_final for each in committed(tmp_path).files] == [False, False]
    assert list(tmp_path.glob("out/*.parquet")) == []
    assert committed(tmp_path).batches_ms == {OUTPUT: 1000}
    sink.close()
    (large,) = tmp_path.glob("out/*.parquet")
    assert sorted(pl.read_parquet(large)["n"]) == [1, 2]
    assert committed(tmp_path).paths() == [str(large)]
    assert committed(tmp_path).rows() == 2


def test_without_a_target_each_file_is_final(tmp_path: Path) -> None:
    """Then everybody sees a batch when it is committed, in small files."""
    sink: JsonSink[Any] = JsonSink(tmp_path / "out", target_bytes=0)
    batch_of(sink, 1000, [[{"n": 1, "t": "é"}], []], started(sink))

    (only,) = tmp_path.glob("out/*.jsonl")
    assert only.read_text("utf-8") == '{"n":1,"t":"é"}\n'
    assert below(tmp_path / "out") == set()


def test_large_partitions_are_cut_at_the_target(tmp_path: Path) -> None:
    """The rest of each is carried."""
    sink = TextSink(tmp_path / "out", target_bytes=1000)
    batch_of(sink, 1000, [["x" * 99] * 25], started(sink))

    assert [f.size_bytes for f in committed(tmp_path).files if f.is_final] == [1000] * 2
    assert [f.rows for f in committed(tmp_path).files if not f.is_final] == [5]


def test_ten_small_files_become_one_and_old_ones_are_deleted(tmp_path: Path) -> None:
    """With the next batch; a deleted file was out of the manifest for the grace."""
    clock = ManualClock(10_000)
    sink = TextSink(tmp_path / "out", grace_s=50)
    sink._clock = clock
    run = started(sink)
    for number in range(10):
        batch_of(sink, number, [[number]], run)
    small = below(tmp_path / "out")
    assert len(small) == 10
    batch_of(sink, 10, [["last"]], run)

    assert sorted(f.rows for f in committed(tmp_path).files) == [1, 10]
    assert small < below(tmp_path / "out")
    clock.advance(50)
    batch_of(sink, 11, [["purges"]], run)
    assert len(below(tmp_path / "out")) == 3
    expected = sorted([*map(str, range(10)), "last", "purges"])
    assert sorted(lines_of(committed(tmp_path).paths())) == expected


def test_small_files_become_large_when_they_are_old(tmp_path: Path) -> None:
    """Readers that know of no manifest see a record after `carry_s` at most."""
    sink = CsvSink[Any](tmp_path / "out", carry_s=5)
    run = started(sink)
    batch_of(sink, 1000, [[("a", 1)]], run)
    batch_of(sink, 5999, [[("b", 2)]], run)
    assert list(tmp_path.glob("out/*.csv")) == []
    batch_of(sink, 6000, [[("c", 3)]], run)

    (large,) = tmp_path.glob("out/*.csv")
    assert large.read_text().splitlines() == ["_1,_2", "a,1", "b,2"]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bz2", "lz4"])
def test_compressed_files_are_merged(tmp_path: Path, compression: str) -> None:
    """What our own reader of text and others make of them is what was written."""
    sink = CsvSink[Any](tmp_path / "out", compression=compression)
    run = started(sink)
    for number in range(3):
        batch_of(sink, number, [[{"n": number, "t": 'a "b", c'}]], run)
    sink.close()

    (only,) = tmp_path.glob("out/*.csv.*")
    from millstream.engine.base.compression import codec_of, decompressed

    plain = decompressed(io.BytesIO(only.read_bytes()), codec_of(only.name)).read()
    assert pl.read_csv(plain)["t"].to_list() == ['a "b", c'] * 3
    assert pl.read_csv(plain)["n"].sum() == 3


def test_folders_are_named_as_hive_names_them(tmp_path: Path) -> None:
    """Values are quoted; the columns are in the names, and not in the files."""
    sink: ParquetSink[Any] = ParquetSink(
        tmp_path / "out", partition_by=["day", "place"], target_bytes=0
    )
    rows = [
        {"day": "1/2", "n": 1, "place": "x"},
        {"day": None, "n": 2, "place": "y z"},
        {"day": "1/2", "n": 3, "place": "x"},
    ]
    batch_of(sink, 1000, [rows], started(sink))

    folders = {str(p.parent.relative_to(tmp_path)) for p in tmp_path.rglob("*.parquet")}
    assert folders == {
        "out/day=1%2F2/place=x",
        "out/day=__HIVE_DEFAULT_PARTITION__/place=y z",
    }
    assert table_of(tmp_path).sort("n").to_dicts() == [
        {"n": 1, "day": "1/2", "place": "x"},
        {"n": 2, "day": None, "place": "y z"},
        {"n": 3, "day": "1/2", "place": "x"},
    ]


def test_carried_files_have_their_folders_in_their_paths_too(tmp_path: Path) -> None:
    """So a reader of the manifest gets the columns from there."""
    sink: JsonSink[Any] = JsonSink(tmp_path / "out", partition_by="day")
    run = started(sink)
    batch_of(sink, 1000, [[{"day": 1, "n": 1}, {"day": 2, "n": 2}]], run)

    paths = committed(tmp_path).paths()
    assert ["day=1" in path for path in sorted(paths)] == [True, False]
    sink.close()
    assert len(list(tmp_path.glob("out/day=*/*.jsonl"))) == 2


def test_more_folders_than_files_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is closed, and has another file later."""
    monkeypatch.setattr(file_parts, "_OPEN_MAX", 3)
    sink: JsonSink[Any] = JsonSink(tmp_path / "out", partition_by=["k"], target_bytes=0)
    tables = [[{"k": number, "n": number} for number in range(5)]] * 2
    batch = SinkBatch(OUTPUT, 1000, 1, started(sink))
    sink.begin(batch)
    sink.commit(batch, {0: sink.write(batch, 0, Records(tables))})

    assert committed(tmp_path).rows() == 10
    assert len({Path(p).parent for p in committed(tmp_path).paths()}) == 5
    assert len(committed(tmp_path).files) == 10


def test_many_folders_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a limit the file that keeps most is written as far as it is known."""
    monkeypatch.setattr(file_parts, "_KEPT_BYTES", 100)
    sink: ParquetSink[Any] = ParquetSink(tmp_path / "out", partition_by=["k"])
    tables = [[{"k": k, "n": n} for k in (1, 1, 2)] for n in range(10)]
    batch = SinkBatch(OUTPUT, 1000, 1, started(sink))
    sink.begin(batch)
    sink.commit(batch, {0: sink.write(batch, 0, Records(tables))})

    import pyarrow.parquet

    groups = [
        pyarrow.parquet.ParquetFile(each).num_row_groups
        for each in committed(tmp_path).paths()
    ]
    assert min(groups) > 1
    assert table_of(tmp_path).height == 30


# Columns.


def test_new_columns_are_added_and_missing_ones_are_null(tmp_path: Path) -> None:
    """Files have all columns that are known when they are written."""
    sink: ParquetSink[Any] = ParquetSink(tmp_path / "out", target_bytes=0)
    run = started(sink)
    batch_of(sink, 1, [[{"a": 1, "b": None}]], run)
    batch_of(sink, 2, [[{"a": 2, "b": "x"}]], run)
    batch_of(sink, 3, [[{"a": None}]], run)

    assert table_of(tmp_path).sort("a", nulls_last=True).to_dicts() == [
        {"a": 1, "b": None},
        {"a": 2, "b": "x"},
        {"a": None, "b": None},
    ]
    assert committed(tmp_path).schema == {"a": pl.Int64(), "b": pl.String()}
    third = pl.read_parquet(committed(tmp_path).paths()[2])
    assert third.to_dicts() == [{"a": None, "b": None}]
    assert third.schema == {"a": pl.Int64(), "b": pl.String()}


def test_whole_numbers_go_into_columns_of_floats(tmp_path: Path) -> None:
    """Where nothing is lost; else the error names the column and the batch."""
    sink: ParquetSink[Any] = ParquetSink(tmp_path / "out", target_bytes=0)
    run = started(sink)
    batch_of(sink, 1, [[{"a": 1.5}]], run)
    batch_of(sink, 2, [[{"a": 2}]], run)
    assert table_of(tmp_path)["a"].to_list() == [1.5, 2.0]

    for wrong in ("x", 2**53 + 1):
        with pytest.raises(
            SchemaError, match=r"'a' in batch 3 ms of output 'app.out' is"
        ):
            batch_of(sink, 3, [[{"a": 3.0}], [{"a": wrong}]], run)
    assert table_of(tmp_path).height == 2
    assert below(tmp_path / "out") == set()


def test_partitions_that_disagree_are_refused(tmp_path: Path) -> None:
    """A column that is new in a batch has one type in it."""
    sink: JsonSink[Any] = JsonSink(tmp_path / "out")
    run = started(sink)
    with pytest.raises(
        SchemaError, match="Int64 in one partition and String in another"
    ):
        batch_of(sink, 1, [[{"a": 1}], [{"a": "x"}]], run)

    assert batch_of(sink, 1, [[{"a": 1}], [{"a": 2}]], run)
    assert committed(tmp_path).rows() == 2


def test_a_schema_that_is_given_counts(tmp_path: Path) -> None:
    """Files have its columns, in its order; records with others are refused."""
    sink: ParquetSink[Any] = ParquetSink(
        tmp_path / "out", schema={"b": pl.Float64, "a": int}, target_bytes=0
    )
    run = started(sink)
    batch_of(sink, 1, [[{"a": 1}], [{"a": None, "b": 2}]], run)
    assert committed(tmp_path).schema == {"b": pl.Float64(), "a": pl.Int64()}
    assert table_of(tmp_path).columns == ["b", "a"]

    with pytest.raises(
        SchemaError, match=r"column 'c' in batch 2 ms .* isn't in `schema`"
    ):
        batch_of(sink, 2, [[{"a": 1, "c": 1}]], run)
    other: ParquetSink[Any] = ParquetSink(tmp_path / "out", schema={"a": str})
    with pytest.raises(SchemaError, match="Int64 in the files, and String in `schema`"):
        batch_of(other, 2, [[{"a": "x"}]], started(other))


def test_a_column_of_nothing_but_none_needs_a_schema(tmp_path: Path) -> None:
    """Its records would be nowhere."""
    sink: ParquetSink[Any] = ParquetSink(tmp_path / "out")
    with pytest.raises(SchemaError, match=r"column 'a' .* has nothing but None"):
        batch_of(sink, 1, [[{"a": None}]], started(sink))


def test_columns_that_can_not_be_in_csv_are_named(tmp_path: Path) -> None:
    """Lists have no form there, and a line's end in a name none that can be read."""
    sink: CsvSink[Any] = CsvSink(tmp_path / "out")
    run = started(sink)
    with pytest.raises(UsageError, match="can't hold column 'l'"):
        batch_of(sink, 1, [[{"a": 1, "l": [1]}]], run)
    with pytest.raises(UsageError, match=r"can't be called 'a\\n'"):
        batch_of(sink, 1, [[{"a\n": 1}]], run)


def test_values_out_of_bounds_are_refused(tmp_path: Path) -> None:
    """Where the sink is made, or where the records are seen."""
    for wrong in ({"target_bytes": -1}, {"carry_s": -1}, {"grace_s": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            TextSink(tmp_path / "out", **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="compression 'rar' isn't known"):
        JsonSink(tmp_path / "out", compression="rar")
    with pytest.raises(UsageError, match="partitioned by 'x'"):
        JsonSink(tmp_path / "out", schema={"a": int}, partition_by=["x"])
    sink: JsonSink[Any] = JsonSink(tmp_path / "out", partition_by=["a"])
    with pytest.raises(UsageError, match="no other column is left"):
        batch_of(sink, 1, [[{"a": 1}]], started(sink))


# Who may write.


def test_another_format_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """No reader could read both."""
    sink = TextSink(tmp_path / "out", target_bytes=0)
    batch_of(sink, 1, [["a"]], started(sink))
    with pytest.raises(UsageError, match="has other files: 'part-app_out"):
        JsonSink[Any](tmp_path / "out").open(OUTPUT, 5)


def test_two_outputs_share_a_directory(tmp_path: Path) -> None:
    """Each has its own mark, and none waits for the other."""
    one, other = TextSink(tmp_path / "out"), TextSink(tmp_path / "out")
    run = started(one)
    there = other.open("app.other", 7)
    for time in (1, 2):
        batch_of(one, time, [[f"one {time}"]], run)
        batch = SinkBatch("app.other", time, 1, there.run)
        other.begin(batch)
        written = other.write(batch, 0, Records([[f"other {time}"]]))
        other.commit(batch, {0: written})

    found = committed(tmp_path)
    assert found.batches_ms == {OUTPUT: 2, "app.other": 2}
    assert sorted(lines_of(found.paths())) == ["one 1", "one 2", "other 1", "other 2"]


def test_a_run_has_a_higher_number_than_those_before(tmp_path: Path) -> None:
    """Even if the clock went back; and it hears which batch is the newest."""
    sink = TextSink(tmp_path / "out")
    assert sink.open(OUTPUT, 100).newest_ms is None
    batch_of(sink, 7, [["a"]], 100)
    opening = TextSink(tmp_path / "out").open(OUTPUT, 50)

    assert (opening.run, opening.newest_ms) == (101, 7)
    with pytest.raises(StaleRunError):
        batch_of(sink, 8, [["b"]], 100)


def test_what_a_killed_run_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    """Parts without an entry; not those that are carried."""
    sink = TextSink(tmp_path / "out")
    run = started(sink)
    batch_of(sink, 1, [["kept"]], run)
    kept = below(tmp_path / "out")
    batch = SinkBatch(OUTPUT, 2, 1, run)
    sink.begin(batch)
    sink.write(batch, 0, Records([["left"]]))
    assert len(below(tmp_path / "out")) == 2

    started(TextSink(tmp_path / "out"))
    assert below(tmp_path / "out") == kept


def test_an_entry_that_was_accepted_without_an_answer_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own second try is told that there is one: it is ours."""
    sink = TextSink(tmp_path / "out", target_bytes=0)
    run = started(sink)
    log = sink._log
    assert log is not None, "it is open"
    put = log._put

    def put_twice(entry: Any) -> None:
        put(entry)
        put(entry)

    monkeypatch.setattr(log, "_put", put_twice)
    assert batch_of(sink, 1, [["a"], ["b"]], run)
    assert not batch_of(sink, 1, [["a"], ["b"]], run)

    assert sorted(lines_of(committed(tmp_path).paths())) == ["a", "b"]
    assert len(list(tmp_path.glob("out/*.txt"))) == 2


def test_files_get_their_names_from_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run was killed between the entry and the names; readers find them before."""
    sink = TextSink(tmp_path / "out", target_bytes=0)
    run = started(sink)
    with monkeypatch.context() as killed:
        killed.setattr(sink, "_place", lambda *_: None)
        batch_of(sink, 1, [["a"], ["b"]], run)
    assert list(tmp_path.glob("out/*.txt")) == []
    assert sorted(lines_of(committed(tmp_path).paths())) == ["a", "b"]

    started(TextSink(tmp_path / "out"))
    paths = committed(tmp_path).paths()
    assert sorted(map(str, tmp_path.glob("out/*.txt"))) == sorted(paths)
    assert sorted(lines_of(paths)) == ["a", "b"]


def test_a_file_that_was_written_where_nobody_sees_it_is_named(tmp_path: Path) -> None:
    """By a task on another machine, to its own disk."""
    sink = TextSink(tmp_path / "out", target_bytes=0)
    batch = SinkBatch(OUTPUT, 1, 1, started(sink))
    sink.begin(batch)
    written = sink.write(batch, 0, Records([["a"]]))
    (part,) = (tmp_path / "out").glob("_millstream/parts/*/*.part")
    part.unlink()
    with pytest.raises(DurabilityError, match="was written, and is gone"):
        sink.commit(batch, {0: written})


def test_a_batch_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """Neither open files, nor those that were complete."""

    def rows() -> Iterator[Any]:
        yield from ({"n": n, "k": n % 3} for n in range(100))
        msg = "the source is gone"
        raise ValueError(msg)

    sink: ParquetSink[Any] = ParquetSink(
        tmp_path / "out", partition_by=["k"], target_bytes=600
    )
    batch = SinkBatch(OUTPUT, 1, 2, started(sink))
    sink.begin(batch)
    sink.write(batch, 0, Records([[{"n": 1, "k": 1}]]))
    with pytest.raises(ValueError, match="the source is gone"):
        sink.write(batch, 1, Records([rows()]))
    sink.abort(batch)

    assert below(tmp_path / "out") == set()
    assert [p.name for p in (tmp_path / "out").rglob(".tmp*")] == []


def test_batches_without_records_leave_nothing(tmp_path: Path) -> None:
    """No file and no entry."""
    sink: ParquetSink[Any] = ParquetSink(tmp_path / "out")
    run = started(sink)
    number = committed(tmp_path).number
    assert batch_of(sink, 1, [[], []], run)
    assert committed(tmp_path).number == number
    assert committed(tmp_path).files == ()


def test_damage_is_found(tmp_path: Path) -> None:
    """By who checks, and by a merge, which would make it whole again."""
    sink = TextSink(tmp_path / "out")
    run = started(sink)
    batch_of(sink, 1, [["abc"]], run)
    (part,) = (tmp_path / "out").glob("_millstream/parts/*/*.part")
    part.write_text("abd\n")
    with pytest.raises(DurabilityError, match=f"{part.name}' isn't what was written"):
        read_manifest(tmp_path / "out").check()
    part.unlink()
    with pytest.raises(DurabilityError, match=f"{part.name}' is gone"):
        read_manifest(tmp_path / "out").check()


def test_a_sink_that_can_not_merge_at_its_end_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is carried stays committed."""
    sink = TextSink(tmp_path / "out")
    batch_of(sink, 1, [["abc"]], started(sink))
    started(TextSink(tmp_path / "out"), 5)
    sink._manifest = None
    sink.close()
    assert caplog.text == ""  # Another run has taken over, and merges it.

    sink = TextSink(tmp_path / "out")
    started(sink, 9)
    (part,) = (tmp_path / "out").glob("_millstream/parts/*/*.part")
    part.write_text("abd\n")
    sink.close()
    assert "small files stay small until the next run" in caplog.text

"""Stories of damage: a file cut short or changed gives the newest valid state, or a name."""

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.thoroughness import IS_THOROUGH, tries

from millstream.engine.base.errors import MillstreamError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable import object_files, state_frames
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.log_segments import HEADER_BYTES, whole_frames
from millstream.engine.jobs import checkpoints
from millstream.engine.streams.opening import state_file_names
from millstream.streaming import restoring
from millstream.streaming.receiver import Receiver
from millstream.streaming.state import StateSpec
from millstream.testing import StreamHarness
from millstream.testing.sim_storage import SimStorage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BATCHES = 14
WAITING = [["waits"], ["waits", "last"]]
"""The blocks that no batch owns when the stream crashes for the last time."""
LIVE: dict[str, "Tap"] = {}
SEEN: dict[str, dict[int, list[Any]]] = {}
"""What each output saw last of each batch."""


class Tap(Receiver[str]):
    """A receiver that does nothing by itself."""

    def __init__(self) -> None:
        super().__init__(StorageLevel.MEMORY_ONLY)

    def onStart(self) -> None:
        """Let the test find it."""
        LIVE["tap"] = self

    def onStop(self) -> None:
        """Do nothing."""


class Seen:
    """An output operation that notes what it sees."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, time: Any, rdd: Any) -> None:
        ms = round(time.timestamp() * 1000)
        SEEN.setdefault(self.name, {})[ms] = sorted(rdd.collect())


def pair(word: str) -> tuple[str, int]:
    """Return a word that counts as one."""
    return word, 1


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def subtract(a: int, b: int) -> int:
    """Take away again."""
    return a - b


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def number(word: str, one: int, state: Any) -> tuple[str, int]:
    """Number the occurrences of a word."""
    state.update((state.getOption() or 0) + one)
    return word, state.get()


def setup(h: StreamHarness) -> None:
    """Keep every kind of thing that is kept: two states, a window, received blocks."""
    words = h.ssc.receiverStream(Tap())
    pairs = words.map(pair)
    words.foreachRDD(Seen("words"))
    totals = pairs.updateStateByKey(count, 2)
    totals.checkpoint(1)  # It is remembered for two batches, and older ones merged.
    totals.foreachRDD(Seen("totals"))
    numbers = pairs.mapWithState(StateSpec.function(number).numPartitions(2))
    numbers.checkpoint(1)
    numbers.foreachRDD(Seen("numbers"))
    window = pairs.reduceByKeyAndWindow(add, subtract, 100, 1, 2)
    window.checkpoint(2)
    window.foreachRDD(Seen("window"))


CONF = {
    "spark.streaming.receiver.writeAheadLog.enable": "true",
    "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs": "3",
    "spark.streaming.driver.writeAheadLog.rollingIntervalSecs": "3",
    "spark.streaming.sessionByKey.deltaChainThreshold": "2",
}


def started(h: StreamHarness) -> Tap:
    """Start the harness and return its tap."""
    LIVE.clear()
    h._start()
    while "tap" not in LIVE:
        h.clock.wait_until_someone_waits(0.01)
    return LIVE["tap"]


@dataclass(frozen=True)
class Fixture:
    """A directory as a crash left it, and a copy of it."""

    directory: Path
    pristine: Path
    now_ms: int
    expected: Counter[str]

    def files(self, pattern: str) -> list[Path]:
        """Return files of the directory, each with bytes in it."""
        found = [
            self.directory / file.relative_to(self.pristine)
            for file in self.pristine.glob(pattern)
            if file.is_file() and file.stat().st_size
        ]
        return sorted(found)

    def read(self, file: Path) -> bytes:
        """Return what a file had in it at first."""
        return (self.pristine / file.relative_to(self.directory)).read_bytes()

    def reset(self) -> None:
        """Make the directory as it was."""
        shutil.rmtree(self.directory)
        shutil.copytree(self.pristine, self.directory)

    def restored(self) -> Counter[str]:
        """Restart from the directory, run two batches, and return the totals.

        Raises:
            MillstreamError: What a program would see.
        """
        SEEN.clear()
        with StreamHarness(checkpoint=str(self.directory), conf=CONF, setup=setup) as h:
            h.clock.set_ms(self.now_ms)
            h.restart()
            h.run(2)
        last = max(SEEN["totals"])
        totals = Counter(dict(SEEN["totals"][last]))
        assert SEEN["window"][last] == SEEN["totals"][last], "the window has others"
        for time, words in SEEN["words"].items():
            known = dict(SEEN["totals"][time])
            numbers = sorted(
                (word, known[word] - n)
                for word in set(words)
                for n in range(words.count(word))
            )
            assert sorted(SEEN["numbers"][time]) == numbers, "the states differ"
        return totals


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Fixture:
    """Run a stream that crashes twice, in the middle and at the end."""
    base = tmp_path_factory.mktemp("damage")
    directory = base / "checkpoint"
    expected: Counter[str] = Counter()

    def store(tap: Tap, *words: str) -> None:
        tap.store(list(words))
        expected.update(words)

    with StreamHarness(checkpoint=str(directory), conf=CONF, setup=setup) as h:
        tap = started(h)
        for batch in range(BATCHES):
            if batch == BATCHES // 2:
                store(tap, "between")
                h.crash()
                h.restart()
                tap = started(h)
            store(tap, "every", f"batch-{batch}")
            store(tap, "every")
            h.run(1)
        for block in WAITING:
            store(tap, *block)
        h.crash()
        now_ms = h.clock.now_ms()
    shutil.copytree(directory, base / "pristine")
    return Fixture(directory, base / "pristine", now_ms, expected)


Damage = tuple[str, bytes]


def cut(data: bytes, size: int) -> Damage:
    """Return what is left of a file that was cut short."""
    return f"cut to {size} of {len(data)} bytes", data[:size]


def flipped(data: bytes, bit: int) -> Damage:
    """Return a file with one bit flipped."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return f"bit {bit % 8} of byte {bit // 8} flipped", bytes(changed)


def damages(
    data: bytes, bits: Iterable[int] | None = None, step: int = 1
) -> Iterator[Damage]:
    """Yield the file cut at each byte, and with each bit flipped, or those of `bits`.

    Of `step` sizes next to each other only one is tried.
    """
    for size in range(0, len(data), step):
        yield cut(data, size)
    for bit in range(8 * len(data)) if bits is None else bits:
        yield flipped(data, bit)


def one_bit_a_byte(data: bytes, rng: random.Random, step: int = 1) -> list[int]:
    """Return a bit of each byte, or of one of `step` bytes."""
    return [8 * byte + rng.randrange(8) for byte in range(0, len(data), step)]


def refused(read: Callable[[], object], path: str) -> bool:
    """Say whether reading raises an error of ours that names the file."""
    try:
        read()
    except MillstreamError as error:
        return path in told(error)
    return False


def told(error: BaseException) -> str:
    """Return all that an error says, with its hints and causes."""
    said = [str(error), *getattr(error, "__notes__", [])]
    return "\n".join(said) + ("" if error.__cause__ is None else told(error.__cause__))


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Log nothing: it would be a warning for each of many thousand damages."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
def test_no_damaged_checkpoint_is_read(fixture: Fixture) -> None:
    """A bit of each byte of the newest; a thorough run tries all bits of the two newest.

    And one a byte of the others, of which else some bytes do: they are made like it.
    """
    rng, disk = random.Random(1), SimStorage()
    files = fixture.files("checkpoint-*")
    assert len(files) == 10
    for index, file in enumerate(reversed(files)):
        data, path = fixture.read(file), f"/c/{file.name}"
        checkpoints = CheckpointFiles("/c", storage=disk)

        def read(checkpoints: CheckpointFiles = checkpoints) -> object:
            return checkpoints.newest(restoring._decode)

        disk.write_atomic(path, data)
        assert read() is not None
        step = tries(1 if index == 0 else 16, 1)
        are_all = IS_THOROUGH and index <= 1
        bits = None if are_all else one_bit_a_byte(data, rng, step)
        for what, damaged in damages(data, bits, step):
            disk.write_atomic(path, damaged)
            assert refused(read, path), f"{file.name} {what}"
        disk.delete(path)


@pytest.mark.usefixtures("_quiet")
def test_no_damaged_state_is_read(fixture: Fixture) -> None:
    """Deltas, merged ones and snapshots: each bit."""
    files = fixture.files("state/*/*.arrow")
    assert {file.name.partition("-")[0] for file in files} == {"delta", "snapshot"}
    for file in files:
        data, name = fixture.read(file), str(file)
        assert state_frames.decode(data, name).keys
        for what, damaged in damages(data):

            def read(damaged: bytes = damaged, name: str = name) -> object:
                return state_frames.decode(damaged, name)

            assert refused(read, name), f"{name} {what}"


@pytest.mark.usefixtures("_quiet")
def test_no_damaged_rdd_is_read(fixture: Fixture) -> None:
    """What was checkpointed of a window: its partitions and its partitioner."""
    files = fixture.files("*/rdd-*/*")
    assert {file.name for file in files} == {
        "part-00000",
        "part-00001",
        "_partitioner",
        "_count",
    }
    for file in files:
        data, disk = fixture.read(file), SimStorage()
        path = f"/rdd/{file.name}"

        def read(disk: SimStorage = disk, path: str = path) -> object:
            if not path.startswith("/rdd/part"):
                return checkpoints.read_one(disk, path)
            return list(object_files.read_rows(disk, path))

        disk.write_atomic(path, data)
        read()
        for what, damaged in damages(data):
            disk.write_atomic(path, damaged)
            assert refused(read, path), f"{path} {what}"


def spans(data: bytes) -> list[tuple[int, int]]:
    """Return where each record of a log's segment begins and ends."""
    found, position = [], 0
    for payload in whole_frames(data, "whole"):
        end = position + HEADER_BYTES + len(payload)
        found.append((position, end))
        position = end
    assert position == len(data), "the fixture is whole"
    return found


@pytest.mark.usefixtures("_quiet")
def test_a_log_loses_its_torn_end_and_nothing_else(fixture: Fixture) -> None:
    """A record that is damaged in the middle is an error: whole ones follow it."""
    for file in fixture.files("received*/**/log-*"):
        data, name = fixture.read(file), str(file)
        records, ends = list(whole_frames(data, name)), [end for _, end in spans(data)]
        for size in range(len(data)):
            whole = sum(end <= size for end in ends)
            assert list(whole_frames(data[:size], name)) == records[:whole]
        for bit in range(8 * len(data)):
            what, damaged = flipped(data, bit)
            if bit // 8 >= ends[-1] - (len(records[-1]) + HEADER_BYTES):
                assert list(whole_frames(damaged, name)) == records[:-1], what
            else:

                def read(damaged: bytes = damaged, name: str = name) -> object:
                    return list(whole_frames(damaged, name))

                assert refused(read, name), f"{name} {what}"


def outcome(fixture: Fixture, file: Path, damaged: bytes | None) -> Counter[str] | str:
    """Return the totals after a restart with a damaged file, or what the error says."""
    fixture.reset()
    if damaged is None:
        file.unlink()
    else:
        file.write_bytes(damaged)
    try:
        return fixture.restored()
    except MillstreamError as error:
        return told(error)


def samples(data: bytes, rng: random.Random) -> list[Damage]:
    """Return some ways to damage a file."""
    bits = 8 * len(data)
    return [
        cut(data, 0),
        cut(data, rng.randrange(len(data))),
        flipped(data, rng.randrange(bits)),
    ]


def needed_by_all(fixture: Fixture) -> set[str]:
    """Return the files of states that every checkpoint reads, as far as it goes back."""
    checkpoints = CheckpointFiles(str(fixture.pristine))
    names = []
    for file in checkpoints.files():
        manifest = restoring._decode(checkpoints.read(file)).manifest
        states = manifest.states.values()
        names.append({name for each in states for name in state_file_names(each)})
    return set.intersection(*names)


KINDS = {
    "checkpoint": "checkpoint-*",
    "state": "state/*/*.arrow",
    "rdd": "*/rdd-*/*",
    "received data": "receivedData/*/log-*",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_finds_the_newest_valid_state_or_names_the_file(
    fixture: Fixture, kind: str
) -> None:
    """Whichever file is damaged or missing, wherever: never a wrong answer."""
    rng = random.Random(kind)
    answers = Counter[str]()
    # Else there is a checkpoint that does without the file.
    only = {file.name for file in fixture.files(KINDS["received data"])}
    only |= needed_by_all(fixture)
    files = fixture.files(KINDS[kind])
    for file in rng.sample(files, min(tries(6, 10), len(files))):
        data = fixture.read(file)
        for what, damaged in [*samples(data, rng), ("missing", None)]:
            found = outcome(fixture, file, damaged)
            if isinstance(found, str):
                assert file.name in found, f"{file} {what}: {found}"
                assert file.name in only, f"{file} {what}: older ones would do"
                answers["named"] += 1
            else:
                assert found == fixture.expected, f"{file} {what}"
                answers["right"] += 1
    assert answers["right"]
    assert bool(answers["named"]) == (kind in ("state", "received data"))


def test_a_damaged_ledger_loses_its_torn_end_or_is_named(fixture: Fixture) -> None:
    """Blocks that no batch owns yet may be lost with the end; nothing counts twice."""
    rng = random.Random(2)
    segments = fixture.files("receivedBlockMetadata/log-*")
    assert len(segments) > 3
    newest = max(segments, key=lambda each: int(each.name.split("-")[1]))
    answers = Counter[str]()
    for file in segments:
        data = fixture.read(file)
        bits = [rng.randrange(8 * len(data)) for _ in range(4)]
        sizes = [rng.randrange(len(data)) for _ in range(4)]
        ends = [end for _, end in spans(data)]
        for what, damaged in [
            *samples(data, rng),
            *(flipped(data, bit) for bit in bits),
            *(cut(data, size) for size in [*sizes, *ends[:-1]]),
        ]:
            found = outcome(fixture, file, damaged)
            if isinstance(found, str):
                named = file.name in found or file.parent.name in found
                assert named, f"{file} {what}: {found}"
                answers["named"] += 1
                continue
            expected = fixture.expected
            if file == newest:
                lost = lost_at_the_end(data, damaged)
                assert len(lost) <= len(WAITING), f"{file} {what}: a batch was lost"
                for block in WAITING[len(WAITING) - len(lost) :]:
                    expected = expected - Counter(block)
            assert found == expected, f"{file} {what}"
            answers["right"] += 1
    assert answers["right"]
    assert answers["named"]


def lost_at_the_end(data: bytes, damaged: bytes) -> list[bytes]:
    """Return the records of a segment that damage to it has taken."""
    whole = list(whole_frames(data, "whole"))
    return whole[len(list(whole_frames(damaged, "damaged"))) :]

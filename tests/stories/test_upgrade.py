"""Stories of upgrades: a changed program goes on where another one was."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millstream import SparkConf, SparkContext
from millstream.engine.base.errors import (
    IllegalStateError,
    PySparkTypeError,
    PySparkValueError,
    SparkError,
)
from millstream.streaming import StreamingContext
from millstream.streaming.receiver import Receiver
from millstream.streaming.restoring import Upgrade
from millstream.streaming.state import State, StateSpec
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow

Setup = Callable[[StreamHarness], Any]


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def last(h: StreamHarness, name: str) -> list[Any]:
    """Return the newest output, sorted."""
    return sorted(h.output(name).records[-1])


def pairs(h: StreamHarness) -> Any:
    """Return words with ones, batch by batch."""
    return h.stream([["a", "b"], ["a"], ["c"], ["a"], []]).map(lambda w: (w, 1))


def words_only(h: StreamHarness) -> None:
    """Count words."""
    h.collect(pairs(h).updateStateByKey(count).named("counts"), "state")


def files_of(directory: Path) -> dict[str, bytes | None]:
    """Return every file and directory below one, with its content."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


# What "apply" keeps.


@pytest.mark.slow
def test_changed_code_keeps_state_and_the_grid(checkpoint: str) -> None:
    """Steps come, functions change, an output goes: the state goes on, on the old grid."""

    def doubled(h: StreamHarness) -> None:
        louder = pairs(h).filter(bool).mapValues(lambda n: n * 10)
        h.collect(louder.updateStateByKey(count).named("counts"), "state")
        h.collect(louder.count(), "new output")

    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(2)
        assert last(h, "state") == [("a", 2), ("b", 1)]
        h.crash()
        h.restart(doubled, upgrade="apply")
        h.run(1)

        # Batch 2 runs again, from the state before it; its input script starts anew.
        assert h.output("state").times_ms == [1000, 2000, 2000, 3000]
        assert h.output("state").records[2] == [("a", 11), ("b", 1)]
        assert last(h, "state") == [("a", 11), ("b", 1), ("c", 10)]
        assert h.output("new output").times_ms == [2000, 3000]


def test_pending_batches_run_again_with_the_new_functions(checkpoint: str) -> None:
    """A batch that failed under the old program is done by the new one."""

    def breaks(h: StreamHarness) -> None:
        stream = h.stream([[1], [0], [2]])
        h.collect(stream.map(lambda n: 6 // n), "quotients")

    def works(h: StreamHarness) -> None:
        stream = h.stream([[1], [0], [2]])
        h.collect(stream.map(lambda n: 6 // n if n else -1), "quotients")

    with StreamHarness(checkpoint=checkpoint, setup=breaks) as h:
        h.run(1)
        with pytest.raises(Exception, match="ZeroDivisionError"):
            h.run(1)
        h.run(1)
        h.crash()
        h.restart(works, upgrade="apply")
        h.run(1)

        assert h.output("quotients").times_ms == [1000, 3000, 2000, 3000, 4000]
        assert h.output("quotients").records[2] == [-1]


def test_a_source_keeps_its_position(checkpoint: str, tmp_path: Path) -> None:
    """Files of a batch stay that batch's, whatever is done with them now."""
    folder = tmp_path / "in"
    folder.mkdir()

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.textFileStream(str(folder)), "lines")

    def changed(h: StreamHarness) -> None:
        h.collect(h.ssc.textFileStream(str(folder)).map(str.upper), "lines")

    def put(name: str, time_s: float) -> None:
        (folder / name).write_text(name + "\n")
        os.utime(folder / name, (time_s, time_s))

    with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
        put("one", 0.5)
        h.run(1)
        put("two", 1.5)
        h.run(1)
        h.crash()
        put("late", 1.6)
        h.restart(changed, upgrade="apply")
        h.run(1)

        assert h.output("lines").records == [["one"], ["two"], ["TWO"], ["LATE"]]


@pytest.mark.slow
def test_a_state_that_is_new_begins_with_the_batch_that_runs_again(
    checkpoint: str,
) -> None:
    """However long the grid has gone on: no batch before it is made."""
    asked: list[float] = []

    def noting(time: Any, rdd: Any) -> Any:
        asked.append(time.timestamp())
        return rdd

    def also(h: StreamHarness) -> None:
        words_only(h)
        stream = h.stream([]).named("other").transform(noting)
        keyed = stream.map(lambda w: (w, 1)).updateStateByKey(
            count, initialRDD=[("x", 5)]
        )
        h.collect(keyed.named("more").window(3, 1), "more")

    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(30)
        h.crash()
        h.restart(also, upgrade="apply")
        h.run(1)

        assert asked == [30, 31]
        assert h.output("more").times_ms == [30_000, 31_000]
        assert last(h, "more") == [("x", 5), ("x", 5)]
        h.crash()
        h.restart()
        h.run(1)
        assert h.ssc.state("more").get("x") == 5


@pytest.mark.parametrize("partitions", [1, 2, 7])
@pytest.mark.parametrize("keys", ["text", "pickled"])
@pytest.mark.slow
def test_state_moves_to_its_partitions(
    checkpoint: str, partitions: int, keys: str
) -> None:
    """Another number of them, another function: every key is found, and only once."""

    def setup_with(number: int, function: Callable[[Any], int] | None) -> Setup:
        def setup(h: StreamHarness) -> None:
            words = [f"w{n}" for n in range(20)]
            batches = [words, words[:3], ["w1"], ["w1", "w19"], []]
            stream = h.stream(batches, 2)
            is_text = keys == "text"
            keyed = stream.map(lambda w: (w, 1) if is_text else ((w, w), 1))
            how = {} if function is None else {"partitionFunc": function}
            state = keyed.updateStateByKey(count, number, **how)  # type: ignore[arg-type]
            h.collect(state.named("counts"), "state")

        return setup

    def first_letter_last(key: Any) -> int:
        return int(str(key).strip("()',")[-1:])

    with StreamHarness(checkpoint=checkpoint, setup=setup_with(3, None)) as h:
        h.run(3)
        before = dict(h.output("state").records[-1])
        h.crash()
        h.restart(setup_with(partitions, None), upgrade="apply")
        h.run(1)
        assert dict(h.output("state").records[-2]) == before
        after = dict(last(h, "state"))
        assert len(h.output("state").partitions[-1]) == partitions
        assert len(last(h, "state")) == len(after) == 20
        assert sum(after.values()) == sum(before.values()) + 2
        h.crash()
        h.restart(setup_with(partitions, first_letter_last), upgrade="apply")
        h.run(1)
        assert dict(last(h, "state")) == after
        for key, state in after.items():
            assert h.ssc.state("counts").get(key) == state


def track(key: str, value: int | None, state: State) -> tuple[str, int]:
    """Count with mapWithState."""
    total = (state.getOption() or 0) + (value or 0)
    if not state.isTimingOut():
        state.update(total)
    return key, total


def test_mapped_state_moves_and_keeps_its_time_stamps(checkpoint: str) -> None:
    """Idle keys time out when they would have without the upgrade (semantics M-9)."""

    def setup_with(number: int) -> Setup:
        def setup(h: StreamHarness) -> None:
            batches = [["a", "b", "c"], [], ["c"], [], [], []]
            spec = StateSpec.function(track).numPartitions(number)
            mapped = h.stream(batches).map(lambda w: (w, 1))
            out = mapped.mapWithState(spec.timeout(2.5, exact=True)).named("seen")
            h.collect(out, "mapped")

        return setup

    with StreamHarness(checkpoint=checkpoint, setup=setup_with(2)) as h:
        h.run(3)
        h.crash()
        h.restart(setup_with(5), upgrade="apply")
        h.run(1)
        assert last(h, "mapped") == [("a", 1), ("b", 1)]
        assert dict(h.ssc.state("seen").items()) == {"c": 2}


def test_windows_are_made_anew_from_what_sources_remember(
    checkpoint: str, tmp_path: Path
) -> None:
    """Values of the old functions and of the new ones are never mixed in one window."""
    folder = tmp_path / "in"
    folder.mkdir()

    def setup_with(factor: int) -> Setup:
        def setup(h: StreamHarness) -> None:
            lines = h.ssc.textFileStream(str(folder))
            keyed = lines.map(lambda line: (line, factor))
            window = keyed.reduceByKeyAndWindow(
                lambda a, b: a + b, lambda a, b: a - b, 6, 1
            )
            h.collect(window.filter(lambda pair: pair[1]), "window")

        return setup

    with StreamHarness(checkpoint=checkpoint, setup=setup_with(1)) as h:
        for batch in range(1, 13):
            path = folder / f"file-{batch}"
            path.write_text("x\n")
            os.utime(path, (batch - 0.5, batch - 0.5))
            h.run(1)
        assert last(h, "window") == [("x", 6)]
        h.crash()
        h.restart(setup_with(100), upgrade="apply")
        h.run(1)
        # Six files in batch 12, five of them and none new in batch 13.
        assert h.output("window").records[-2:] == [[("x", 600)], [("x", 500)]]
        h.run(5)
        assert last(h, "window") == []


def test_there_is_a_way_back(checkpoint: str) -> None:
    """Checkpoints of before the upgrade stay good until they are rotated away."""

    def moved(h: StreamHarness) -> None:
        # Negative counts, in other partitions: nothing the old program would write.
        state = pairs(h).updateStateByKey(lambda new, old: (old or 0) - 10, 5)
        h.collect(state.named("counts"), "state")

    conf = {"spark.streaming.sessionByKey.deltaChainThreshold": "1"}
    with StreamHarness(checkpoint=checkpoint, setup=words_only, conf=conf) as h:
        h.run(4)
        before = last(h, "state")
        h.crash()
        h.restart(moved, upgrade="apply")
        h.run(2)
        assert any(count < 0 for _, count in last(h, "state"))
        h.crash()
        for path in Path(checkpoint).glob("checkpoint-*"):
            if not path.name.startswith(
                ("checkpoint-1", "checkpoint-2", "checkpoint-3")
            ):
                path.unlink()
        h.restart(words_only)
        h.run(1)
        assert last(h, "state") == before == [("a", 3), ("b", 1), ("c", 1)]


# What it refuses.


def renamed(h: StreamHarness) -> None:
    """Count words under another name."""
    h.collect(pairs(h).updateStateByKey(count).named("totals"), "state")


def test_state_is_dropped_only_when_that_is_allowed(checkpoint: str) -> None:
    """The error names the state and both ways out; nothing has changed by then."""
    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(2)
        h.crash()
        before = {n: c for n, c in files_of(Path(checkpoint)).items() if c is not None}
        with pytest.raises(SparkError, match="drop the state of 'counts'") as caught:
            h.restart(renamed, upgrade="apply")
        assert "allow_drop=['counts']" in str(caught.value.hint)
        assert ".named(...)" in str(caught.value.hint)
        after = {n: c for n, c in files_of(Path(checkpoint)).items() if c is not None}
        assert after == before

        h.restart(renamed, upgrade="apply", allow_drop=["counts"])
        h.run(1)
        assert last(h, "state") == [("a", 1), ("c", 1)]


@pytest.mark.slow
def test_a_name_once_dropped_may_stay_in_allow_drop(checkpoint: str) -> None:
    """The very same program restarts, with "apply", again and again; misspelt names don't."""
    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(1)
        for _ in range(3):
            h.crash()
            h.restart(renamed, upgrade="apply", allow_drop=["counts"])
            h.run(1)
        h.crash()
        with pytest.raises(PySparkValueError, match="allow_drop names 'cuonts'") as e:
            h.restart(renamed, upgrade="apply", allow_drop=["counts", "cuonts"])
        assert "it has 'scripted', 'totals'" in str(e.value.hint)


def test_another_kind_of_state_is_another_state(checkpoint: str) -> None:
    """Under the same name it is incompatible; allowed to be dropped, it starts empty."""

    def other(h: StreamHarness) -> None:
        mapped = pairs(h).mapWithState(StateSpec.function(track)).named("counts")
        h.collect(mapped, "mapped")

    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(2)
        h.crash()
        with pytest.raises(SparkError, match="would drop 'counts'") as caught:
            h.restart(other, upgrade="apply")
        assert "'counts' was a updateStateByKey, and is a mapWithState now" in str(
            caught.value.hint
        )
        h.restart(other, upgrade="apply", allow_drop=["counts"])
        h.run(1)
        assert h.output("mapped").records == [[("a", 1)], [("c", 1)]]
        states = Path(checkpoint) / "state"
        assert len(list(states.iterdir())) == 2  # An older checkpoint needs the first.
        h.run(10)
        (left,) = states.iterdir()
        assert left.name.endswith("-2")
        h.crash()
        h.restart()
        h.run(1)
        assert dict(h.ssc.state("counts").items()) == {"a": 2, "c": 1}


def test_another_batch_duration_is_refused(checkpoint: str) -> None:
    """Nothing allows it: the grid of a checkpoint can't change."""
    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(1)
        h.crash()
        h._batch = 2.0
        with pytest.raises(SparkError, match="can't take over") as caught:
            h.restart(words_only, upgrade="apply", allow_drop=["counts"])
        assert "batches were 1000 ms, and are 2000 ms now" in str(caught.value.hint)


def two_states(h: StreamHarness, order: list[str], *, names: bool = False) -> None:
    """Keep two states of one kind from one source, made in some order."""
    stream = h.stream([["a", "b"], ["a"], []])
    steps = {
        "ones": stream.map(lambda w: (w, 1)),
        "hundreds": stream.map(lambda w: (w, 100)),
    }
    for kind in order:
        state = steps[kind].updateStateByKey(count)
        if names:
            number = "" if kind == "ones" else "#2"
            state.named(f"updateStateByKey(scripted){number}")
        h.collect(state, kind)


def as_it_was(h: StreamHarness) -> None:
    """Make one before the other."""
    two_states(h, ["ones", "hundreds"])


def swapped(h: StreamHarness) -> None:
    """Make them the other way round."""
    two_states(h, ["hundreds", "ones"])


def settled(h: StreamHarness) -> None:
    """Say which is which."""
    two_states(h, ["hundreds", "ones"], names=True)


def only_one(h: StreamHarness) -> None:
    """Keep one of them, nobody knows which."""
    two_states(h, ["hundreds"])


def test_states_that_only_their_order_tells_apart_must_be_named(
    checkpoint: str,
) -> None:
    """Swapped lines would swap the states in silence. A name settles it."""
    with StreamHarness(checkpoint=checkpoint, setup=as_it_was) as h:
        h.run(1)
        h.crash()
        h.restart(as_it_was, upgrade="apply")  # The same code: in the same order.
        h.run(1)
        h.crash()
        for changed in (swapped, only_one):
            with pytest.raises(SparkError, match="only their order tells") as caught:
                h.restart(changed, upgrade="apply")
            assert ".named('updateStateByKey(scripted)')" in str(caught.value.hint)
        h.restart(settled, upgrade="apply")
        h.run(1)

        assert last(h, "ones") == [("a", 2), ("b", 1)]
        assert last(h, "hundreds") == [("a", 200), ("b", 100)]


def test_sources_that_only_their_order_tells_apart_must_be_named(
    checkpoint: str,
) -> None:
    """What one receiver had stored would go to the other's stream."""

    def one_way(h: StreamHarness) -> None:
        for name in ("a", "b"):
            h.collect(h.ssc.receiverStream(Tap(name)), name)

    def other_way(h: StreamHarness) -> None:
        for name in ("b", "a"):
            h.collect(h.ssc.receiverStream(Tap(name)), name)

    with StreamHarness(checkpoint=checkpoint, conf=LOGGED, setup=one_way) as h:
        h.run(1)
        h.crash()
        with pytest.raises(SparkError, match="tells 'Tap', 'Tap#2' apart"):
            h.restart(other_way, upgrade="apply")


# Received data.

LIVE: dict[str, "Tap"] = {}
LOGGED = {"spark.streaming.receiver.writeAheadLog.enable": "true"}


class Tap(Receiver[Any]):
    """A receiver that a test stores through."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def onStart(self) -> None:
        """Let the test find it."""
        LIVE[self.name] = self

    def onStop(self) -> None:
        """Do nothing."""


def tapped(h: StreamHarness, name: str) -> Tap:
    """Start the harness and return one of its taps."""
    LIVE.clear()
    h._start()
    while name not in LIVE:
        h.clock.wait_until_someone_waits(0.01)
    return LIVE[name]


def taps(*names: str) -> Setup:
    """Return a setup with a receiver of each name."""

    def setup(h: StreamHarness) -> None:
        for name in names:
            h.collect(h.ssc.receiverStream(Tap(name)).named(name), name)

    return setup


def test_received_data_of_a_kept_source_is_processed(checkpoint: str) -> None:
    """What was acknowledged goes to the new program, even with other sources before it."""
    with StreamHarness(checkpoint=checkpoint, conf=LOGGED, setup=taps("old")) as h:
        tapped(h, "old").store([1, 2])
        h.run(1)
        LIVE["old"].store(["waits"])
        h.crash()
        h.restart(taps("new", "old"), upgrade="apply")
        tapped(h, "new").store(["hello"])
        h.run(1)

        assert h.output("old").records == [[1, 2], [1, 2], ["waits"]]
        assert h.output("new").records == [[], ["hello"]]


def test_received_data_of_a_dropped_source_is_not_lost_in_silence(
    checkpoint: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Dropping it must be allowed, by the source's name; then the stream goes on."""
    with StreamHarness(checkpoint=checkpoint, conf=LOGGED, setup=taps("a", "b")) as h:
        tapped(h, "b").store([1, 2])
        h.run(1)
        LIVE["b"].store(["waits", "too"])
        h.crash()
        with pytest.raises(SparkError, match="would drop 'b'") as caught:
            h.restart(taps("a"), upgrade="apply")
        assert "1 blocks that it received (2 records)" in str(caught.value.hint)
        with pytest.raises(SystemExit):
            h.restart(taps("a"), upgrade="plan")
        assert (
            "received data that would be LOST: no batch has had it:\n"
            "  source 'b': 1 blocks, 2 records\n"
            "=> 'apply' needs allow_drop=['b']\n"
        ) in capsys.readouterr().out
        with caplog.at_level(logging.WARNING):
            h.restart(taps("a"), upgrade="apply", allow_drop=["b"])
            h.run(1)
        assert "received blocks of dropped sources are passed over" in caplog.text

        # No later source gets its id, and with it its blocks.
        h.crash()
        h.restart(taps("a", "c"), upgrade="apply")
        h.run(1)
        assert [each.id for each in h.ssc._graph.inputs] == [0, 2]
        assert h.output("c").records == [[], []]


def test_a_dropped_source_without_waiting_data_needs_no_permission(
    checkpoint: str,
) -> None:
    """All it received has been processed; a graceful stop doesn't wait for it."""
    with StreamHarness(checkpoint=checkpoint, conf=LOGGED, setup=taps("a", "b")) as h:
        tapped(h, "b").store([1, 2])
        h.run(2)
        h.crash()
        h.restart(taps("a"), upgrade="apply")
        h.run(1)
        scheduler = h.ssc._scheduler
        assert scheduler is not None
        assert not scheduler.tracker.has_unallocated_blocks()


# "plan" and "refuse".


def test_a_plan_is_printed_and_nothing_else_happens(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program ends with 1, as "apply" would need more; the directory is as it was."""

    def changed(h: StreamHarness) -> None:
        renamed(h)
        h.ssc.checkpoint(checkpoint)
        h.sc.setCheckpointDir(checkpoint)
        h.collect(h.stream([]).named("more").window(3, 1), "window")

    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(2)
        h.crash()
        # The harness's own context of before made a directory of its own.
        before = files_of(Path(checkpoint))
        with pytest.raises(SystemExit) as caught:
            h.restart(changed, upgrade="plan")

        assert caught.value.code == 1
        assert files_of(Path(checkpoint)) == before
        assert StreamingContext.getActive() is None
    assert capsys.readouterr().out == (
        "sources kept, with their positions:\n"
        "  scripted\n"
        "sources new:\n"
        "  more\n"
        "states new, empty:\n"
        "  totals\n"
        "states DROPPED:\n"
        "  counts\n"
        "windows made anew, from what their sources remember:\n"
        "  more/window\n"
        "steps and outputs new:\n"
        "  totals/collect\n"
        "  more/window\n"
        "  more/window/collect\n"
        "steps and outputs gone:\n"
        "  counts/collect\n"
        "code:\n"
        "  the setup function changed\n"
        "take note:\n"
        "  if 'totals' goes on with 'counts', call it .named('counts')\n"
        "=> 'apply' needs allow_drop=['counts']\n"
    )


@pytest.mark.parametrize(
    ("setup", "allow_drop", "code", "verdict"),
    [
        (words_only, [], 0, "=> nothing differs"),
        (renamed, ["counts"], 0, "=> 'apply' goes on, and drops what allow_drop names"),
        (renamed, ["x"], 1, "=> but nothing is called 'x'"),
    ],
)
def test_a_plan_ends_with_0_when_apply_would_go_on(
    checkpoint: str,
    capsys: pytest.CaptureFixture[str],
    setup: Setup,
    allow_drop: list[str],
    code: int,
    verdict: str,
) -> None:
    """For scripts that deploy."""
    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(1)
        h.crash()
        with pytest.raises(SystemExit) as caught:
            h.restart(setup, upgrade="plan", allow_drop=allow_drop)
    assert caught.value.code == code
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def test_a_plan_says_when_nobody_knows_what_of_the_code_differs(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A function typed into a shell has no text to compare."""
    names: dict[str, Any] = {}
    exec("def setup(h):\n    h.collect(h.stream([]))\n", names)
    with StreamHarness(checkpoint=checkpoint, setup=names["setup"]) as h:
        h.run(1)
        h.crash()
        with pytest.raises(SystemExit):
            h.restart(upgrade="plan")
    assert capsys.readouterr().out.endswith(
        "=> nothing differs; whether the code does isn't known\n"
    )


def test_a_plan_without_a_checkpoint_does_not_start_either(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says that there is nothing to keep, and doesn't call the setup function."""
    with StreamHarness(checkpoint=checkpoint) as h:
        h.crash()
        with pytest.raises(SystemExit) as caught:
            h.restart(lambda h: pytest.fail("it was called"), upgrade="plan")
    assert caught.value.code == 0
    assert "there is no checkpoint" in capsys.readouterr().out


def test_a_plan_tells_which_windows_begin_without_their_past(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Received data that isn't logged can't be read again."""

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.receiverStream(Tap("tap")).named("tap").count().window(3, 1))

    for conf, is_told in (({}, True), (LOGGED, False)):
        place = f"{checkpoint}-{is_told}"
        with StreamHarness(checkpoint=place, conf=conf, setup=setup) as h:
            h.run(1)
            h.crash()
            with pytest.raises(SystemExit):
                h.restart(setup, upgrade="plan")
        told = "/window' begins without what 'tap' has received: it isn't logged"
        assert (told in capsys.readouterr().out) == is_told


def test_refuse_stops_on_any_difference_and_else_goes_on(checkpoint: str) -> None:
    """With the plan in the error."""

    def more(h: StreamHarness) -> None:
        words_only(h)
        h.collect(h.stream([]), "more")

    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(2)
        h.crash()
        with pytest.raises(SparkError, match="the program differs") as caught:
            h.restart(more, upgrade="refuse")
        assert "steps and outputs new" in str(caught.value.hint)
        h._conf = {"spark.x.y": "1"}
        with pytest.raises(SparkError, match="the program differs") as caught:
            h.restart(words_only, upgrade="refuse")
        assert "spark.x.y was not set, and is '1' now" in str(caught.value.hint)
        h._conf = None
        h.restart(words_only, upgrade="refuse")
        h.run(1)
        assert last(h, "state") == [("a", 2), ("b", 1), ("c", 1)]


# Programs in files.

PROGRAM = """
import helpers
from millstream import SparkContext
from millstream.streaming import StreamingContext

CALLS = []


def step(line):
    return helpers.clean(line)


def setup():
    CALLS.append(1)
    ssc = StreamingContext(SparkContext("local[1]", "program"), 1)
    ssc.textFileStream("/nowhere").map(step).pprint()
    return ssc
"""
HELPERS = "def clean(line):\n    return line.strip()\n"


class Program:
    """A program in a directory of its own, which a test runs and changes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(str(folder))
        self.write(PROGRAM, HELPERS)

    def write(self, program: str, helpers: str) -> None:
        (self.folder / "program.py").write_text(program)
        (self.folder / "helpers.py").write_text(helpers)

    def load(self) -> dict[str, Any]:
        import runpy

        self.monkeypatch.delitem(sys.modules, "helpers", raising=False)
        return runpy.run_path(str(self.folder / "program.py"), run_name="program")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a program of two modules."""
    folder = tmp_path / "program"
    folder.mkdir()
    return Program(folder, monkeypatch)


def run_once(checkpoint: str, setup: Callable[[], StreamingContext], **how: Any) -> Any:
    """Let a program write a checkpoint, and stop; return its context."""
    ssc = StreamingContext.getOrCreate(checkpoint, setup, **how)
    ssc.start()
    scheduler = ssc._scheduler
    assert scheduler is not None
    assert scheduler.wait_until_processed(scheduler.clock.now_ms(), 30)
    ssc.stop()
    return ssc


@pytest.mark.slow
def test_one_warning_tells_what_changed_without_calling_setup(
    checkpoint: str, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """In the file and in the modules beside it; comments and docstrings don't count."""
    run_once(checkpoint, program.load()["setup"])
    program.write(f'"""About."""\n# A remark.\n{PROGRAM}', HELPERS)
    with caplog.at_level(logging.WARNING):
        StreamingContext.getOrCreate(checkpoint, program.load()["setup"]).stop()
    assert "the program differs" not in caplog.text

    program.write(
        PROGRAM.replace("helpers.clean(line)", "helpers.clean(line) + '!'"),
        HELPERS.replace("strip", "rstrip"),
    )
    names = program.load()
    with caplog.at_level(logging.WARNING):
        StreamingContext.getOrCreate(checkpoint, names["setup"]).stop()
    (told,) = [r.getMessage() for r in caplog.records if "differs" in r.getMessage()]
    assert "`step` changed; `helpers.clean` changed." in told
    path = program.folder / "program.py"
    assert told.endswith(f"millstream checkpoint plan {checkpoint} {path}")
    assert names["CALLS"] == []


@pytest.mark.slow
def test_after_an_upgrade_the_program_is_the_new_one(
    checkpoint: str, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """The next restart of the same program warns of nothing."""
    run_once(checkpoint, program.load()["setup"])
    program.write(PROGRAM, HELPERS.replace("strip", "rstrip"))
    setup = program.load()["setup"]
    run_once(checkpoint, setup, upgrade="apply")
    caplog.clear()
    StreamingContext.getOrCreate(checkpoint, setup).stop()
    assert "differs" not in caplog.text


@pytest.mark.slow
def test_functions_of_another_python_are_not_loaded(
    checkpoint: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which Python, and that "apply" needs none of them; so it does."""
    from millstream.engine.streams import manifest

    setup = program.load()["setup"]
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "this_python", lambda: "3.8")
        patch.setattr(
            "millstream.engine.streams.checkpointer.this_python", lambda: "3.8"
        )
        run_once(checkpoint, setup)
    with pytest.raises(SparkError, match="Failed to read checkpoint") as caught:
        StreamingContext.getOrCreate(checkpoint, setup)
    assert "written by Python 3.8" in str(caught.value.hint)
    assert "upgrade='apply'" in str(caught.value.hint)
    StreamingContext.getOrCreate(checkpoint, setup, upgrade="apply").stop()


# Wrong uses.


def started(checkpoint: str) -> StreamingContext:
    """Return a context that has started; what setup functions mustn't do."""
    ssc = StreamingContext(SparkContext("local[1]", "started"), 1)
    ssc.checkpoint(checkpoint)
    ssc.textFileStream("/nowhere").pprint()
    ssc.start()
    return ssc


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ({"upgrade": "force"}, PySparkValueError, "must be None, 'refuse', 'plan'"),
        ({"upgrade": "apply", "allow_drop": "x"}, PySparkTypeError, "a list of names"),
        ({"allow_drop": ["x"]}, PySparkValueError, "nothing without upgrade"),
    ],
)
def test_wrong_arguments_are_told(
    checkpoint: str, how: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Before anything is read or made."""
    with pytest.raises(error, match=text):
        StreamingContext.getOrCreate(checkpoint, lambda: pytest.fail("called"), **how)
    with pytest.raises(error, match=text):
        StreamingContext.getActiveOrCreate(
            checkpoint, lambda: pytest.fail("called"), **how
        )


def test_setup_must_return_a_context_that_has_not_started(checkpoint: str) -> None:
    """What it leaves behind is stopped."""
    with pytest.raises(PySparkTypeError, match="setupFunc must be a function"):
        StreamingContext.getOrCreate(checkpoint, None)  # type: ignore[arg-type]
    with pytest.raises(PySparkTypeError, match="must return a StreamingContext"):
        StreamingContext.getOrCreate(checkpoint, lambda: None)  # type: ignore[arg-type, return-value]
    with StreamHarness(checkpoint=checkpoint, setup=words_only) as h:
        h.run(1)
    with pytest.raises(IllegalStateError, match="setupFunc has started its context"):
        StreamingContext.getOrCreate(
            checkpoint, lambda: started(checkpoint), upgrade="apply"
        )
    assert StreamingContext.getActive() is None
    assert SparkContext._active_spark_context is None


def test_getActiveOrCreate_can_start_from_nothing_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With createOnError, as getOrCreate can."""
    (tmp_path / "checkpoint-1000").write_bytes(b"garbage")
    with StreamHarness() as h:
        with pytest.raises(SparkError, match="Failed to read checkpoint"):
            StreamingContext.getActiveOrCreate(str(tmp_path), lambda: h.ssc)
        made = StreamingContext.getActiveOrCreate(
            str(tmp_path), lambda: h.ssc, createOnError=True
        )
        assert made is h.ssc
    assert "starting from nothing" in caplog.text


@pytest.mark.parametrize("upgrade", [None, "apply"])
def test_a_moved_checkpoint_goes_on(
    checkpoint: str, tmp_path: Path, upgrade: Upgrade | None
) -> None:
    """With its states, checkpointed windows and received data; the old place is gone."""

    def setup(h: StreamHarness) -> None:
        words_only(h)
        window = pairs(h).reduceByKeyAndWindow(
            lambda a, b: a + b, lambda a, b: a - b, 5, 1
        )
        h.collect(window.checkpoint(1).filter(lambda pair: pair[1]), "window")
        taps("tap")(h)

    with StreamHarness(checkpoint=checkpoint, conf=LOGGED, setup=setup) as h:
        tapped(h, "tap").store(["done"])
        h.run(3)
        LIVE["tap"].store(["waits"])
        h.crash()
        h._checkpoint = str(tmp_path / "moved")
        shutil.move(checkpoint, h._checkpoint)
        h.restart(upgrade=upgrade)
        kept = [o.checkpoint_files for o in h.ssc._graph.operators()]
        assert any(kept) == (upgrade is None)
        h.run(1)

        assert last(h, "state") == [("a", 3), ("b", 1), ("c", 1)]
        assert last(h, "window") == [("a", 3), ("b", 1), ("c", 1)]
        assert h.output("tap").records[-2:] == [[], ["waits"]]
        assert not Path(checkpoint).exists()


@pytest.mark.slow
def test_conf_of_the_program_counts_in_an_upgrade(checkpoint: str) -> None:
    """And that of the checkpoint without one."""

    def setup() -> StreamingContext:
        conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("new")
        ssc = StreamingContext(SparkContext(conf=conf), 1)
        ssc.textFileStream("/nowhere").pprint()
        return ssc

    def old() -> StreamingContext:
        ssc = StreamingContext(SparkContext("local[1]", "old"), 1)
        ssc.textFileStream("/nowhere").pprint()
        return ssc

    run_once(checkpoint, old)
    expectations: list[tuple[Upgrade | None, str]] = [(None, "old"), ("apply", "new")]
    for upgrade, expected in expectations:
        ssc = StreamingContext.getOrCreate(checkpoint, setup, upgrade)
        assert ssc.sparkContext.appName == expected
        ssc.stop()


# Keys whose hash differs from process to process.

KEYS = """
import dataclasses, os, sys
from pathlib import Path
from millstream.testing import StreamHarness

checkpoint, folder = sys.argv[1:]


@dataclasses.dataclass(frozen=True)
class Word:
    text: str


def count(new, old):
    return sum(new) + (old or 0)


def setup(h):
    lines = h.ssc.textFileStream(folder)
    keyed = lines.map(lambda line: (Word(line), 1))
    state = keyed.updateStateByKey(count, 4).named("counts")
    state.foreachRDD(lambda rdd: print(sorted((k.text, n) for k, n in rdd.collect())))


with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
    times = [int(p.name.split("-")[1]) for p in Path(checkpoint).glob("checkpoint-*0")]
    if times:
        h.clock.advance_ms(max(times))
        h.restart()
    now = h.clock.now_ms() / 1000
    path = Path(folder) / f"file-{now}"
    path.write_text("".join(f"w{n}\\n" for n in range(8)))
    os.utime(path, (now + 0.5, now + 0.5))
    h.run(1)
"""


@pytest.mark.slow
def test_keys_are_found_in_a_process_that_hashes_otherwise(
    checkpoint: str, tmp_path: Path
) -> None:
    """The hash of most objects depends on PYTHONHASHSEED: their state is moved."""
    program = tmp_path / "keys.py"
    program.write_text(KEYS)
    (tmp_path / "in").mkdir()
    lines = []
    for seed in "123":
        done = subprocess.run(
            [sys.executable, str(program), checkpoint, str(tmp_path / "in")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout.splitlines()[-1])

    assert lines == [str([(f"w{n}", times) for n in range(8)]) for times in (1, 2, 3)]

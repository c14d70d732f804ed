"""Makes `v1`, a checkpoint directory of format 1; test_v1.py restores it.

Run once for each released format, and never again after the release: what users have on
their disks doesn't change either. Runs in a copy below /tmp, because functions remember
the files they were written in:

    python tests/formats/make_v1.py
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams.opening import state_file_names
from millstream.streaming.receiver import Receiver
from millstream.streaming.state import State, StateSpec
from millstream.testing import StreamHarness

HOME = Path("/tmp/millstream")
BATCHES = 24
WINDOW = 12
# None in those that run again or leave the window then: their files aren't there any more.
WITH_FILES = [
    batch
    for batch in range(1, BATCHES - 1)
    if batch not in (BATCHES - WINDOW, BATCHES - WINDOW + 1)
]
CONF = {
    "spark.streaming.receiver.writeAheadLog.enable": "true",
    "spark.streaming.sessionByKey.deltaChainThreshold": "2",
}
OUTPUT = "MILLSTREAM_FORMATS_OUTPUT"
"""The environment variable that says where the program writes what it sees."""


class Tap(Receiver[Any]):
    """A receiver that does nothing by itself."""

    def onStart(self) -> None:
        """Do nothing."""

    def onStop(self) -> None:
        """Do nothing."""


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def follow(key: str, value: int | None, state: State) -> tuple[str, list[int]]:
    """Keep the values of each key: a state that is no plain value."""
    values = [*(state.getOption() or []), value or 0]
    state.update(values)
    return key, values


class Tell:
    """An output operation that appends what it sees to a file."""

    def __init__(self, name: str) -> None:
        """Call it `name`."""
        self.name = name

    def __call__(self, time: Any, rdd: Any) -> None:
        """Append a line."""
        records = sorted(rdd.collect(), key=repr)
        line = json.dumps([self.name, time.timestamp(), records])
        with Path(os.environ[OUTPUT]).open("a", encoding="utf-8") as out:
            out.write(line + "\n")


def program(h: StreamHarness, folder: str) -> None:
    """Build one stream of everything that a checkpoint knows."""
    lines = h.ssc.textFileStream(folder).named("lines")
    ones = lines.map(lambda line: (line, 1))
    counts = ones.updateStateByKey(count).named("counts").checkpoint(1)
    counts.foreachRDD(Tell("counts"))
    followed = ones.mapWithState(StateSpec.function(follow).numPartitions(3))
    followed.named("followed").checkpoint(1).foreachRDD(Tell("followed"))
    window = ones.reduceByKeyAndWindow(
        lambda a, b: a + b, lambda a, b: a - b, WINDOW, 1
    )
    window.named("window").checkpoint(1).foreachRDD(Tell("window"))
    h.ssc.receiverStream(Tap()).named("tap").foreachRDD(Tell("tap"))


def expected_counts() -> Mapping[str, int]:
    """Return the state of `counts` that the fixture has."""
    counts: dict[str, int] = {}
    for batch in WITH_FILES:
        for word in words(batch):
            counts[word] = counts.get(word, 0) + 1
    return counts


def words(batch: int) -> list[str]:
    """Return the lines of a batch's file."""
    return ["each", f"word-{batch % 4}"]


def make(target: Path) -> None:
    """Run the program, let it crash, and keep its newest checkpoint in `target`."""
    shutil.rmtree(target, ignore_errors=True)
    folder = HOME / "in"
    folder.mkdir()

    def setup(h: StreamHarness) -> None:
        program(h, str(folder))

    with StreamHarness(checkpoint=str(target), conf=CONF, setup=setup) as h:
        for batch in range(1, BATCHES + 1):
            if batch in WITH_FILES:
                path = folder / f"file-{batch}"
                path.write_text("\n".join([*words(batch), ""]))
                os.utime(path, (batch - 0.5, batch - 0.5))
            h.run(1)
            if batch == BATCHES - 1:
                receiver(h).store(["done"])
        receiver(h).store(["waits", ["anything"], 3])
        h.crash()
    prune(target)


def prune(target: Path) -> None:
    """Keep the newest checkpoint and its backup, and what these name."""
    files = CheckpointFiles(str(target))
    kept = files.files()[-2:]
    named: set[str] = set()
    for file in kept:
        for each in manifests.decode(files.read(file)[0]).operators:
            newest = sorted(each.files, key=int)[-3:]
            named |= {each.files[time] for time in newest}
            named |= set() if each.state is None else state_file_names(each.state)
    for path in target.glob("checkpoint-*"):
        if str(path) not in {file.path for file in kept}:
            path.unlink()
    for path in target.glob("state/*/*.arrow"):
        if path.name not in named:
            path.unlink()
    for path in target.glob("*/rdd-*"):
        if str(path.relative_to(target)) not in named:
            shutil.rmtree(path)


def receiver(h: StreamHarness) -> Any:
    """Return the running receiver, once there is one."""
    assert h.ssc._scheduler is not None
    tracker = h.ssc._scheduler.tracker
    while not any(each.active for each in tracker.receiver_infos()):
        h.clock.wait_until_someone_waits(0.01)
    (supervisor,) = tracker._running()
    assert isinstance(supervisor, ReceiverSupervisor)
    return supervisor._receiver


def main() -> None:
    """Make the fixture from a copy of the sources."""
    here = Path(__file__).absolute()
    if here.parent == HOME:
        make(HOME / "v1")
        return
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(here.parents[2] / "src", HOME / "src")
    shutil.copy(here, HOME)
    environment = {
        **os.environ,
        "PYTHONPATH": str(HOME / "src"),
        OUTPUT: str(HOME / "output"),
    }
    command = [sys.executable, "-W", "ignore", str(HOME / here.name)]
    subprocess.run(command, env=environment, check=True, cwd=HOME)
    shutil.rmtree(here.parent / "v1", ignore_errors=True)
    shutil.copytree(HOME / "v1", here.parent / "v1")
    shutil.rmtree(HOME)


if __name__ == "__main__":
    main()

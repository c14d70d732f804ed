"""Stories of a driver that dies and goes on elsewhere: nothing is shared but an S3 bucket."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_kills import Source
from tests.stories.object_store import object_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).with_name("restarted_program.py")
LIMIT_S = 90.0
Batches = dict[int, list[Any]]


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """Return the environment in which a bucket can be reached."""
    with object_store() as environment:
        yield environment


class Life:
    """A driver in a directory of its own, and what its batches have put out."""

    def __init__(
        self, directory: Path, environment: dict[str, str], *words: str
    ) -> None:
        directory.mkdir()
        self._errors = directory / "errors"
        with self._errors.open("w") as errors:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "millstream", "run", *words],
                cwd=directory,
                env={
                    **os.environ,
                    **environment,
                    "HOME": str(directory),
                    "TMPDIR": str(directory),
                },
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.new: Batches = {}
        self.totals: Batches = {}
        self._changed = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.driver.stdout is not None, "it is a pipe"
        for line in self.driver.stdout:
            if line.endswith("\n"):
                said = json.loads(line)
                with self._changed:
                    getattr(self, said["name"])[said["ms"]] = sorted(said["records"])
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait_until(self, holds: Callable[["Life"], bool]) -> None:
        """Return when something holds of what was put out."""
        with self._changed:
            is_there = self._changed.wait_for(
                lambda: holds(self) or self._has_ended, LIMIT_S
            )
            assert is_there, f"nothing comes\n{self._errors.read_text()}"
            assert holds(self), f"the driver has ended\n{self._errors.read_text()}"

    def kill(self) -> None:
        """End the driver at once, with what it had said until then."""
        self.driver.send_signal(signal.SIGKILL)
        assert self._ended() == -signal.SIGKILL

    def stop(self) -> None:
        """Ask the driver to stop, and wait until everything is done."""
        self.driver.terminate()
        assert self._ended() == 0, self._errors.read_text()

    def _ended(self) -> int:
        code = self.driver.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        assert self.driver.stdout is not None, "it is a pipe"
        self.driver.stdout.close()
        return code

    def close(self) -> None:
        """Leave no process behind."""
        if self.driver.poll() is None:
            self.driver.kill()
            self._ended()


@contextmanager
def life(directory: Path, environment: dict[str, str], *words: str) -> Iterator[Life]:
    """Return a driver that doesn't outlive the block."""
    made = Life(directory, environment, *words)
    try:
        yield made
    finally:
        made.close()


def counted(one: Life) -> int:
    """Return how many records the last totals are of."""
    return sum(n for _, n in one.totals[max(one.totals)]) if one.totals else 0


def tell_of_a_restart(
    tmp_path: Path, environment: dict[str, str], checkpoint: str, master: str
) -> None:
    """Kill a driver while records come in, go on elsewhere, and compare all batches."""
    source = Source(random.Random(5))
    words = ["--master", master, str(PROGRAM), checkpoint, str(source.port)]
    try:
        with life(tmp_path / "here", environment, *words) as first:
            source.put(60)
            first.wait_until(lambda it: counted(it) >= 30)
            source.put(60)
            first.wait_until(lambda it: counted(it) > 60)
            first.kill()
        source.put(60)
        with life(tmp_path / "there", environment, *words) as second:
            second.wait_until(lambda it: counted(it) == 180)
            assert source.wait_until_acknowledged()
            second.stop()
    finally:
        source.close()

    twice = first.new.keys() & second.new.keys()
    assert {ms: first.new[ms] for ms in twice} == {ms: second.new[ms] for ms in twice}
    new = first.new | second.new
    totals = first.totals | second.totals
    assert list(totals) == list(range(min(totals), max(totals) + 1, 500))
    known: Counter[str] = Counter()
    for ms, found in totals.items():
        known.update(word for _, word, _ in new[ms])
        assert found == sorted(map(list, known.items())), ms
    identities = [identity for batch in new.values() for identity, _, _ in batch]
    assert sorted(identities) == sorted(source.words)
    assert known == Counter(source.words.values())


def test_a_killed_driver_goes_on_in_another_place(
    tmp_path: Path, store: dict[str, str]
) -> None:
    """State and received data come from the bucket; no batch is lost or counted twice."""
    tell_of_a_restart(tmp_path, store, "s3://bucket/local", "local[2]")


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """Return the address of a Ray cluster: a head without CPUs, and two nodes of one each."""
    # Read when Ray is imported: without it, loopback becomes the machine's own address.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "node_ip_address": "127.0.0.1",
            # Two clusters that start at a time would both want its one port.
            "include_dashboard": False,
        },
    )
    for _ in range(2):
        made.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    made.wait_for_nodes()
    yield made.address
    made.shutdown()


def test_a_killed_driver_of_a_cluster_goes_on_in_another_place(
    tmp_path: Path, store: dict[str, str], ray_address: str
) -> None:
    """The same, with its tasks on the nodes of a Ray cluster."""
    environment = {**store, "RAY_ADDRESS": ray_address}
    tell_of_a_restart(tmp_path, environment, "s3://bucket/ray", "ray")

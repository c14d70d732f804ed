"""Format 1 keeps restoring: a checkpoint directory that a released version wrote.

`v1` was made by make_v1.py, somewhere else, by some version of Python.
"""

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.streams import manifest as manifests
from millstream.streaming.restoring import Restored, Upgrade, read_checkpoint
from millstream.testing import StreamHarness

HERE = Path(__file__).parent
MADE: dict[str, Any] = runpy.run_path(str(HERE / "make_v1.py"), run_name="make_v1")
TIME_MS = MADE["BATCHES"] * 1000


def checkpoint_of(directory: Path) -> Restored:
    """Return the fixture's checkpoint."""
    found = read_checkpoint(str(directory))
    assert found is not None
    return found


IS_SAME_PYTHON = checkpoint_of(HERE / "v1").manifest.python == manifests.this_python()


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """Return a copy of the fixture."""
    return Path(shutil.copytree(HERE / "v1", tmp_path / "moved"))


def restored(
    moved: Path,
    monkeypatch: pytest.MonkeyPatch,
    upgrade: Upgrade | None,
    look: Callable[[StreamHarness], None] = lambda h: None,
) -> dict[str, list[Any]]:
    """Restore the copy and run one batch; return the records of all, by output."""
    output = moved.parent / "output"
    monkeypatch.setenv(MADE["OUTPUT"], str(output))
    folder = moved.parent / "in"
    folder.mkdir()

    def setup(h: StreamHarness) -> None:
        MADE["program"](h, str(folder))

    with StreamHarness(checkpoint=str(moved), conf=MADE["CONF"], setup=setup) as h:
        h.clock.advance_ms(TIME_MS + 500)
        h.restart(upgrade=upgrade)
        look(h)
        h.run(1)
        state = h.ssc.state("counts")
        assert state.batch_ms == TIME_MS + 1000
        assert dict(state.items()) == MADE["expected_counts"]()
        assert state.get("each") == len(MADE["WITH_FILES"])
        followed = h.ssc.state("followed")
        assert followed.get("each") == [1] * len(MADE["WITH_FILES"])
        assert followed.get("word-1") == [1] * MADE["expected_counts"]()["word-1"]
    told: dict[str, list[Any]] = {}
    for line in output.read_text("utf-8").splitlines():
        name, time, records = json.loads(line)
        told.setdefault(name, []).append((time, records))
    return told


def check(told: dict[str, list[Any]]) -> None:
    """Check what the batch that ran again, and the one after it, have put out."""
    times = [TIME_MS / 1000, TIME_MS / 1000 + 1]
    counts = sorted(map(list, MADE["expected_counts"]().items()))
    assert told["counts"] == [(time, counts) for time in times]
    assert told["followed"] == [(time, []) for time in times]
    # The block of the batch that runs again, and those that no batch had had.
    assert told["tap"] == [(times[0], ["done"]), (times[1], ["waits", 3, ["anything"]])]


def test_the_fixture_has_every_kind_of_file() -> None:
    """Or it would promise less than it seems to: deltas, snapshots, windows, both logs."""
    names = [str(p.relative_to(HERE / "v1")) for p in (HERE / "v1").rglob("*")]
    states = {
        each.name: each.state for each in checkpoint_of(HERE / "v1").manifest.operators
    }

    for name in ("counts", "followed"):
        state = states[name]
        assert state is not None
        assert state["snapshots"]
        assert any(each[1] for each in state["versions"])
    for pattern in ("receivedData/1/log-", "receivedBlockMetadata/log-", "/rdd-"):
        assert any(pattern in name for name in names), pattern


def test_the_manifest_of_format_1_is_read() -> None:
    """All of it, and nothing in it says where it was."""
    found = checkpoint_of(HERE / "v1")

    assert found.manifest.format == 1
    assert found.manifest.time_ms == TIME_MS
    assert [(s.name, s.kind, s.id) for s in found.manifest.sources] == [
        ("lines", "FileInputDStream", 0),
        ("tap", "PluggableInputDStream", 1),
    ]
    assert found.manifest.next_source_id == 2
    for each in found.manifest.operators:
        assert not any(":" in uri for uri in each.files.values())
        assert each.state is None or each.state["directory"].startswith("state/")


def test_any_python_goes_on_with_it(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State, positions and received data, with the program's present functions."""

    def look(h: StreamHarness) -> None:
        (lines, _tap) = h.ssc._graph.inputs
        files = lines.position()["files"]
        last = str(TIME_MS - 2000)
        assert [uri.rsplit("/", 1)[1] for uri in files[last]] == [
            f"file-{MADE['BATCHES'] - 2}"
        ]

    def without_windows(h: StreamHarness) -> None:
        look(h)
        # Its files are where the fixture was made: they can't be read again.
        outputs = h.ssc._graph.outputs
        outputs[:] = [o for o in outputs if "Window" not in o.parents[0].kind]

    check(restored(moved, monkeypatch, "apply", without_windows))


@pytest.mark.skipif(not IS_SAME_PYTHON, reason="its functions are of another Python")
def test_the_same_python_goes_on_with_its_functions(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, as after any restart: checkpointed windows, too."""
    told = restored(moved, monkeypatch, None)

    check(told)
    assert [time for time, _ in told["window"]] == [TIME_MS / 1000, TIME_MS / 1000 + 1]
    # What left the window had no files, and what came had none: it stays as it was.
    first = MADE["BATCHES"] - MADE["WINDOW"]
    in_it = [batch for batch in MADE["WITH_FILES"] if batch > first]
    for _, records in told["window"]:
        assert dict(records)["each"] == len(in_it) > 5


@pytest.mark.skipif(IS_SAME_PYTHON, reason="its functions are of this Python")
def test_another_python_is_told_what_to_do(moved: Path) -> None:
    """The error names the version, and "apply"."""
    with (
        StreamHarness(checkpoint=str(moved)) as h,
        pytest.raises(SparkError, match="Failed to read checkpoint") as caught,
    ):
        h.restart()
    assert "upgrade='apply'" in str(caught.value.hint)

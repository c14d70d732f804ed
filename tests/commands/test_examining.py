"""Tests of examining.py and `millstream doctor`: good machines, and what is wrong with others."""

import json
import socket
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from millstream.cli import main
from millstream.commands import examining
from millstream.commands.examining import EXTRAS, Finding, examine
from millstream.commands.kernel_clock import KernelClock, UnknownClockError
from millstream.engine.base import machine
from millstream.engine.base.machine import Share

ROOT = Path(__file__).parents[2]


def found(findings: list[Finding], about: str) -> Finding:
    """Return what was found about something."""
    return next(each for each in findings if each.about == about)


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait for Java, which the test machine may have."""
    monkeypatch.setattr("millstream.commands.examining.shutil.which", lambda _: None)


def test_the_extras_are_those_of_the_package() -> None:
    """Each with all of its libraries, so that none is taken for installed by mistake."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    declared = tomllib.loads(text)["project"]["optional-dependencies"]
    words = {
        name: {_name(each) for each in libraries}
        for name, libraries in declared.items()
    }

    assert {name: set(each) for name, each in EXTRAS.items()} == words


def _name(requirement: str) -> str:
    for sign in ("[", ">", "=", "<", ";", " "):
        requirement = requirement.split(sign, 1)[0]
    return requirement


def test_a_machine_that_is_well_is_told_so() -> None:
    """In words and in JSON; the exit code is 0."""
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    assert f"ok  Python              {sys.version.split()[0]}" in result.output
    assert "programs can run" in result.output
    assert "there is none, and none is needed" in result.output

    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)
    assert told["is_well"] is True
    assert {"Python", "loopback", "clock", "spill directory"} <= {
        each["about"] for each in told["findings"]
    }


def test_an_extra_that_must_be_there_is_missed() -> None:
    """One that nobody asked for isn't; the exit code is 1."""
    EXTRAS_WITH = {**EXTRAS, "nowhere": ("no-such-library",)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examining, "EXTRAS", EXTRAS_WITH)
        assert found(examine(), "extra nowhere").verdict == "told"
        missed = found(examine(["nowhere"]), "extra nowhere")
        result = CliRunner().invoke(main, ["doctor", "--extra", "nowhere"])

    assert missed.verdict == "bad"
    assert missed.hint == "pip install 'millstream[nowhere]'"
    assert result.exit_code == 1
    assert "hint: pip install 'millstream[nowhere]'" in result.output
    assert "something is bad" in result.output
    assert found(examine(["kafak"]), "extra kafak").verdict == "bad"


def test_a_port_that_is_taken_is_passed_over() -> None:
    """As the page does it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = found(examine(ui_port=port), "port of the page")

    assert told.verdict == "good"
    assert f"{port} is taken" in told.text


def test_no_free_port_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """There will be no page."""
    monkeypatch.setattr(examining, "_is_free", lambda _: False)
    told = found(examine(), "port of the page")

    assert (told.verdict, told.hint) == ("doubtful", "set spark.ui.port")


def test_a_directory_that_cannot_be_written_is_bad(tmp_path: Path) -> None:
    """Nothing could spill to it."""
    told = found(examine(local_dir=str(tmp_path / "no")), "spill directory")

    assert told.verdict == "bad"
    assert "spark.local.dir" in told.hint


class Jumping:
    """A wall clock that is set while somebody looks."""

    def __init__(self, *times_ms: int) -> None:
        self._times_ms = list(times_ms)

    def now_ms(self) -> int:
        """Return the next time."""
        return self._times_ms.pop(0)


@pytest.mark.parametrize(
    ("times_ms", "verdict", "text"),
    [
        ((1_800_000_000_000, 1_800_000_005_100), "doubtful", "jumped by 5000 ms"),
        ((1_000,), "bad", "says 1000 ms since 1970, years ago"),
    ],
)
def test_a_clock_that_is_wrong_or_set_is_told(
    monkeypatch: pytest.MonkeyPatch, times_ms: tuple[int, ...], verdict: str, text: str
) -> None:
    """Batches are timed by it."""
    seconds = iter([0.0, 0.1])
    monkeypatch.setattr(examining, "SystemClock", lambda: Jumping(*times_ms))
    monkeypatch.setattr(examining, "monotonic_s", lambda: next(seconds))
    told = found(list(examining._clock()), "clock")

    assert (told.verdict, told.text) == (verdict, text)


def test_cores_and_memory_are_told_with_where_the_number_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The container's limit, by its file, and what there would be without it."""
    quota = Path("/sys/fs/cgroup/cpu.max")
    monkeypatch.setattr(machine, "cores", lambda: Share(2, 16, quota))
    monkeypatch.setattr(machine, "memory", lambda: Share(8 * 10**9, 8 * 10**9))
    findings = list(examining._machine())

    assert found(findings, "cores").text == (
        "2 for this process, what local[*] means: its container's limit, says "
        "/sys/fs/cgroup/cpu.max; the machine has 16"
    )
    assert found(findings, "memory").text == "8.0 GB: all of the machine's"


def test_shared_memory_that_is_missing_is_told(tmp_path: Path) -> None:
    """It is no fault: files do, too."""
    (told,) = examining._shared_memory(tmp_path / "none")

    assert told.verdict == "told"
    assert "exchange data by files" in told.text


def test_java_is_told_of_whether_it_runs_or_not(tmp_path: Path) -> None:
    """Nothing needs it."""
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"17\"' >&2\n")
    fake.chmod(0o755)

    assert examining._java(str(fake)) == 'openjdk version "17"; not needed'
    assert "doesn't run" in examining._java(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("told", "verdict", "text"),
    [
        (KernelClock(True, 0.4, 20.0), "good", "about 0.4 ms off, 20 ms at most"),
        (KernelClock(True, 180.0, 900.0), "doubtful", "synchronised, about 180 ms off"),
        (KernelClock(False, 16_000.0, 16_000.0), "doubtful", "isn't synchronised"),
        (
            UnknownClockError("the kernel doesn't say: EPERM"),
            "told",
            "unknown: the kern",
        ),
    ],
)
def test_what_the_kernel_says_of_the_clock_is_told(
    monkeypatch: pytest.MonkeyPatch,
    told: KernelClock | UnknownClockError,
    verdict: str,
    text: str,
) -> None:
    """That it isn't known is no fault."""

    def ask() -> KernelClock:
        if isinstance(told, UnknownClockError):
            raise told
        return told

    monkeypatch.setattr(examining, "ask_kernel", ask)
    finding = found(list(examining._clock()), "set by a server")

    assert finding.verdict == verdict
    assert text in finding.text
    assert bool(finding.hint) == (verdict == "doubtful")


def test_a_checkpoint_directory_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    """Its clock is the machine's; one that isn't there yet isn't made."""
    findings = examine(checkpoint=str(tmp_path))
    missing = tmp_path / "later"

    assert found(findings, "checkpoints").verdict == "good"
    assert found(findings, "clock of the store").verdict == "good"
    assert found(examine(checkpoint=str(missing)), "checkpoints").verdict == "told"
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_directory_that_cannot_be_written_is_bad(tmp_path: Path) -> None:
    """The command says so with its exit code."""
    file = tmp_path / "file"
    file.write_text("not a directory")
    result = CliRunner().invoke(main, ["doctor", "--checkpoint", str(file)])

    assert result.exit_code == 1
    assert f"{file} can't be used" in result.output


@pytest.mark.parametrize(
    ("written_ms", "text"),
    [
        (100_500, ""),
        (100_000, ""),  # Told in whole seconds.
        (108_600, "8000 ms off"),
        (90_000, "-9501 ms off"),
    ],
)
def test_a_stores_clock_is_compared_with_the_machines(
    written_ms: int, text: str
) -> None:
    """By when it says that a file was written, from 100.5 s to 100.6 s."""
    told = examining._store_clock(100_500, written_ms, 100_600)

    assert (told.verdict == "doubtful") == bool(text)
    assert text in told.text

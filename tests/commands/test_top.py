"""Tests of `millstream top`: one frame of a stream, and errors in words."""

from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from tests.commands.pages import APPLICATION, answers, progress, serving

from millstream.cli import main
from millstream.commands.top import frame, sparkline
from millstream.commands.watching import Sight, Watcher


def top(*arguments: str) -> Result:
    """Run `millstream top` on a terminal that is wide enough."""
    return CliRunner(env={"COLUMNS": "140"}).invoke(main, ["top", *arguments])


def sight() -> Sight:
    """Return what is to be seen of the stream of `pages`."""
    with serving(answers(progress())) as url:
        return Watcher(url).look()


def drawn(of: Sight, width: int = 140) -> list[str]:
    """Return the lines of a frame."""
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(frame(of, "http://here"))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_one_frame_has_rates_delays_batches_receivers_and_failures() -> None:
    """All of it on one screen."""
    lines = drawn(sight())
    text = "\n".join(lines)

    assert lines[0] == "words [of] a stream  http://here"
    assert lines[1].startswith("batches of 1 second  2 completed  1 waiting or running")
    assert "1 of 1 receivers active" in lines[1]
    for title, rest in (
        ("records/s", "▂█▅  40"),  # 10, 80 and 40 records in a second.
        ("scheduling delay", "██   5 ms"),
        ("processing time", "▁█   1.5 seconds"),
    ):
        (line,) = [each for each in lines if each.startswith(title)]
        assert line.removeprefix(title).strip() == rest
    (receiver,) = [each for each in lines if each.startswith("socket")]
    assert "active" in receiver
    assert receiver.endswith("refused")
    (failed,) = [each for each in lines if each.startswith("2000")]
    assert "0 of 1, 1 failed" in failed
    assert "batch 2000: ValueError: too much" in text


def test_batches_that_wait_have_no_times_yet() -> None:
    """A dash stands for what isn't known."""
    (waiting,) = [each for each in drawn(sight()) if each.startswith("3000")]

    assert waiting.split() == ["3000", "queued", "40", "-", "-", "-", "0", "of", "0"]


def test_a_frame_fits_a_narrow_terminal() -> None:
    """Nothing is wider, and no number is cut."""
    lines = drawn(sight(), width=80)

    assert max(map(len, lines)) <= 80
    assert any(each.startswith("2000") for each in lines)


def test_a_program_without_a_stream_says_so() -> None:
    """Rather than nothing."""
    empty = replace(sight(), statistics=None, batches=(), inputs=())

    assert drawn(empty)[1] == "no stream has started"


def test_a_stream_without_a_batch_is_drawn() -> None:
    """It has just started."""
    fresh = replace(sight(), batches=(), inputs=())

    assert drawn(fresh)[2].split() == ["records/s", "-"]


def test_once_prints_a_frame_and_ends() -> None:
    """From the page's REST answers."""
    with serving(answers(progress())) as url:
        result = top("--once", url)

    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{APPLICATION['name']}  {url}\n")
    assert "batch 2000: ValueError: too much" in result.output


def test_where_there_is_no_page_it_is_told() -> None:
    """Without a traceback."""
    with serving({}) as url:
        stranger = top("--once", url)
    nobody = top("--once", url)

    assert stranger.exit_code == nobody.exit_code == 1
    assert nobody.output.startswith(f"Error: no page answers at {url}")
    assert "sc.uiWebUrl" in nobody.output


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([0, 0], "▁▁"), ([0, 7], "▁█"), ([1, 2, 4], "▃▅█"), ([-1, 1], "▁█")],
)
def test_a_line_of_bars_reaches_from_nothing_to_the_highest(
    values: list[float], bars: str
) -> None:
    """The highest is a full bar."""
    assert sparkline(values) == bars


def test_only_the_newest_values_are_drawn() -> None:
    """As many as there is room for."""
    assert len(sparkline(range(1000))) == 40


def test_watching_goes_on_until_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """And looks again each time."""
    seen, looks, pauses = sight(), [0], iter([None, None])

    def look(_watcher: Watcher) -> Sight:
        looks[0] += 1
        return seen

    def pause(_seconds: float) -> None:
        if next(pauses, "pressed") == "pressed":
            raise KeyboardInterrupt

    monkeypatch.setattr("millstream.commands.top._pause", pause)
    monkeypatch.setattr(Watcher, "look", look)
    result = top("http://here")

    assert result.exit_code == 0, result.output
    assert looks == [3]

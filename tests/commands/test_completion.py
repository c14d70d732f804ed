"""Tests of `millstream completion`: what shells need, and that it completes."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from millstream.cli import main


def every_command() -> list[list[str]]:
    """Return the words of every command and group there is."""
    found: list[list[str]] = [[]]
    waiting: list[tuple[list[str], click.Group]] = [([], main)]
    while waiting:
        words, group = waiting.pop()
        with main.make_context("millstream", [], resilient_parsing=True) as context:
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                found.append([*words, name])
                if isinstance(command, click.Group):
                    waiting.append(([*words, name], command))
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str]) -> None:
    """One that can be copied."""
    result = CliRunner().invoke(main, [*words, "--help"])

    assert result.exit_code == 0
    assert "Example" in result.output
    assert "\n  millstream " in result.output or '\n  eval "$(' in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_says_where_it_goes(shell: str) -> None:
    """In a comment, which the shell passes over."""
    text = CliRunner().invoke(main, ["completion", shell]).output

    assert text.startswith("# ")
    assert "_MILLSTREAM_COMPLETE" in text
    assert f"{shell}_complete" in text
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
        assert done.stderr == ""


def test_another_shell_is_refused() -> None:
    """It says which there are."""
    result = CliRunner().invoke(main, ["completion", "tcsh"])

    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.output


def test_commands_that_are_loaded_late_are_completed_too() -> None:
    """As the script asks for them; so are their options."""
    found = get_completion_class("bash")
    assert found is not None
    completion = found(main, {}, "millstream", "_MILLSTREAM_COMPLETE")

    assert [each.value for each in completion.get_completions([], "do")] == ["doctor"]
    options = [each.value for each in completion.get_completions(["top"], "--on")]
    assert options == ["--once"]


@pytest.mark.parametrize("words", every_command()[1:], ids=" ".join)
def test_every_command_is_on_the_page_about_the_command_line(words: list[str]) -> None:
    """By its whole name, or by what it is a group of."""
    page = Path(__file__).parents[2] / "docs" / "command-line.md"

    assert f"`{' '.join(words)}" in page.read_text("utf-8")

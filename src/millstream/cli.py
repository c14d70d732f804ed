"""The command line: `millstream`, whose commands are in `commands`."""

from importlib import import_module

import click

from millstream.engine.base import process_one
from millstream.version import __version__

_COMMANDS = {
    "checkpoint": "checkpoint",
    "completion": "completion",
    "dead-letters": "dead_letters",
    "demo": "demo",
    "doctor": "doctor",
    "explain": "explain",
    "job": "cluster:job",
    "migrate-check": "migrate_check",
    "replay": "replay",
    "replay-dead-letters": "dead_letters:replay",
    "run": "run",
    "state": "state",
    "submit": "cluster:submit",
    "top": "top",
    "ui": "ui",
}
"""Where in `commands` each command is: a module, and what it is called there."""


class _Commands(click.Group):
    """The commands, each loaded when it is asked for: a run doesn't wait for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(
            import_module(f"millstream.commands.{module}"), name or "command"
        )
        return found


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Examples:\n\n  millstream demo\n\n"
        "  millstream run wordcount.py localhost 9999\n\n"
        "  millstream doctor\n\n"
        "  millstream checkpoint show /data/checkpoint\n\n"
        "  millstream state query /data/checkpoint 'select key, value from counts'"
    ),
)
@click.version_option(
    __version__, prog_name="millstream", message="%(prog)s (API of Spark %(version)s)"
)
def main() -> None:
    """Run PySpark's streaming programs in plain Python."""
    process_one.end_at_sigterm()

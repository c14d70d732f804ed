"""Doctor: `millstream doctor`, whether this machine has what programs need."""

import json
import sys
from dataclasses import asdict

import click

_MARKS = {"good": "ok  ", "told": "    ", "doubtful": "!   ", "bad": "BAD "}
_COLOURS = {"good": "green", "told": None, "doubtful": "yellow", "bad": "red"}


@click.command(
    epilog=(
        "Examples:\n\n  millstream doctor\n\n"
        "  millstream doctor --json | python -m json.tool\n\n"
        "  millstream doctor --extra kafka --extra postgres     (which must be there)\n\n"
        "  millstream doctor --local-dir /data/spill --ui-port 4050\n\n"
        "  millstream doctor --checkpoint s3://bucket/orders     (writes a file there)"
    ),
)
@click.option(
    "--extra",
    "extras",
    multiple=True,
    metavar="NAME",
    help="An extra that must be there.",
)
@click.option(
    "--local-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where blocks are to spill to; the system's temporary directory without it.",
)
@click.option(
    "--checkpoint",
    metavar="DIR",
    help="Where checkpoints are to be: a file is written there, and deleted.",
)
@click.option(
    "--ui-port",
    type=int,
    default=4040,
    show_default=True,
    help="Where the page begins.",
)
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON.")
def command(
    *,
    extras: tuple[str, ...],
    local_dir: str | None,
    checkpoint: str | None,
    ui_port: int,
    is_json: bool,
) -> None:
    """Look whether this machine has what programs need, and say what to do if not.

    Python, the libraries of each extra, ports on the loopback interface, the clock and
    whether the kernel says that a server sets it, the places for what spills, memory and
    cores, and whether there are Ray and Java (which Millstream doesn't need).

    Exits with 1 when something is bad: programs won't run so.
    """
    from millstream.commands import examining  # noqa: PLC0415

    found = examining.examine(extras, local_dir, ui_port, checkpoint)
    is_bad = any(each.verdict == "bad" for each in found)
    if is_json:
        told = [asdict(each) for each in found]
        click.echo(json.dumps({"is_well": not is_bad, "findings": told}, indent=2))
        sys.exit(is_bad)
    for each in found:
        mark = click.style(_MARKS[each.verdict], fg=_COLOURS[each.verdict])
        click.echo(f"{mark}{each.about:<20}{each.text}")
        if each.hint:
            click.echo(f"{'':<24}hint: {each.hint}")
    doubts = sum(each.verdict == "doubtful" for each in found)
    ending = "something is bad" if is_bad else "programs can run"
    click.echo(f"{ending}{f'; {doubts} doubtful' if doubts else ''}")
    sys.exit(is_bad)

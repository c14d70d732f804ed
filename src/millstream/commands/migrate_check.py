"""Migrate-check: `millstream migrate-check`, what a PySpark program will meet here."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from millstream.commands.migration import Finding

_TITLES = {"breaks": "won't run", "differs": "differs", "better": "better"}
_COLOURS = {"breaks": "red", "differs": "yellow", "better": "green"}


@click.command(
    epilog=(
        "Examples:\n\n  millstream migrate-check app.py\n\n"
        "  millstream migrate-check --only breaks jobs/*.py     (for a build)\n\n"
        "  millstream migrate-check --json app.py > findings.json"
    ),
)
@click.option(
    "--only",
    type=click.Choice(list(_TITLES)),
    multiple=True,
    help="Tell only of these. Repeatable.",
)
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON.")
@click.argument(
    "programs",
    metavar="PROGRAM...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def command(
    *, only: tuple[str, ...], is_json: bool, programs: tuple[Path, ...]
) -> None:
    """Read PySpark programs, and say what will run, what runs better and what won't.

    Nothing of them runs: it is read from their text which modules, classes, methods and
    settings of PySpark's they use, and those are looked up in Millstream's own. What a
    name stands for isn't always to be seen there; running it with `millstream run`, and
    `millstream explain`, tell the rest.

    Exits with 1 when something won't run, with 2 when a file can't be read.
    """
    from millstream.commands.migration import check, count, told  # noqa: PLC0415

    found: list[Finding] = []
    for each in programs:
        try:
            found += check(each)
        except (SyntaxError, OSError, UnicodeDecodeError) as error:
            msg = f"{each}: {error}"
            raise _UnreadableError(msg) from error
    breaks = any(each.verdict == "breaks" for each in found)
    if is_json:
        told_of = [asdict(e) for e in found if not only or e.verdict in only]
        answer = {"will_run": not breaks, "counts": count(found), "findings": told_of}
        click.echo(json.dumps(answer, indent=2))
        sys.exit(breaks)
    _print([each for each in told(found) if not only or each.verdict in only])
    counts = count(found)
    click.echo(
        f"{counts['runs']} uses of PySpark just run, {counts['better']} run better, "
        f"{counts['differs']} differ, {counts['breaks']} won't run"
    )
    sys.exit(breaks)


class _UnreadableError(click.ClickException):
    exit_code = 2


def _print(found: "Sequence[Finding]") -> None:
    for each in found:
        title = click.style(_TITLES[each.verdict], fg=_COLOURS[each.verdict])
        place = f"{each.file}:{each.line}:{each.column}"
        click.echo(f"{place}: {title}: {each.what}: {each.text}")

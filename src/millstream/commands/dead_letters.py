"""Dead letters: `millstream dead-letters` and `replay-dead-letters`."""

import click

from millstream.commands import letter_report
from millstream.commands.programs import errors_told


@click.command(
    name="dead-letters",
    epilog=(
        "Examples:\n\n  millstream dead-letters /data/dead-letters\n\n"
        "  millstream dead-letters --name parse --show 1700000000000-0-5 /data/dead-letters"
    ),
)
@click.option("--name", "names", multiple=True, help="Only letters of this name.")
@click.option(
    "--newest",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many of the newest to list.",
)
@click.option("--show", "number", metavar="ID", help="Print one letter whole.")
@click.option("--json", "is_json", is_flag=True, help="Print all letters as JSON.")
@click.argument("directory", metavar="DIR")
def command(
    *,
    names: tuple[str, ...],
    newest: int,
    number: str | None,
    is_json: bool,
    directory: str,
) -> None:
    """Print which records a program has put into DIR as dead letters, and why.

    Counts by error, then the newest. Records that are pickled aren't unpickled.
    """
    with errors_told():
        told = letter_report.report(directory, names)
        if number is not None:
            text = letter_report.letter_as_text(*letter_report.find(told, number))
        else:
            text = (
                letter_report.as_json(told)
                if is_json
                else letter_report.as_text(told, newest)
            )
    click.echo(text)


@click.command(
    name="replay-dead-letters",
    epilog=(
        "Examples:\n\n  millstream replay-dead-letters /data/dead-letters\n\n"
        "  millstream replay-dead-letters --only ValueError --dry-run /data/dead-letters"
    ),
)
@click.option("--name", "names", multiple=True, help="Only letters of this name.")
@click.option(
    "--only",
    multiple=True,
    metavar="WHAT",
    help="Only letters with this id, type of error, or batch time in ms. Repeatable.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say how many there are.")
@click.argument("directory", metavar="DIR")
def replay(
    *, names: tuple[str, ...], only: tuple[str, ...], is_dry: bool, directory: str
) -> None:
    """Have the program whose dead letters are in DIR take them in again.

    The program that runs, or the next one that is started, takes the records in where it
    says onError, in its next batch, each once. What fails again is a letter again, with a
    higher attempt.
    """
    with errors_told():
        made = letter_report.mark(directory, names, only, is_dry=is_dry)
    for each in made:
        click.echo(each.as_text())

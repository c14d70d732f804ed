"""State: `millstream state`, the keyed state in a checkpoint directory."""

import json
from dataclasses import asdict

import click

from millstream.commands.programs import errors_told


@click.group(
    epilog=(
        "Examples:\n\n  millstream state show /data/checkpoint\n\n"
        "  millstream state query /data/checkpoint "
        "'select key, value from counts order by value desc limit 10'"
    ),
)
def command() -> None:
    """Look into the keyed state of a stream, running or not."""


@command.command(
    epilog=(
        "Examples:\n\n  millstream state show /data/checkpoint\n\n"
        "  millstream state show --json s3://bucket/checkpoint"
    ),
)
@click.option("--json", "is_json", is_flag=True, help="Print it as JSON.")
@click.argument("directory", metavar="DIR")
def show(*, directory: str, is_json: bool) -> None:
    """Print which states the newest valid checkpoint in DIR has: names, keys, types."""
    from millstream.commands import checkpoint_states  # noqa: PLC0415

    with errors_told():
        found = checkpoint_states.overview(directory)
    if is_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        click.echo(f"{each.name}  ({each.kind})")
        click.echo(f"  keys      {each.keys}")
        click.echo(f"  types     key {each.key_type}, value {each.value_type}")
        click.echo(f"  as of     {', '.join(map(str, each.batches_ms)) or 'no batch'}")


@command.command(
    epilog=(
        "Examples:\n\n"
        "  millstream state query /data/checkpoint 'select count(*) from counts'\n\n"
        "  millstream state query --format csv --batch 1700000005000 /data/checkpoint \\\n\n"
        "    'select key, value from counts where value > 100'\n\n"
        "  millstream state query --format json /data/checkpoint "
        "'select * from \"map with state\"'"
    ),
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="json is an object a line.",
)
@click.option(
    "--batch",
    "version",
    type=int,
    metavar="MS",
    help="As of this batch, in ms; see `state show`. The newest without it.",
)
@click.option(
    "--trust",
    "trusts",
    is_flag=True,
    help="Unpickle objects of the program's classes, which runs their code.",
)
@click.argument("directory", metavar="DIR")
@click.argument("sql", metavar="SQL")
def query(
    *, directory: str, sql: str, form: str, version: int | None, trusts: bool
) -> None:
    """Answer an SQL query on the state in DIR, as of its newest valid checkpoint.

    Each state is a table by the name of its stream, with the columns `key` and `value`; a
    name that isn't a plain word stands in double quotes. Tuples are structs of `_1`,
    `_2`...; values whose types don't go together are text. The SQL is Polars'.

    Nothing in DIR changes, and nothing of the program runs unless --trust is given.
    """
    from millstream.commands import checkpoint_states  # noqa: PLC0415

    with errors_told():
        answer = checkpoint_states.query(directory, sql, version, trusts=trusts)
    match form:
        case "csv":
            for line in checkpoint_states.as_csv(answer):
                click.echo(line)
        case "json":
            for line in checkpoint_states.as_json_lines(answer):
                click.echo(line)
        case _:
            click.echo(checkpoint_states.as_table(answer))

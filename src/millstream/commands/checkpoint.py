"""Checkpoint: `millstream checkpoint fork` and `gc`, which copy and clean a directory."""

import click

from millstream.commands.programs import errors_told

_HOUR_MS = 3_600_000


@click.command(
    epilog=(
        "Examples:\n\n  millstream checkpoint fork /data/checkpoint /data/trial\n\n"
        "  millstream checkpoint fork s3://bucket/checkpoint file:///tmp/look"
    ),
)
@click.argument("directory", metavar="DIR")
@click.argument("target", metavar="TARGET")
def fork(*, directory: str, target: str) -> None:
    """Copy the newest valid checkpoint in DIR, with all that it needs, to TARGET.

    A program that is started with TARGET goes on as one with DIR would: to try an upgrade
    on, or to look into. The program of DIR may run on; the copy is as if it had been
    killed.

    The copy's outputs write where the program says: sinks that commit each batch once
    know an output by the application's name and its own, so give the copy other ones.
    """
    from millstream import checkpoint_upkeep  # noqa: PLC0415
    from millstream.commands.progress import Progress  # noqa: PLC0415
    from millstream.engine.base.progress import heard_by  # noqa: PLC0415

    with errors_told(), heard_by(Progress()):
        made = checkpoint_upkeep.fork(directory, target)
    click.echo(
        f"copied the checkpoint of batch {made.time_ms} ms: {made.files} files, "
        f"{made.bytes:,} bytes"
    )
    for each in made.left:
        click.echo(f"note: the copy goes on reading {each}, which is elsewhere")


@click.command(
    epilog=(
        "Examples:\n\n  millstream checkpoint gc /data/checkpoint     (only lists)\n\n"
        "  millstream checkpoint gc --delete --older-than 2 /data/checkpoint"
    ),
)
@click.option("--delete", "deletes", is_flag=True, help="Delete what is found.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Pass over what is younger: a running program may be about to name it.",
)
@click.argument("directory", metavar="DIR")
def gc(*, deletes: bool, older_than: float, directory: str) -> None:
    """List files in DIR that no checkpoint needs; delete them with --delete.

    Programs clean up by themselves. What stays is of crashes, of streams that an upgrade
    has dropped, and of clean-ups that failed. Checkpoints and logs aren't touched.
    """
    from millstream import checkpoint_upkeep  # noqa: PLC0415

    with errors_told():
        found = checkpoint_upkeep.leftovers(directory, round(older_than * _HOUR_MS))
        if deletes:
            checkpoint_upkeep.delete(directory, found)
    for each in found:
        hours = each.age_ms / _HOUR_MS
        click.echo(f"{each.name}  {each.bytes:,} bytes, {hours:.1f} hours old")
    size = sum(each.bytes for each in found)
    done = "deleted" if deletes else "could be deleted"
    click.echo(f"{len(found)} files, {size:,} bytes {done}")

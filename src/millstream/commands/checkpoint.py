"""Checkpoint: `millstream checkpoint`, which shows, plans from, copies and cleans one."""

import sys
from contextlib import redirect_stdout

import click

from millstream.commands import checkpoint_upkeep
from millstream.commands.checkpoint_report import as_json, as_text, report
from millstream.commands.programs import (
    PROGRAM_CONTEXT,
    conf_of,
    errors_told,
    fix_hash_seed,
    give_conf,
    in_words,
    program_arguments,
    program_options,
    run_within,
)
from millstream.commands.progress import Progress
from millstream.engine.base.errors import MillstreamError
from millstream.engine.base.progress import heard_by
from millstream.planning import Answer, Request, asking

_HOUR_MS = 3_600_000


@click.group(
    epilog=(
        "Examples:\n\n  millstream checkpoint show /data/checkpoint\n\n"
        "  millstream checkpoint plan /data/checkpoint wordcount.py localhost 9999"
    ),
)
def command() -> None:
    """Look into a checkpoint directory, plan an upgrade from it, copy or clean it."""


@command.command(
    epilog=(
        "Examples:\n\n  millstream checkpoint show /data/checkpoint\n\n"
        "  millstream checkpoint show --json s3://bucket/checkpoint"
    ),
)
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON.")
@click.argument("directory", metavar="DIR")
def show(*, directory: str, is_json: bool) -> None:
    """Print what the newest valid checkpoint in DIR holds.

    Batches, sources with their positions, streams with their stable names, state sizes,
    settings, and which files of the directory are damaged. The program's functions aren't
    unpickled: nothing of it runs.
    """
    with errors_told():
        told = report(directory)
    click.echo(as_json(told) if is_json else as_text(told))


class _NoPlanError(click.ClickException):
    exit_code = 2


@command.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n  millstream checkpoint plan /data/checkpoint app.py\n\n"
        "  millstream checkpoint plan --allow-drop old-counts /data/checkpoint app.py a b"
    ),
)
@program_options
@click.option(
    "--allow-drop",
    multiple=True,
    metavar="NAME",
    help="A stream whose state may be dropped, as allow_drop of getOrCreate says it.",
)
@click.argument("directory", metavar="DIR")
@program_arguments
def plan(
    *,
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
    allow_drop: tuple[str, ...],
    directory: str,
    program: str,
    args: tuple[str, ...],
) -> None:
    """Print what PROGRAM would take over from the checkpoint in DIR; nothing starts.

    The program runs, with ARGS, up to its getOrCreate with DIR: its streams are built and
    matched by name with those of the checkpoint, and then it ends. What it prints goes to
    the standard error. Nothing in DIR changes.

    Exits with 0 when `upgrade="apply"` would go on without dropping state that isn't in
    allow_drop, with 1 when it wouldn't, with 2 when there is no plan.
    """
    give_conf(conf_of(master, name, settings, py_files))
    allowed = [word for each in allow_drop for word in ("--allow-drop", each)]
    fix_hash_seed("checkpoint", "plan", *allowed, directory, program, *args)
    _check_directory(directory)
    answer = _ask(Request(directory, allow_drop), program, args)
    click.echo(answer.text)
    sys.exit(0 if answer.can_apply else 1)


def _check_directory(directory: str) -> None:
    try:
        report(directory)
    except (MillstreamError, OSError) as error:
        raise _NoPlanError(in_words(error)) from error


def _ask(request: Request, program: str, args: tuple[str, ...]) -> Answer:
    """Run a program until it has answered."""
    with redirect_stdout(sys.stderr):
        code = run_within(asking(request), program, args)
    if request.answer is not None:
        return request.answer
    msg = f"{program} never called getOrCreate with '{request.directory}'"
    if request.strayed:
        msg += f": {'; '.join(request.strayed)}"
    elif code not in (None, 0):
        msg += f": it ended with exit code {code} before"
    raise _NoPlanError(msg)


@command.command(
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
    with errors_told(), heard_by(Progress()):
        made = checkpoint_upkeep.fork(directory, target)
    click.echo(
        f"copied the checkpoint of batch {made.time_ms} ms: {made.files} files, "
        f"{made.bytes:,} bytes"
    )
    for each in made.left:
        click.echo(f"note: the copy goes on reading {each}, which is elsewhere")


@command.command(
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

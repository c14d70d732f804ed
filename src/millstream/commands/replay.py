"""Replay: `millstream replay`, one recorded batch run again in this process."""

import re
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from millstream.commands.programs import (
    INTERRUPTED,
    PROGRAM_CONTEXT,
    apart,
    conf_of,
    errors_told,
    fix_hash_seed,
    give_conf,
    in_words,
    program_arguments,
    program_options,
    run_within,
)

if TYPE_CHECKING:
    from millstream.streaming.context import StreamingContext
    from millstream.streaming.replaying import Replay, ReplayedOutput

_ROWS_SHOWN = 20


class _BatchTime(click.ParamType[int]):
    """A batch's time: ms since the epoch, or 2026-01-31T12:00:05 (UTC)."""

    name = "TIME"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        text = str(value)
        if re.fullmatch(r"[0-9]+", text):
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"'{text}' is neither ms nor a time such as {_EXAMPLE}", param, ctx
            )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)


_EXAMPLE = "2026-01-31T12:00:05"


@click.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n"
        "  millstream replay --batch 1700000005000 app.py\n\n"
        "  millstream replay --batch 2026-01-31T12:00:05 --pdb app.py in/ out/\n\n"
        "  millstream replay --batch 1700000005000 --only-show app.py     (calls no "
        "foreachRDD)"
    ),
)
@program_options
@click.option(
    "--batch",
    "time_ms",
    type=_BatchTime(),
    required=True,
    help="The batch's time: ms since the epoch, or as 2026-01-31T12:00:05, in UTC.",
)
@click.option("--pdb", "debugs", is_flag=True, help="Open a debugger where it fails.")
@click.option(
    "--only-show",
    is_flag=True,
    help="Show what outputs are given; call none of the program's own either.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=_ROWS_SHOWN,
    show_default=True,
    help="How many rows to show of an output that isn't committed.",
)
@program_arguments
def command(
    *,
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
    time_ms: int,
    debugs: bool,
    only_show: bool,
    rows: int,
    program: str,
    args: tuple[str, ...],
) -> None:
    """Run one recorded batch of PROGRAM again, with its true inputs and state.

    The program runs, with ARGS, up to the start of its stream. Then the batch is made from
    what the checkpoint directory has of it: its files, its ranges, its logged blocks, the
    state as of the batch before. All of it runs in this process, on one thread, a record
    at a time, so that breakpoints work; a failure is told with your own traceback.

    Nothing in the directory changes, and no batch but this one runs. What sinks and
    saveAs... would write is shown instead; the functions of foreachRDD are called, as the
    program's own, unless --only-show is given.

    Exits with 0 when the batch succeeds, with 1 when it fails, with 2 when it can't be
    replayed.
    """
    give_conf(conf_of(master, name, settings, py_files))
    given = ["--batch", str(time_ms), "--rows", str(rows)]
    given += ["--pdb"] * debugs + ["--only-show"] * only_show
    fix_hash_seed("replay", *given, program, *args)
    shown = _Shown(time_ms, debugs=debugs, only_show=only_show, rows=rows)
    sys.exit(shown.of(program, args))


class _CannotReplayError(click.ClickException):
    exit_code = 2


class _Shown:
    """One replay, as the terminal has it."""

    def __init__(
        self, time_ms: int, *, debugs: bool, only_show: bool, rows: int
    ) -> None:
        self._time_ms = time_ms
        self._debugs, self._only_show, self._rows = debugs, only_show, rows
        self._failed: int | None = None
        """How many outputs have failed; None: the stream wasn't started."""
        self._refused: Exception | None = None

    def of(self, program: str, args: tuple[str, ...]) -> int:
        """Run the program, and return the exit code."""
        from millstream.planning import Look, looking  # noqa: PLC0415

        code = run_within(looking(Look(self._at_start, _settings)), program, args)
        if self._refused is not None:
            raise _CannotReplayError(in_words(self._refused)) from self._refused
        if self._failed is None and code == INTERRUPTED:
            return INTERRUPTED
        if self._failed is None:
            ending = "" if code in (None, 0) else f": it ended with exit code {code}"
            msg = f"{program} never started a stream{ending}"
            raise _CannotReplayError(msg)
        return 1 if self._failed else 0

    def _at_start(self, ssc: "StreamingContext") -> None:
        apart(lambda: self._replay(ssc))

    def _replay(self, ssc: "StreamingContext") -> None:
        from millstream.commands.progress import Progress  # noqa: PLC0415
        from millstream.engine.base.errors import MillstreamError  # noqa: PLC0415
        from millstream.engine.base.progress import heard_by  # noqa: PLC0415
        from millstream.streaming.replaying import Replay  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="millstream-replay-") as scratch:
            replay = Replay(ssc, self._time_ms, Path(scratch))
            try:
                with heard_by(Progress()):
                    facts = replay.prepare()
            except (MillstreamError, OSError) as error:
                self._refused = error
                return
            click.echo(
                f"batch {self._time_ms} ms of '{facts.app_name}', from the checkpoint of "
                f"batch {facts.time_ms} ms"
            )
            for note in replay.notes:
                click.echo(f"note: {note}")
            self._show(replay)

    def _show(self, replay: "Replay") -> None:
        from millstream.engine.base.errors import UsageError  # noqa: PLC0415

        try:
            outputs = replay.outputs()
        except UsageError as error:
            self._refused = error
            return
        except Exception as error:
            self._failed = 1
            self._tell(error)
            return
        self._failed = 0
        for each in outputs:
            click.secho(f"output {each.number}: {each.title}", bold=True)
            try:
                self._run(each)
            except Exception as error:
                self._failed += 1
                self._tell(error)
        if not outputs:
            click.echo("no output operation has anything to do in this batch")
        elif not self._failed:
            click.echo("the batch succeeded")

    def _run(self, output: "ReplayedOutput") -> None:
        if not (output.commits or self._only_show):
            output.run()
            return
        taken = output.rdd.take(self._rows + 1)
        for row in taken[: self._rows]:
            click.echo(f"  {row!r}")
        if len(taken) > self._rows:
            click.echo("  ...")
        if self._rows:
            return
        click.echo(f"  {output.rdd.count()} records")

    def _tell(self, error: Exception) -> None:
        from millstream.engine.jobs.failures import user_traceback  # noqa: PLC0415

        cause = user_error(error)
        click.echo(user_traceback(cause), nl=False, err=True)
        where = str(error).splitlines()
        click.echo("\n".join(e for e in where if e.startswith("  in ")), err=True)
        if self._debugs:
            import pdb  # noqa: PLC0415, T100  What was asked for.

            pdb.post_mortem(cause.__traceback__)


def user_error(error: BaseException) -> BaseException:
    """Return the error that the program's own function raised, of a job's error."""
    from millstream.engine.base.errors import JobFailedError  # noqa: PLC0415

    while isinstance(error, JobFailedError) and error.user_error is not None:
        error = error.user_error
    return error


def _settings(given: Mapping[str, str]) -> Mapping[str, str]:
    from millstream.context import parse_master  # noqa: PLC0415
    from millstream.engine.base.config import Settings  # noqa: PLC0415
    from millstream.streaming.replaying import row_by_row  # noqa: PLC0415

    with errors_told():
        slots = parse_master(given["spark.master"], Settings(dict(given))).slots
    return row_by_row(given, max(1, slots))

"""The command line: what `millstream` can do; larger commands are in `commands`."""

import os  # noqa: TID251  Environment, exec.
import shutil
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from millstream.commands.programs import (
    INTERRUPTED,
    PROGRAM_CONTEXT,
    Command,
    conf_of,
    errors_told,
    fix_hash_seed,
    give_conf,
    in_words,
    program_options,
    run_program,
)
from millstream.version import __version__

if TYPE_CHECKING:
    from millstream.cluster_commands import JobReport, JobServer
    from millstream.planning import Answer, Request


class _Commands(click.Group):
    """The commands of this module, and those of `commands`, loaded when asked for.

    A program that is only run doesn't wait for them.
    """

    def __init__(self, *, later: Mapping[str, str], **others: Any) -> None:
        """Have `later` as well: where a command is, `module:name`, by its name."""
        super().__init__(**others)
        self._later = later

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = self._later.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = where.partition(":")
        found: click.Command = getattr(
            import_module(f"millstream.commands.{module}"), name or "command"
        )
        return found


@click.group(
    cls=_Commands,
    later={
        "completion": "completion",
        "doctor": "doctor",
        "explain": "explain",
        "migrate-check": "migrate_check",
        "replay": "replay",
        "state": "state",
        "top": "top",
        "ui": "ui",
    },
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


@main.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n"
        "  millstream run wordcount.py localhost 9999\n\n"
        "  millstream run --master 'local[2]' --conf spark.default.parallelism=4 app.py\n\n"
        "  millstream run --profile flames.svg app.py    (where its time went)\n\n"
        "  millstream run --log-format json --log-level info app.py\n\n"
        "  millstream run --engine pyspark app.py     (the same program on real PySpark)"
    ),
)
@program_options
@click.option(
    "--engine",
    type=click.Choice(["millstream", "pyspark"]),
    default="millstream",
    show_default=True,
    help="What answers `import pyspark`.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write a flame graph of the program, its tasks and its workers: an .svg to look "
    "at, or a .json for speedscope. Needs the extra `profile`.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="What lines of the log look like; json is an object a line.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    help="Which lines of Millstream's log are written.",
)
@click.option(
    "--progress",
    "shows_progress",
    is_flag=True,
    help="Show how far recovery, compaction and long stages are: bars on a terminal, "
    "lines elsewhere.",
)
@click.argument("program", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
    engine: str,
    profile: str | None,
    log_format: str | None,
    log_level: str | None,
    shows_progress: bool,
    program: str,
    args: tuple[str, ...],
) -> None:
    """Run a PySpark PROGRAM, unchanged, with ARGS.

    `import pyspark` gives Millstream, even where PySpark is installed. Settings in the
    program win over --conf, as with spark-submit. PYTHONHASHSEED is set to 0 unless it is
    set already, so that sets of strings have one order in every run.
    """
    conf = conf_of(master, name, settings, py_files)
    give_conf(conf)
    if engine == "pyspark":
        _run_on_pyspark(program, args, conf)
    given = _log_options(log_format, log_level)
    given += ["--progress"] * shows_progress
    if profile is not None:
        _run_profiled(profile, [*given, program, *args])
    fix_hash_seed("run", *given, program, *args)
    if log_format is not None or log_level is not None:
        from millstream.engine.base import logs  # noqa: PLC0415

        logs.configure(log_format or "text", log_level)
    if shows_progress:
        from millstream.commands.progress import shown  # noqa: PLC0415

        with shown():
            sys.exit(run_program(program, args))
    sys.exit(run_program(program, args))


def _log_options(form: str | None, level: str | None) -> list[str]:
    """Return the options as this command's successor is given them."""
    given = {"--log-format": form, "--log-level": level}
    return [
        word
        for name, value in given.items()
        if value is not None
        for word in (name, value)
    ]


def _run_profiled(file: str, arguments: list[str]) -> NoReturn:
    """Become a profiler that runs the program; what was given as settings is inherited."""
    beside = Path(sys.executable).with_name("py-spy")
    profiler = str(beside) if beside.exists() else shutil.which("py-spy")
    if profiler is None:
        msg = (
            "--profile needs py-spy, which isn't installed\n"
            "hint: pip install 'millstream[profile]'"
        )
        raise click.ClickException(msg)
    form = "speedscope" if file.endswith(".json") else "flamegraph"
    command = [profiler, "record", "--subprocesses", "--format", form, "-o", file]
    program_too = [sys.executable, "-m", "millstream", "run", *arguments]
    os.execv(profiler, [*command, "--", *program_too])  # noqa: S606


def _run_on_pyspark(
    program: str, args: tuple[str, ...], conf: dict[str, str]
) -> NoReturn:
    """Run the program with the PySpark that is installed, in place of this process."""
    from importlib.util import find_spec  # noqa: PLC0415

    found = find_spec("pyspark")
    if found is None or found.origin == _client_package():
        msg = "PySpark isn't installed; `pip install pyspark` (and Java) to compare"
        raise click.ClickException(msg)
    submit = " ".join(f'--conf "{key}={value}"' for key, value in conf.items())
    if submit:
        os.environ["PYSPARK_SUBMIT_ARGS"] = f"{submit} pyspark-shell"
    os.environ.setdefault("PYTHONHASHSEED", "0")
    os.execv(sys.executable, [sys.executable, program, *args])  # noqa: S606


def _client_package() -> str | None:
    """Return where the client of the extra `sql` is, which has PySpark's name, no engine."""
    from importlib import metadata  # noqa: PLC0415

    try:
        client = metadata.distribution("pyspark-client")
        return str(client.locate_file("pyspark/__init__.py"))
    except metadata.PackageNotFoundError:
        return None


def _address_option(command: Command) -> Command:
    """Add the option that says where a cluster's job server is."""
    return click.option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        default="http://127.0.0.1:8265",
        show_default=True,
        metavar="URL",
        help="The head's dashboard; RAY_API_SERVER_ADDRESS without it.",
    )(command)


@main.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n"
        "  millstream submit --address http://10.0.0.5:8265 app.py s3://bucket/in\n\n"
        "  millstream submit --no-wait --conf spark.executor.instances=8 app.py\n\n"
        "  millstream submit --requirements requirements.txt --working-dir . jobs/app.py"
    ),
)
@program_options
@_address_option
@click.option(
    "--working-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="What is uploaded: PROGRAM's own directory without it.",
)
@click.option(
    "--requirements",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Packages that the nodes install for this job alone.",
)
@click.option("--pip", "packages", multiple=True, metavar="PACKAGE", help="One more.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="An environment variable there; without a value, the one that it has here.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Show what it puts out until it ends, and end as it does.",
)
@click.argument("program", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def submit(
    *,
    address: str,
    program: Path,
    args: tuple[str, ...],
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
    working_dir: Path | None,
    requirements: Path | None,
    packages: tuple[str, ...],
    variables: tuple[str, ...],
    wait: bool,
) -> None:
    """Run PROGRAM with ARGS in a Ray cluster, by the cluster's job server.

    The working directory is uploaded, and a node runs `millstream run --master ray` there,
    which must be installed on the nodes or named with --pip. The exit code is the
    program's. Ctrl-C ends the waiting, not the job.

    What --conf and --env give is kept by the cluster, and shown to who may see its
    dashboard: credentials are better off in the environment of the nodes.
    """
    from millstream import cluster_commands as commands  # noqa: PLC0415

    with errors_told():
        submission = commands.plan_submission(
            program,
            args,
            conf=conf_of(master, name, settings, py_files),
            working_dir=working_dir or program.parent,
            environment=commands.environment_of(variables, os.environ),
            packages=commands.packages_of(requirements, packages),
        )
        server = commands.JobServer.at(address)
        job = server.submit(submission)
    click.echo(f"submitted job {job}", err=True)
    if wait:
        sys.exit(_follow(server, job))
    click.echo(job)


def _follow(server: "JobServer", job: str) -> int:
    """Show what a job puts out, and return its exit code, or that of an interruption."""
    try:
        with errors_told():
            ended = server.follow(job, lambda text: click.echo(text, nl=False))
    except KeyboardInterrupt:
        where = f"--address {server.address} {job}"
        click.echo(
            f"\njob {job} goes on\n"
            f"hint: watch it: millstream job logs -f {where}\n"
            f"hint: end it: millstream job stop {where}",
            err=True,
        )
        return INTERRUPTED
    _tell(ended)
    return ended.ending


def _tell(found: "JobReport") -> None:
    click.echo(found.as_text(), err=True)


@main.group(
    epilog=(
        "Examples:\n\n  millstream job list --address http://10.0.0.5:8265\n\n"
        "  millstream job logs --follow JOB"
    ),
)
def job() -> None:
    """Look after programs that were submitted to a cluster."""


@job.command("list", epilog="Example:\n\n  millstream job list")
@_address_option
def list_jobs(*, address: str) -> None:
    """Print the jobs that the cluster knows, and how they are."""
    from millstream.cluster_commands import JobServer  # noqa: PLC0415

    with errors_told():
        for each in JobServer.at(address).jobs():
            click.echo(each.as_text())


@job.command(epilog="Example:\n\n  millstream job status JOB")
@_address_option
@click.argument("identity", metavar="JOB")
def status(*, address: str, identity: str) -> None:
    """Print how JOB is.

    Exits with 0 while it runs and when it has succeeded, else with the program's code.
    """
    from millstream.cluster_commands import JobServer  # noqa: PLC0415

    with errors_told():
        found = JobServer.at(address).report(identity)
    click.echo(found.as_text())
    sys.exit(found.ending if found.is_over else 0)


@job.command(epilog="Example:\n\n  millstream job logs --follow JOB")
@_address_option
@click.option("--follow", "-f", is_flag=True, help="Go on until the job ends.")
@click.argument("identity", metavar="JOB")
def logs(*, address: str, follow: bool, identity: str) -> None:
    """Print what JOB has put out."""
    from millstream.cluster_commands import JobServer  # noqa: PLC0415

    with errors_told():
        server = JobServer.at(address)
        if not follow:
            click.echo(server.logs(identity), nl=False)
            return
    sys.exit(_follow(server, identity))


@job.command(epilog="Example:\n\n  millstream job stop JOB")
@_address_option
@click.argument("identity", metavar="JOB")
def stop(*, address: str, identity: str) -> None:
    """Ask JOB to end: it gets SIGTERM, and is killed when it takes too long."""
    from millstream.cluster_commands import JobServer  # noqa: PLC0415

    with errors_told():
        was_running = JobServer.at(address).stop(identity)
    told = "was told to end" if was_running else "wasn't running"
    click.echo(f"job {identity} {told}", err=True)


@main.command(
    epilog="Example:\n\n  millstream demo --seconds 10 --rate 50000",
)
@click.option(
    "--seconds",
    type=float,
    default=lambda: float(os.environ.get("DEMO_SECONDS", "30")),
    help="How long to run; DEMO_SECONDS or 30 by default.",
)
@click.option(
    "--rate",
    type=int,
    default=20_000,
    show_default=True,
    help="Lines a second to send.",
)
def demo(*, seconds: float, rate: int) -> None:
    """Count the words of a real text that streams in over a socket."""
    from millstream.demo.wordcount import run_demo  # noqa: PLC0415

    sys.exit(run_demo(seconds, rate))


@main.group(
    cls=_Commands,
    later={"fork": "checkpoint:fork", "gc": "checkpoint:gc"},
    epilog=(
        "Examples:\n\n  millstream checkpoint show /data/checkpoint\n\n"
        "  millstream checkpoint plan /data/checkpoint wordcount.py localhost 9999"
    ),
)
def checkpoint() -> None:
    """Look into a checkpoint directory, plan an upgrade from it, copy or clean it."""


@checkpoint.command(
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
    from millstream import checkpoint_commands as commands  # noqa: PLC0415
    from millstream.engine.base.errors import MillstreamError  # noqa: PLC0415

    try:
        told = commands.report(directory)
    except (MillstreamError, OSError) as error:
        raise click.ClickException(in_words(error)) from error
    click.echo(commands.as_json(told) if is_json else commands.as_text(told))


class _NoPlanError(click.ClickException):
    exit_code = 2


@checkpoint.command(
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
@click.argument("program", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
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
    from millstream.planning import Request  # noqa: PLC0415

    give_conf(conf_of(master, name, settings, py_files))
    allowed = [word for each in allow_drop for word in ("--allow-drop", each)]
    fix_hash_seed("checkpoint", "plan", *allowed, directory, program, *args)
    _check_directory(directory)
    answer = _ask(Request(directory, allow_drop), program, args)
    click.echo(answer.text)
    sys.exit(0 if answer.can_apply else 1)


def _check_directory(directory: str) -> None:
    from millstream import checkpoint_commands as commands  # noqa: PLC0415
    from millstream.engine.base.errors import MillstreamError  # noqa: PLC0415

    try:
        commands.report(directory)
    except (MillstreamError, OSError) as error:
        raise _NoPlanError(in_words(error)) from error


def _ask(request: "Request", program: str, args: tuple[str, ...]) -> "Answer":
    """Run a program until it has answered."""
    from millstream.context import SparkContext  # noqa: PLC0415
    from millstream.planning import asking  # noqa: PLC0415

    code: object
    try:
        with asking(request), redirect_stdout(sys.stderr):
            code = run_program(program, args)
    except SystemExit as ended:
        code = ended.code
    left = SparkContext._active_spark_context
    if left is not None:
        left.stop()
    if request.answer is not None:
        return request.answer
    msg = f"{program} never called getOrCreate with '{request.directory}'"
    if request.strayed:
        msg += f": {'; '.join(request.strayed)}"
    elif code not in (None, 0):
        msg += f": it ended with exit code {code} before"
    raise _NoPlanError(msg)


@main.command(
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
def dead_letters(
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
    from millstream import dead_letter_commands as commands  # noqa: PLC0415
    from millstream.engine.base.errors import MillstreamError  # noqa: PLC0415

    try:
        told = commands.report(directory, names)
        if number is not None:
            text = commands.letter_as_text(*commands.find(told, number))
        else:
            text = commands.as_json(told) if is_json else commands.as_text(told, newest)
    except (MillstreamError, OSError) as error:
        raise click.ClickException(in_words(error)) from error
    click.echo(text)


@main.command(
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
def replay_dead_letters(
    *, names: tuple[str, ...], only: tuple[str, ...], is_dry: bool, directory: str
) -> None:
    """Have the program whose dead letters are in DIR take them in again.

    The program that runs, or the next one that is started, takes the records in where it
    says onError, in its next batch, each once. What fails again is a letter again, with a
    higher attempt.
    """
    from millstream import dead_letter_commands as commands  # noqa: PLC0415
    from millstream.engine.base.errors import MillstreamError  # noqa: PLC0415

    try:
        made = commands.mark(directory, names, only, is_dry=is_dry)
    except (MillstreamError, OSError) as error:
        raise click.ClickException(in_words(error)) from error
    for each in made:
        click.echo(each.as_text())

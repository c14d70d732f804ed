"""Cluster: `millstream submit` and `job`, which have a Ray cluster run programs."""

import os  # noqa: TID251  The environment that a job is given.
import sys
from pathlib import Path

import click

from millstream.commands.job_server import (
    JobReport,
    JobServer,
    environment_of,
    packages_of,
    plan_submission,
)
from millstream.commands.programs import (
    INTERRUPTED,
    PROGRAM_CONTEXT,
    Command,
    conf_of,
    errors_told,
    program_options,
)


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


@click.command(
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
    with errors_told():
        submission = plan_submission(
            program,
            args,
            conf=conf_of(master, name, settings, py_files),
            working_dir=working_dir or program.parent,
            environment=environment_of(variables, os.environ),
            packages=packages_of(requirements, packages),
        )
        server = JobServer.at(address)
        job = server.submit(submission)
    click.echo(f"submitted job {job}", err=True)
    if wait:
        sys.exit(_follow(server, job))
    click.echo(job)


def _follow(server: JobServer, job: str) -> int:
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


def _tell(found: JobReport) -> None:
    click.echo(found.as_text(), err=True)


@click.group(
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
    with errors_told():
        was_running = JobServer.at(address).stop(identity)
    told = "was told to end" if was_running else "wasn't running"
    click.echo(f"job {identity} {told}", err=True)

"""Run: `millstream run`, which runs a program of PySpark's unchanged."""

import os  # noqa: TID251  Environment, exec.
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import click

from millstream.commands.programs import (
    PROGRAM_CONTEXT,
    conf_of,
    fix_hash_seed,
    give_conf,
    program_arguments,
    program_options,
    run_program,
)


@click.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n"
        "  millstream run wordcount.py localhost 9999\n\n"
        "  millstream run --master 'local[2]' --conf spark.default.parallelism=4 app.py\n\n"
        "  millstream run --profile flames.svg app.py    (where its time went)\n\n"
        "  millstream run --log-format json --log-level info app.py\n\n"
        "  millstream run --ui-token auto app.py     (stop it from its page)\n\n"
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
@click.option(
    "--ui-token",
    metavar="TOKEN|auto",
    help="Let who has TOKEN stop, pause and kill from the program's page; auto makes one, "
    "and prints the page's address with it. Others on this machine see what a command was "
    "given: MILLSTREAM_UI_TOKEN in the environment hides it.",
)
@program_arguments
def command(
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
    ui_token: str | None,
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
    if ui_token is not None:
        if not ui_token:
            msg = (
                "it is empty; auto makes a token, and without the option there is none"
            )
            raise click.BadParameter(msg, param_hint="--ui-token")
        # Inherited, and in no list of processes, by whatever this becomes.
        os.environ["MILLSTREAM_UI_TOKEN"] = ui_token
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

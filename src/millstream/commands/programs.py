"""Programs: how the command line runs one, and tells its errors."""

import json
import os  # noqa: TID251  Environment, exec.
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import click

INTERRUPTED = 130
Command = TypeVar("Command", bound=Callable[..., object])
PROGRAM_CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""What lets a program's arguments begin with a dash."""


def program_options(command: Command) -> Command:
    """Add the options that say how a program is run."""
    for add in (
        click.option(
            "--py-files",
            help="Modules to add to the import path: .py, .zip, .egg, with commas.",
        ),
        click.option(
            "--conf",
            "-c",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="A setting.",
        ),
        click.option("--name", help="The application's name."),
        click.option("--master", help="Where tasks run: local[N], local[*] or ray."),
    ):
        command = add(command)
    return command


def program_arguments(command: Command) -> Command:
    """Add the program and its arguments."""
    for add in (
        click.argument("args", nargs=-1, type=click.UNPROCESSED),
        click.argument("program", type=click.Path(exists=True, dir_okay=False)),
    ):
        command = add(command)
    return command


def conf_of(
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
) -> dict[str, str]:
    """Return what the options say, as settings.

    Raises:
        click.BadParameter: One of `settings` is not KEY=VALUE.
    """
    conf: dict[str, str] = {}
    for each in settings:
        key, sign, value = each.partition("=")
        if not sign or not key:
            msg = f"'{each}' is not KEY=VALUE"
            raise click.BadParameter(msg, param_hint="--conf")
        conf[key] = value
    given = {
        "spark.master": master,
        "spark.app.name": name,
        "spark.submit.pyFiles": py_files,
    }
    return conf | {key: value for key, value in given.items() if value is not None}


def give_conf(conf: dict[str, str]) -> None:
    """Have programs of this process and its children begin with these settings."""
    os.environ["MILLSTREAM_CONF"] = json.dumps(
        {**json.loads(os.environ.get("MILLSTREAM_CONF", "{}")), **conf}
    )


def fix_hash_seed(*arguments: str) -> None:
    """Begin again with PYTHONHASHSEED=0, unless it is set."""
    if "PYTHONHASHSEED" not in os.environ:
        os.environ["PYTHONHASHSEED"] = "0"
        command = [sys.executable, *interpreter_flags(), "-m", "millstream"]
        os.execv(sys.executable, [*command, *arguments])  # noqa: S606


def interpreter_flags() -> list[str]:
    """Return the flags of this interpreter that its successor is to have."""
    return ["-X", "dev"] if sys.flags.dev_mode else []


def run_program(program: str, args: tuple[str, ...]) -> int:
    """Run a file as `__main__` and return the exit code it asked for."""
    from millstream import compat  # noqa: PLC0415

    compat.install()
    compat.install_for_children()
    sys.argv = [program, *args]
    sys.path[0] = str(Path(program).resolve().parent)
    try:
        runpy.run_path(program, run_name="__main__")
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit:
        raise
    except BaseException as error:
        from millstream.engine.jobs.failures import user_traceback  # noqa: PLC0415

        print(user_traceback(error), end="", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def run_within(
    block: AbstractContextManager[object], program: str, args: tuple[str, ...]
) -> object:
    """Run a file within a block, stop the context that it leaves, return its exit code."""
    from millstream.context import SparkContext  # noqa: PLC0415

    code: object
    try:
        with block:
            code = run_program(program, args)
    except SystemExit as ended:
        code = ended.code
    left = SparkContext._active_spark_context
    if left is not None:
        left.stop()
    return code


def apart(work: Callable[[], None]) -> None:
    """Do `work` on a thread without a frame of the program's, and wait for it.

    So what it makes counts as made where the program made its streams, not where it
    started them. Raises what the work does.
    """
    import threading  # noqa: PLC0415  Only for commands that look at a program.

    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="millstream-command", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def in_words(error: BaseException) -> str:
    """Return what an error says, with its hints."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


@contextmanager
def errors_told() -> Iterator[None]:
    """Tell errors of the block in words, without a traceback.

    Raises:
        click.ClickException: The block raised an error of Millstream's, or of a file.
    """
    from millstream.engine.base.errors import MillstreamError  # noqa: PLC0415

    try:
        yield
    except (MillstreamError, OSError) as error:
        raise click.ClickException(in_words(error)) from error

"""The command line: `millstream run`, `millstream demo`."""

import json
import os  # noqa: TID251  Environment, exec.
import runpy
import sys
from pathlib import Path
from typing import NoReturn

import click

from millstream.version import __version__

_INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples:\n\n  millstream demo\n\n  millstream run wordcount.py localhost 9999",
)
@click.version_option(
    __version__, prog_name="millstream", message="%(prog)s (API of Spark %(version)s)"
)
def main() -> None:
    """Run PySpark's streaming programs in plain Python."""


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=(
        "Examples:\n\n"
        "  millstream run wordcount.py localhost 9999\n\n"
        "  millstream run --master 'local[2]' --conf spark.default.parallelism=4 app.py\n\n"
        "  millstream run --engine pyspark app.py     (the same program on real PySpark)"
    ),
)
@click.option("--master", help="Where tasks run: local, local[N] or local[*].")
@click.option("--name", help="The application's name.")
@click.option(
    "--conf", "-c", "settings", multiple=True, metavar="KEY=VALUE", help="A setting."
)
@click.option(
    "--py-files",
    help="Modules to add to the import path: .py, .zip, .egg, with commas.",
)
@click.option(
    "--engine",
    type=click.Choice(["millstream", "pyspark"]),
    default="millstream",
    show_default=True,
    help="What answers `import pyspark`.",
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
    program: str,
    args: tuple[str, ...],
) -> None:
    """Run a PySpark PROGRAM, unchanged, with ARGS.

    `import pyspark` gives Millstream, even where PySpark is installed. Settings in the
    program win over --conf, as with spark-submit. PYTHONHASHSEED is set to 0 unless it is
    set already, so that sets of strings have one order in every run.
    """
    conf = _conf_of(master, name, settings, py_files)
    os.environ["MILLSTREAM_CONF"] = json.dumps(
        {**json.loads(os.environ.get("MILLSTREAM_CONF", "{}")), **conf}
    )
    if engine == "pyspark":
        _run_on_pyspark(program, args, conf)
    if "PYTHONHASHSEED" not in os.environ:
        os.environ["PYTHONHASHSEED"] = "0"
        arguments = [sys.executable, *_interpreter_flags(), "-m", "millstream"]
        os.execv(sys.executable, [*arguments, "run", program, *args])  # noqa: S606
    from millstream import compat  # noqa: PLC0415

    compat.install()
    compat.install_for_children()
    sys.exit(_run_program(program, args))


def _interpreter_flags() -> list[str]:
    return ["-X", "dev"] if sys.flags.dev_mode else []


def _conf_of(
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
) -> dict[str, str]:
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


def _run_program(program: str, args: tuple[str, ...]) -> int:
    """Run a file as `__main__` and return the exit code it asked for."""
    sys.argv = [program, *args]
    sys.path[0] = str(Path(program).resolve().parent)
    try:
        runpy.run_path(program, run_name="__main__")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit:
        raise
    except BaseException as error:
        from millstream.engine.jobs.failures import user_traceback  # noqa: PLC0415

        print(user_traceback(error), end="", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _run_on_pyspark(
    program: str, args: tuple[str, ...], conf: dict[str, str]
) -> NoReturn:
    """Run the program with the PySpark that is installed, in place of this process."""
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec("pyspark") is None:
        msg = "PySpark isn't installed; `pip install pyspark` (and Java) to compare"
        raise click.ClickException(msg)
    submit = " ".join(f'--conf "{key}={value}"' for key, value in conf.items())
    if submit:
        os.environ["PYSPARK_SUBMIT_ARGS"] = f"{submit} pyspark-shell"
    os.environ.setdefault("PYTHONHASHSEED", "0")
    os.execv(sys.executable, [sys.executable, program, *args])  # noqa: S606


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

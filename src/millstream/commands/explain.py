"""Explain: `millstream explain`, which of a program's functions go by columns, and why not."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from millstream.commands.programs import (
    PROGRAM_CONTEXT,
    apart,
    conf_of,
    fix_hash_seed,
    give_conf,
    program_arguments,
    program_options,
    run_program,
)

if TYPE_CHECKING:
    from millstream.engine.streams.operators import Operator
    from millstream.streaming.context import StreamingContext


@click.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n"
        "  millstream explain wordcount.py localhost 9999\n\n"
        "  millstream explain --actions app.py in/     (its actions before the start, too)"
    ),
)
@program_options
@click.option(
    "--actions",
    "runs_actions",
    is_flag=True,
    help="Explain each action on RDDs and run it, rather than end at the first one.",
)
@program_arguments
def command(
    *,
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
    runs_actions: bool,
    program: str,
    args: tuple[str, ...],
) -> None:
    """Print what PROGRAM's streams do, and which functions go by columns or why not.

    The program runs, with ARGS, up to the start of its stream, or to its first action on
    an RDD; nothing starts. A line is an RDD, from each output back to its sources; `*` is
    where data moves. What only a batch can tell is said so. Actions that the program needs
    before the start of its stream run with --actions.

    Exits with 1 when the program ends before it has anything to explain.
    """
    give_conf(conf_of(master, name, settings, py_files))
    given = ["--actions"] if runs_actions else []
    fix_hash_seed("explain", *given, program, *args)
    sys.exit(_explain(program, args, runs_actions=runs_actions))


def _explain(program: str, args: tuple[str, ...], *, runs_actions: bool) -> int:
    from millstream.context import SparkContext  # noqa: PLC0415
    from millstream.planning import Look, looking  # noqa: PLC0415

    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        click.echo(text)

    def at_start(ssc: "StreamingContext") -> None:
        def work() -> None:
            for text in of_stream(ssc):
                tell(text)

        apart(work)

    code: object
    try:
        with looking(Look(at_start)), _actions(tell, runs_them=runs_actions):
            code = run_program(program, args)
    except SystemExit as ended:
        code = ended.code
    left = SparkContext._active_spark_context
    if left is not None:
        left.stop()
    if told:
        return int(code) if isinstance(code, int) else 0
    msg = f"{program} ended without starting a stream or running an action"
    raise click.ClickException(msg)


def of_stream(ssc: "StreamingContext") -> Iterator[str]:
    """Yield what each output of a stream that hasn't started is made of."""
    from millstream.streaming.explaining import explain_stream  # noqa: PLC0415

    names = ssc._graph.names()
    for number, output in enumerate(ssc._graph.outputs):
        (parent,) = output.parents
        yield f"output {number}: {output.name} ({output.call_site})"
        for operator in _lineage(parent):
            state = " keeps state" if operator.keeps_state else ""
            every = f"every {operator.slide_ms} ms"
            yield f"  stream {names[operator]!r}: {operator.kind}, {every}{state}"
        text = explain_stream(parent, ssc.sparkContext)
        yield "\n".join(f"  {line}" for line in text.splitlines())


def _lineage(operator: "Operator") -> "list[Operator]":
    from millstream.engine.streams.naming import in_order  # noqa: PLC0415

    return list(reversed(in_order((), [operator])))


@contextmanager
def _actions(tell: Callable[[str], None], *, runs_them: bool) -> Iterator[None]:
    """Explain every job in the block, in place of running it unless `runs_them`."""
    from millstream.engine.jobs.driver import Driver  # noqa: PLC0415
    from millstream.engine.jobs.explaining import explain  # noqa: PLC0415
    from millstream.planning import PlanMade  # noqa: PLC0415

    run = Driver.run_job
    seen: set[int] = set()

    def run_job(driver: Driver, node: Any, *others: Any, **named: Any) -> list[Any]:
        if node.id not in seen:  # take() runs several jobs on one RDD.
            seen.add(node.id)
            text = explain(node, driver)
            tell(f"action on {node.title()}\n" + "\n".join(_indented(text)))
        if not runs_them:
            raise PlanMade(0)
        return run(driver, node, *others, **named)

    setattr(Driver, "run_job", run_job)  # noqa: B010
    try:
        yield
    finally:
        setattr(Driver, "run_job", run)  # noqa: B010


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]

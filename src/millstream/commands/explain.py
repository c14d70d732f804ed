"""Explain: `millstream explain`, which of a program's functions go by columns, and why not."""

import sys
import threading
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
    run_within,
)
from millstream.engine.base.call_site import user_call_site
from millstream.engine.base.clock import monotonic_s

if TYPE_CHECKING:
    from millstream.engine.jobs.driver import Driver
    from millstream.engine.streams.operators import Operator
    from millstream.streaming.context import StreamingContext

_WRITING = ("foreach", "saveAs")
"""How the names of actions begin that don't just return something."""


@click.command(
    context_settings=PROGRAM_CONTEXT,
    epilog=(
        "Examples:\n\n"
        "  millstream explain wordcount.py localhost 9999\n\n"
        "  millstream explain --actions-limit 60 app.py in/     (which looks up much first)\n\n"
        "  millstream explain --actions app.py in/     (also what it writes before the start)"
    ),
)
@program_options
@click.option(
    "--actions",
    "runs_actions",
    is_flag=True,
    help="Run all actions on RDDs, those that write too, however long they take.",
)
@click.option(
    "--actions-limit",
    "limit_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="How long actions may take together before explaining ends; 0: end at the first.",
)
@program_arguments
def command(
    *,
    master: str | None,
    name: str | None,
    settings: tuple[str, ...],
    py_files: str | None,
    runs_actions: bool,
    limit_s: float,
    program: str,
    args: tuple[str, ...],
) -> None:
    """Print what PROGRAM's streams do, and which functions go by columns or why not.

    The program runs, with ARGS, up to the start of its stream; no stream starts. A line is
    an RDD, from each output back to its sources; `*` is where data moves. What only a batch
    can tell is said so.

    Actions on RDDs, before the start or in a program without a stream, are explained, and
    run if they only return something: `count`, `collect`, `take`. At one that writes
    (`foreach`, `saveAsTextFile`), and when they have taken longer than the limit together,
    the program ends, and the last line says where. --actions runs them all.

    Exits with 1 when the program ends before it has anything to explain.
    """
    give_conf(conf_of(master, name, settings, py_files))
    given = ["--actions"] if runs_actions else ["--actions-limit", str(limit_s)]
    fix_hash_seed("explain", *given, program, *args)
    sys.exit(_explain(program, args, None if runs_actions else limit_s))


def _explain(program: str, args: tuple[str, ...], limit_s: float | None) -> int:
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

    with _explained(_Actions(tell, limit_s)):
        code = run_within(looking(Look(at_start)), program, args)
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
def _explained(actions: "_Actions") -> Iterator[None]:
    """Have every job in the block explained, and run or not."""
    from millstream.engine.jobs.driver import Driver  # noqa: PLC0415
    from millstream.rdd_output import OutputActions  # noqa: PLC0415

    run, save = Driver.run_job, OutputActions._save

    def save_first_explained(rdd: OutputActions[Any], write: Any) -> None:
        # Before there is a job it makes the directory, which would be in the way later.
        actions.explain(rdd.ctx._driver, rdd._node)
        actions.refuse_writing()
        save(rdd, write)

    def run_job(driver: Driver, node: Any, *others: Any, **named: Any) -> list[Any]:
        actions.explain(driver, node)
        return actions.run(driver, lambda: run(driver, node, *others, **named))

    setattr(Driver, "run_job", run_job)  # noqa: B010
    setattr(OutputActions, "_save", save_first_explained)  # noqa: B010
    try:
        yield
    finally:
        setattr(Driver, "run_job", run)  # noqa: B010
        setattr(OutputActions, "_save", save)  # noqa: B010


class _Actions:
    """What a program does with RDDs before its stream starts, or without one."""

    def __init__(self, tell: Callable[[str], None], limit_s: float | None) -> None:
        """Run what only returns something, for `limit_s` together; None: whatever comes."""
        self._tell = tell
        self._limit_s = limit_s
        self._taken_s = 0.0
        self._seen: set[int] = set()

    def explain(self, driver: "Driver", node: Any) -> None:
        """Tell what an RDD is made of, once: take() runs several jobs on one."""
        from millstream.engine.jobs.explaining import explain  # noqa: PLC0415

        if node.id not in self._seen:
            self._seen.add(node.id)
            text = explain(node, driver)
            self._tell(f"action on {node.title()}\n" + "\n".join(_indented(text)))

    def run(self, driver: "Driver", work: Callable[[], list[Any]]) -> list[Any]:
        """Return what a job does.

        Raises:
            PlanMade: It would write, or takes too long: the program ends, as it was told.
        """
        if self._limit_s is None:
            return work()
        self.refuse_writing()
        site = user_call_site()
        left_s = self._limit_s - self._taken_s
        if left_s <= 0:
            raise self._too_late(site)
        return self._run_within(left_s, driver, work, site)

    def refuse_writing(self) -> None:
        """Do nothing where the action under way only returns something, or all are to run.

        Raises:
            PlanMade: It may write.
        """
        site = user_call_site()
        if self._limit_s is not None and site.startswith(_WRITING):
            why = "it may write, and explaining writes nothing"
            raise self._ended(site, why, "--actions")

    def _run_within(
        self, left_s: float, driver: "Driver", work: Callable[[], list[Any]], site: str
    ) -> list[Any]:
        from millstream.engine.base.errors import JobCancelledError  # noqa: PLC0415

        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            driver.cancel_all("as explaining took too long")

        timer = threading.Timer(left_s, end)
        timer.daemon = True
        begin_s = monotonic_s()
        timer.start()
        try:
            return work()
        except JobCancelledError:
            if is_late.is_set():
                raise self._too_late(site) from None
            raise
        finally:
            timer.cancel()
            self._taken_s += monotonic_s() - begin_s

    def _too_late(self, site: str) -> BaseException:
        limit = self._limit_s
        why = f"actions have taken {limit:g} s together" if limit else "none is to run"
        return self._ended(site, why, "--actions-limit SECONDS, or --actions")

    def _ended(self, site: str, why: str, option: str) -> BaseException:
        from millstream.planning import PlanMade  # noqa: PLC0415

        self._tell(
            f"stopped at {site}: {why}.\n"
            "  What the program does after that isn't explained, its stream neither.\n"
            f"  To go on: {option}, which runs whatever comes."
        )
        return PlanMade(0)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]

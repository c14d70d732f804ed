"""millstream-sim: run seeds of the simulation, or one seed again."""

import itertools
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import click

from millstream.engine.base import machine
from millstream.engine.base.clock import monotonic_s
from millstream.testing.sim.simulation import Outcome, simulate


@dataclass(slots=True)
class _Total:
    """What came of many seeds."""

    seeds: int = 0
    lives: int = 0
    broken: list[Outcome] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.lives += outcome.lives
        self.marks += outcome.marks
        if outcome.error is not None:
            self.broken.append(outcome)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=int, help="Run this one seed, and print what happened.")
@click.option("--first", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=int, default=200, show_default=True, help="How many.")
@click.option("--minutes", type=float, help="Begin no seed after so many minutes.")
@click.option("--processes", type=int, help="At a time; all processors by default.")
@click.option("--workers", is_flag=True, help="Let tasks run in simulated processes.")
@click.option("--sinks", is_flag=True, help="Let programs read by ranges, and commit.")
@click.option("--marks", is_flag=True, help="Print how often each rare path was taken.")
def main(
    *,
    seed: int | None,
    first: int,
    seeds: int,
    minutes: float | None,
    processes: int | None,
    workers: bool,
    sinks: bool,
    marks: bool,
) -> None:
    r"""Run whole streams with crashes, in virtual time, and check what they promise.

    A seed stands for a program, its data, every crash and failure, and the order in which
    threads run: the same seed gives the same run. What may break and what is promised
    then is written at the top of millstream.testing.sim.simulation.

    \b
      millstream-sim                     200 seeds
      millstream-sim --seeds 5000        more of them
      millstream-sim --seed 216          one, with everything that happened
    """
    if seed is not None:
        sys.exit(_replay(seed, has_workers=workers, has_sinks=sinks))
    total = _Total()
    begin_s = monotonic_s()
    size = processes or machine.cores().amount
    run = partial(simulate, has_workers=workers, has_sinks=sinks)
    with ProcessPoolExecutor(size) as pool:
        waiting = iter(range(first, first + seeds))
        running = [
            pool.submit(run, each) for each in itertools.islice(waiting, 2 * size)
        ]
        while running:
            total.add(running.pop(0).result())
            is_late = minutes is not None and monotonic_s() - begin_s > 60 * minutes
            following = None if is_late else next(waiting, None)
            if following is not None:
                running.append(pool.submit(run, following))
            if total.seeds % 100 == 0:
                click.echo(f"{total.seeds} seeds", err=True)
    took_s = monotonic_s() - begin_s
    click.echo(
        f"{total.seeds} seeds, {total.lives} lives, {len(total.broken)} broken; "
        f"{60 * total.seeds / took_s:.0f} seeds a minute"
    )
    if marks:
        for text, count in total.marks.most_common():
            click.echo(f"{count:7} {text.splitlines()[0]}")
    for outcome in total.broken:
        click.echo(f"seed {outcome.seed}: {outcome.error}")
        flags = " --workers" * workers + " --sinks" * sinks
        click.echo(f"  again: millstream-sim{flags} --seed {outcome.seed}")
    sys.exit(1 if total.broken else 0)


def _replay(seed: int, *, has_workers: bool, has_sinks: bool) -> int:
    outcome = simulate(seed, has_workers=has_workers, has_sinks=has_sinks)
    for line in outcome.trace:
        click.echo(line)
    click.echo(f"seed {seed}, {outcome.steps} turns, digest {outcome.digest}")
    if outcome.error is None:
        click.echo("all promises kept")
        return 0
    click.echo(f"{outcome.where}\nBROKEN: {outcome.error}")
    return 1

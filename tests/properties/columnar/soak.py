"""Soak: many drawn programs on rows and in columns, each difference made small and shown.

    python tests/properties/columnar/soak.py --cases 200000 --seed 7
    python tests/properties/columnar/soak.py --seed 7 --only 1234

Programs run in processes of their own, so that one that crashes or hangs is told like any
other difference.
"""

import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import click
from tests.properties.columnar.choices import Choices
from tests.properties.columnar.running import Case
from tests.properties.columnar.subjects import SUBJECTS, told, trying

_BLOCK = 200
_HANGS_S = 300
_SHRINKS_MAX = 40
_ALIKE_MAX = 3
_TRIES = 500


@dataclass(slots=True)
class _Tally:
    """What came of many cases."""

    cases: int = 0
    columns: int = 0
    errors: int = 0
    differences: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case) -> None:
        self.cases += 1
        self.columns += bool(case.notes.get("columns"))
        self.errors += bool(case.rows.error)
        self.notes.update(case.notes)

    def show(self, took_s: float) -> str:
        """Return one line of progress."""
        cases = max(self.cases, 1)
        return (
            f"{self.cases} cases, {self.cases / max(took_s, 1e-9):.0f}/s, "
            f"{100 * self.columns / cases:.0f} % in columns, "
            f"{100 * self.errors / cases:.0f} % raise, {self.differences} differ"
        )


def choices_of(seed: int, number: int) -> Choices:
    """Return the choices of one case of a soak."""
    return Choices(Random(f"{seed}:{number}").randrange)


def _signature(case: Case) -> tuple[str, str]:
    return case.rows.error[:20], case.columns.error[:60]


def _work(
    what: str,
    seed: int,
    numbers: range,
    slots: int,
    out: "Connection[Any, Any]",
    current: Any,
) -> None:
    logging.disable(logging.CRITICAL)
    shrinks_left = _SHRINKS_MAX
    seen: Counter[Any] = Counter()
    with trying(what, slots) as subject:
        tally = _Tally()
        for number in numbers:
            current.value = number
            choices = choices_of(seed, number)
            source = subject.draw(choices)
            case = subject.compare(source)
            tally.add(case)
            if tally.cases >= _BLOCK:
                out.send(tally)
                tally = _Tally()
            if not case.is_same and (slots == 1 or not case.rows.error):
                tally.differences += 1
                seen[_signature(case)] += 1
                if seen[_signature(case)] > _ALIKE_MAX:
                    continue
                if shrinks_left:
                    shrinks_left -= 1
                    source = subject.smallest(choices, case, _TRIES)
                case = subject.compare(source)
                out.send(told(source, case, f"--seed {seed} --only {number}"))
        out.send(tally)


def _supervise(
    what: str, seed: int, numbers: range, slots: int, shown: _Tally
) -> Iterator[str]:
    """Run cases in a process, and in another one after it died; yield what to print."""
    spawned = multiprocessing.get_context("spawn")
    while numbers:
        reader, writer = spawned.Pipe(duplex=False)
        current = spawned.Value("q", numbers[0], lock=False)
        process = spawned.Process(
            target=_work,
            args=(what, seed, numbers, slots, writer, current),
            daemon=True,
        )
        process.start()
        writer.close()
        before, since = -1, time.monotonic()
        is_hanging = False
        while True:
            if wait([reader], timeout=1):
                try:
                    told_now = reader.recv()
                except EOFError:
                    break
                if isinstance(told_now, _Tally):
                    _merge(shown, told_now)
                    yield ""
                else:
                    yield told_now
            if current.value != before:
                before, since = current.value, time.monotonic()
            elif time.monotonic() - since > _HANGS_S:
                is_hanging = True
                process.kill()
        process.join()
        if process.exitcode == 0:
            return
        shown.differences += 1
        number = current.value
        end = "hangs" if is_hanging else f"dies with code {process.exitcode}"
        source = SUBJECTS[what](choices_of(seed, number))
        yield f"\n=== --seed {seed} --only {number}: {end}\n{source}"
        numbers = range(number + 1, numbers.stop)


def _merge(total: _Tally, part: _Tally) -> None:
    total.cases += part.cases
    total.columns += part.columns
    total.errors += part.errors
    total.differences += part.differences
    total.notes.update(part.notes)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cases", default=10_000, show_default=True, help="How many.")
@click.option("--seed", default=0, show_default=True, help="Other cases.")
@click.option("--first", default=0, show_default=True, help="The first case's number.")
@click.option("--only", type=int, help="Run one case, and print it whatever happens.")
@click.option("--slots", default=1, show_default=True, help="Tasks at a time.")
@click.option(
    "--what",
    type=click.Choice(list(SUBJECTS)),
    default="programs",
    show_default=True,
    help="Programs of one job or a few, functions alone, streams, or mapWithState.",
)
@click.option("--reasons", default=25, show_default=True, help="How many to show.")
def main(
    *,
    cases: int,
    seed: int,
    first: int,
    only: int | None,
    slots: int,
    what: str,
    reasons: int,
) -> None:
    """Run drawn programs on rows and in columns, and show where they differ."""
    if only is not None:
        with trying(what, slots) as subject:
            choices = choices_of(seed, only)
            source = subject.draw(choices)
            case = subject.compare(source)
            click.echo(told(source, case, f"case {only}"))
            if not case.is_same:
                source = subject.smallest(choices, case, 4 * _TRIES)
                click.echo(told(source, subject.compare(source), "made smaller"))
        sys.exit(not case.is_same)
    tally, began_s = _Tally(), time.monotonic()
    last_s = 0.0
    for text in _supervise(what, seed, range(first, first + cases), slots, tally):
        if text:
            click.echo(text)
        elif time.monotonic() - last_s > 10:
            last_s = time.monotonic()
            click.echo(tally.show(last_s - began_s), err=True)
    click.echo(tally.show(time.monotonic() - began_s))
    for note, count in tally.notes.most_common(reasons):
        click.echo(f"{count:8} {note}")
    sys.exit(bool(tally.differences))


if __name__ == "__main__":
    main()

"""Demo: `millstream demo`, which counts words that stream in."""

import os  # noqa: TID251  The environment.
import sys

import click


@click.command(
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
def command(*, seconds: float, rate: int) -> None:
    """Count the words of a real text that streams in over a socket."""
    from millstream.demo.wordcount import run_demo  # noqa: PLC0415

    sys.exit(run_demo(seconds, rate))

"""Runs millstream-sim as `python -m millstream.testing.sim`."""

from millstream.testing.sim.cli import main

main()

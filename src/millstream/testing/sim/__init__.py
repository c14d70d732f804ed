"""Simulation: whole streams with crashes, seeded, in virtual time; see `simulation`."""

from millstream.testing.sim.simulation import Outcome, simulate

__all__ = ["Outcome", "simulate"]

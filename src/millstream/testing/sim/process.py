"""Process: how the simulated process makes its stream, as a program's setup function."""

from collections.abc import Mapping

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.streaming.context import StreamingContext
from millstream.testing.sim.primitives import SimClock
from millstream.testing.sim.program import Program
from millstream.testing.sim.world import World


def set_up(conf: Mapping[str, str], program: Program, world: World) -> StreamingContext:
    """Return a new context with the program's streams."""
    clock = SimClock(world.runtime)
    sc = SparkContext(
        conf=SparkConf(loadDefaults=False).setAll(conf.items()), clock=clock
    )
    ssc = StreamingContext(sc, program.batch_ms / 1000)
    program.build(ssc, world)
    return ssc

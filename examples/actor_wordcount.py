"""Counts the words of lines that remote feeders send to an actor, every second.

FEED_KEY=... millstream run examples/actor_wordcount.py PORT

It listens on PORT, on this machine only. `examples/actor_feeder.py` is such a feeder. Both
have the same key, in FEED_KEY: `python -c 'import secrets; print(secrets.token_urlsafe())'`
makes one.
"""

import os
import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.actor import ActorHelper, ActorUtils, RemotePort


class LineActor(ActorHelper):
    """Stores the words of each line that it is sent, as one block."""

    def on_receive(self, message):
        """Handle a line. When this returns, the feeder hears that its line is safe."""
        self.store(message.split())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: actor_wordcount.py PORT")
    ssc = StreamingContext(SparkContext(appName="ActorWordCount"), 1)
    remote = RemotePort(int(sys.argv[1]), os.environ["FEED_KEY"])
    words = ActorUtils.createStream(ssc, LineActor, name="lines", remote=remote)
    words.countByValue().pprint()
    ssc.start()
    ssc.awaitTermination()

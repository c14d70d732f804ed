"""Sends the lines of standard input to the actor of examples/actor_wordcount.py.

FEED_KEY=... python examples/actor_feeder.py HOST PORT < some_text.txt

That program listens on HOST:PORT, and both have the same FEED_KEY, of 16 characters or more.
Each line is acknowledged before the next one is sent. One that isn't is sent again: the
receiver may not run yet, or begin anew.
"""

import os
import sys
import time

from millstream.errors import PySparkException
from millstream.streaming.actor import RemoteFeeder

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: actor_feeder.py HOST PORT < TEXT")
    host, port = sys.argv[1], int(sys.argv[2])
    with RemoteFeeder(host, port, os.environ["FEED_KEY"]) as feeder:
        for line in sys.stdin:
            for _ in range(60):
                try:
                    feeder.send(line)
                    break
                except PySparkException as error:
                    print(f"trying again: {error}", file=sys.stderr)
                    time.sleep(1)
            else:
                sys.exit("nobody takes what is sent")

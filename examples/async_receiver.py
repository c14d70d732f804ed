"""Counts the words of a TCP server's lines, received by a coroutine.

python examples/line_server.py 9999 some_text.txt &
millstream run examples/async_receiver.py localhost 9999
"""

import asyncio
import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.receiver import AsyncReceiver

SECONDS = 1


class LineReceiver(AsyncReceiver):
    """Reads lines for ever; an error, or the stream's end, restarts it a little later."""

    def __init__(self, host, port):
        super().__init__()
        self.host, self.port = host, port

    async def run(self, store):
        """Receive until cancelled, which is how the receiver is stopped."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            while line := await reader.readline():
                await store(line.decode().rstrip("\n"))
        finally:
            writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: async_receiver.py HOST PORT")
    sc = SparkContext(appName="AsyncReceiver")
    ssc = StreamingContext(sc, SECONDS)
    lines = ssc.receiverStream(LineReceiver(sys.argv[1], int(sys.argv[2])))
    lines.flatMap(lambda line: line.split()).countByValue().pprint()
    ssc.start()
    ssc.awaitTermination()

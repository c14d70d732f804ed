"""Counts words of lines that are acknowledged once they are safe: none is lost.

millstream run examples/reliable_receiver.py HOST PORT CHECKPOINT_DIRECTORY

The server on HOST:PORT sends lines, and is told `stored N` when the first N lines of the
connection are in the write-ahead log. When this program is killed, the server sends again
what it wasn't told of; what it was told of comes out of the log. To try it,
`python examples/line_server.py 9999 some_text.txt` will do, which listens to nothing that it
is told.
"""

import contextlib
import socket
import sys
import threading

from millstream import SparkConf, SparkContext, StorageLevel
from millstream.errors import PySparkException
from millstream.streaming import StreamingContext
from millstream.streaming.receiver import BlockGeneratorListener, Receiver

SECONDS = 1


class AcknowledgingReceiver(Receiver):
    """Reads lines from a server, and acknowledges them block by block."""

    def __init__(self, host, port):
        # The log keeps what memory loses: no second copy is needed.
        super().__init__(StorageLevel.MEMORY_ONLY)
        self.host, self.port = host, port

    def onStart(self):
        """Receive in a thread: this must return at once."""
        threading.Thread(target=self.receive, daemon=True).start()

    def onStop(self):
        """Do nothing: the thread sees that the receiver has stopped."""

    def receive(self):
        """Add lines to blocks; start anew, a little later, when the connection breaks."""
        try:
            with socket.create_connection((self.host, self.port)) as connection:
                connection.settimeout(1)
                blocks = self.createBlockGenerator(Acknowledger(self, connection))
                blocks.start()
                try:
                    for number, line in enumerate(self.lines_of(connection), 1):
                        blocks.addDataWithCallback(line, number)
                finally:
                    blocks.stop()  # Stores, and acknowledges, what was added.
        except OSError as error:
            self.restart("the connection broke", error)
        except PySparkException:
            if not self.isStopped():
                raise  # Else it is the end: no more lines are taken.

    def lines_of(self, connection):
        """Yield lines until the receiver is stopped."""
        rest = b""
        while not self.isStopped():
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                raise ConnectionError("the server has closed the connection")
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode() for line in lines)


class Acknowledger(BlockGeneratorListener):
    """Tells the server of lines when the block that they are in is stored."""

    def __init__(self, receiver, connection):
        self.receiver, self.connection = receiver, connection
        self.newest = 0
        self.last_line_of = {}

    def onAddData(self, data, metadata):
        """Note the line's number."""
        self.newest = metadata

    def onGenerateBlock(self, blockId):
        """Note the last line of a block: no line comes in between."""
        self.last_line_of[blockId] = self.newest

    def onPushBlock(self, blockId, records):
        """Store the block; then, and only then, acknowledge it."""
        self.receiver.store(records)
        line = self.last_line_of.pop(blockId)
        with contextlib.suppress(OSError):  # Not told, the server sends it again.
            self.connection.sendall(f"stored {line}\n".encode())


def add_up(new_counts, total):
    """Return the total with this batch's counts added."""
    return sum(new_counts) + (total or 0)


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    conf = SparkConf().setAppName("ReliableReceiver")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    ssc = StreamingContext(SparkContext(conf=conf), SECONDS)
    lines = ssc.receiverStream(AcknowledgingReceiver(host, int(port)))
    pairs = lines.flatMap(lambda line: line.split()).map(lambda word: (word, 1))
    pairs.updateStateByKey(add_up).pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: reliable_receiver.py HOST PORT CHECKPOINT_DIRECTORY")
    host, port, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()

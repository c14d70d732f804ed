"""Counts the words of events, read by a source of one's own: each event once.

millstream run examples/own_direct_source.py EVENTS CHECKPOINT_DIRECTORY

EVENTS is an SQLite file with a table `events (id integer primary key, text text)`, to which
somebody adds; or the http:// address of a feed: `ADDRESS/newest` answers the newest event's
number, and `ADDRESS/events?after=A&until=B` a list of the texts of events A+1 to B.
"""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from urllib.request import urlopen

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.direct import DirectSource

AT_ONCE = 1000


class TableSource(DirectSource):
    """The rows that were added to a table, by their ids."""

    def __init__(self, path):
        self.path = path

    def plan(self, batch):
        """Return ranges, [after, until], from where the last ones end to what is there."""
        start = batch.previous[-1][1] if batch.previous else 0
        [(until,)] = self.rows("select coalesce(max(id), 0) from events")
        if batch.limit is not None:
            until = min(until, start + batch.limit)
        starts = range(start, until, AT_ONCE)
        return [[each, min(each + AT_ONCE, until)] for each in starts]

    def read(self, of):
        """Return the texts of a range: the same ones whenever it is read."""
        rows = "select text from events where id > ? and id <= ? order by id"
        return [text for (text,) in self.rows(rows, of)]

    def count(self, of):
        """Return how many events a range has at most."""
        return of[1] - of[0]

    def rows(self, query, values=()):
        """Return what a query finds."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query, values).fetchall()


class FeedSource(DirectSource):
    """The events of a web service, by their numbers; pages are asked for side by side."""

    def __init__(self, address):
        self.address = address

    def plan(self, batch):
        """Return ranges, [after, until], of up to ten pages."""
        start = batch.previous[-1][1] if batch.previous else 0
        until = self.answer("newest")
        if batch.limit is not None:
            until = min(until, start + batch.limit)
        starts = range(start, until, 10 * AT_ONCE)
        return [[each, min(each + 10 * AT_ONCE, until)] for each in starts]

    async def read(self, of):
        """Yield the texts of a range: the same ones whenever it is read."""
        after, until = of
        pages = [
            # With an asynchronous client, such as httpx, a call of it.
            asyncio.to_thread(self.answer, f"events?after={each}&until={end}")
            for each in range(after, until, AT_ONCE)
            for end in [min(each + AT_ONCE, until)]
        ]
        for texts in await asyncio.gather(*pages):
            for text in texts:
                yield text

    def count(self, of):
        """Return how many events a range has."""
        return of[1] - of[0]

    def answer(self, path):
        """Return what the service answers."""
        with urlopen(f"{self.address}/{path}", timeout=10) as answer:
            return json.load(answer)


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="OwnDirectSource"), 1)
    is_feed = events.startswith("http")
    texts = ssc.directStream(FeedSource(events) if is_feed else TableSource(events))
    pairs = texts.flatMap(lambda text: text.split()).map(lambda word: (word, 1))
    pairs.updateStateByKey(lambda new, total: sum(new) + (total or 0)).pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: own_direct_source.py EVENTS CHECKPOINT_DIRECTORY")
    events, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()

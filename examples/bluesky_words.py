"""Counts the words of posts on Bluesky, over the last minute, every two seconds.

millstream run examples/bluesky_words.py [--url URL]

It reads what everybody posts now, from a public server, or the Jetstream at URL: no account
is needed.
"""

import argparse

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.web import WebUtils


def words(event):
    """Return the words of a new post."""
    record = event.get("commit", {}).get("record", {})
    return record.get("text", "").lower().split()


def print_most_used(time, counts):
    """Print the ten words that were used most."""
    print("Time:", time)
    for pair in counts.top(10, key=lambda pair: pair[1]):
        print(pair)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--url", default="wss://jetstream2.us-east.bsky.network/subscribe"
    )
    given = parser.parse_args()
    ssc = StreamingContext(SparkContext(appName="BlueskyWords"), 1)
    posts = WebUtils.blueskyJetstream(ssc, ["app.bsky.feed.post"], url=given.url)
    pairs = posts.flatMap(words).map(lambda word: (word, 1))
    counts = pairs.reduceByKeyAndWindow(lambda a, b: a + b, None, 60, 2)
    counts.foreachRDD(print_most_used)
    ssc.start()
    ssc.awaitTermination()

"""Counts the edits of each wiki, batch by batch.

millstream run examples/wikimedia_edits.py [--url URL]

It reads the edits that are made now, from Wikimedia's public server, or the one at URL: no
account is needed.
"""

import argparse

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.web import WebUtils

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="https://stream.wikimedia.org/v2/stream")
    given = parser.parse_args()
    ssc = StreamingContext(SparkContext(appName="WikimediaEdits"), 1)
    edits = WebUtils.wikimediaEventStreams(ssc, ["recentchange"], url=given.url)
    edits.map(lambda edit: edit["meta"]["domain"]).countByValue().pprint()
    ssc.start()
    ssc.awaitTermination()

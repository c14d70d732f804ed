"""The driver that tests of web streams kill: posts what a firehose sends to a webhook.

python web_program.py DIRECTORY [jetstream|wikimedia URL WEBHOOK]...
"""

import logging
import sys
import warnings
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.engine.sinks.webhook import WebhookSink
from millstream.streaming import StreamingContext
from millstream.streaming.web import WebUtils

BATCH_S = 0.2


def number_of(event: dict[str, Any]) -> int:
    """Return an event's number."""
    name = event["commit"]["rkey"] if "commit" in event else event["meta"]["id"]
    return int(name.lstrip("id-k"))


def main(directory: str, *streams: str) -> None:
    """Go on where the last one was killed."""
    conf = SparkConf().setMaster("local[2]").setAppName("web")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")

    def setup() -> StreamingContext:
        ssc = StreamingContext(SparkContext(conf=conf), BATCH_S)
        for kind, url, webhook in zip(*[iter(streams)] * 3, strict=True):
            make: Any = {
                "jetstream": WebUtils.blueskyJetstream,
                "wikimedia": WebUtils.wikimediaEventStreams,
            }[kind]
            cursor_file = f"{directory}/checkpoint/cursor-{kind}"
            stream = make(ssc, url=url, cursorFile=cursor_file, reconnectDelay=0.1)
            stream.map(number_of).writeTo(WebhookSink(webhook), name=kind)
        return ssc

    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])

"""Counts the hashtags of posts on X that have a word.

TWITTER_BEARER_TOKEN=... millstream run examples/twitter_hashtags.py WORD [--url URL]

It needs an account of X's API: TWITTER_BEARER_TOKEN is its token, WORD a rule of a filtered
stream, such as python. URL is where the API is, if it isn't at X.
"""

import argparse

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.twitter import TwitterUtils


def hashtags(post):
    """Return the words of a post that begin with #."""
    return [word for word in post["text"].split() if word.startswith("#")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("word")
    parser.add_argument("--url", default="https://api.x.com")
    given = parser.parse_args()
    ssc = StreamingContext(SparkContext(appName="TwitterHashtags"), 1)
    posts = TwitterUtils.createStream(ssc, filters=[given.word], baseUrl=given.url)
    posts.flatMap(hashtags).countByValue().pprint()
    ssc.start()
    ssc.awaitTermination()

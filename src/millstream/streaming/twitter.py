"""TwitterUtils: a stream of posts of X; Spark's module had Scala and Java only."""

from collections.abc import Mapping, Sequence
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.twitter.receiver import TwitterOptions, TwitterReceiver
from millstream.storagelevel import StorageLevel
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream

__all__ = ["TwitterUtils"]


class TwitterUtils:
    """Makes streams of posts."""

    @staticmethod
    def createStream(
        ssc: StreamingContext,
        auth: str | Secret | None = None,
        filters: Sequence[str] = (),
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_SER_2,
        *,
        parameters: Mapping[str, str] | None = None,
        ruleTag: str = "millstream",
        baseUrl: str = "https://api.x.com",
        keepAliveTimeout: float = 25.0,
        connectTimeout: float = 10.0,
    ) -> DStream[dict[str, Any]]:
        """Return the posts that match a filter; without filters, X's sample of all.

        `auth` is a bearer token; without it the environment variable
        TWITTER_BEARER_TOKEN has it. `filters` are rules as X documents them, such as
        "python lang:en"; a post comes when it matches any. A record is a post's JSON as a
        dict: "id", "text" and what `parameters` ask for, such as
        {"tweet.fields": "created_at"}; with "includes" and "matching_rules" if there are.

        Rules belong to the account: missing ones are added under the tag `ruleTag` and
        deleted at the end, others stay. Give each program of an account a tag of its own.

        Raises:
            IllegalArgumentError: An argument is no good, or there is no token.
            MissingDependencyError: The extra `twitter` isn't installed.
        """
        from millstream.engine.base.extras import needed  # noqa: PLC0415

        needed("tweepy", "twitter", "TwitterUtils")
        if not ruleTag:
            msg = "ruleTag must be text"
            raise IllegalArgumentError(
                msg, hint="rules without it couldn't be told apart"
            )
        options = TwitterOptions(
            base_url=baseUrl,
            tag=ruleTag,
            parameters=dict(parameters or {}),
            silence_s=keepAliveTimeout,
            connect_s=connectTimeout,
        )
        receiver = TwitterReceiver(auth, filters, options, storageLevel)
        return ssc.receiverStream(receiver, "TwitterInputDStream")

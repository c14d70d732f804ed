"""Kafka clients: made by one rule, and what they complain about, kept for errors."""

import logging
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.extras import needed
from millstream.engine.sources.kafka.settings import for_client

_DURATION = re.compile(r" \(after .*\)$")
_client_log = logging.getLogger(f"{__name__}.librdkafka")
_client_log.addFilter(
    # What fails is in our errors, when it matters; clients go on telling while they idle.
    lambda record: (
        not record.getMessage().startswith(("FAIL", "ERROR"))
        or _client_log.isEnabledFor(logging.DEBUG)
    )
)


def library() -> Any:
    """Return the client library.

    Raises:
        MissingDependencyError: It isn't installed.
    """
    return needed("confluent_kafka", "kafka", "KafkaUtils")


class Complaints:
    """What a client has told in the background: why there is no answer."""

    def __init__(self) -> None:
        """Have none."""
        self._told: deque[str] = deque(maxlen=3)
        self.refused: str | None = None
        """Why the cluster has refused who asks, if it has: waiting won't help."""

    def hear(self, error: Any) -> None:
        """Note an error; clients call it."""
        text = _DURATION.sub("", str(error.str()))
        if text not in self._told:
            self._told.append(text)
        if error.code() in _refusals():
            self.refused = text

    def forget(self) -> None:
        """Begin anew."""
        self._told.clear()
        self.refused = None

    def __str__(self) -> str:
        return "; ".join(self._told)


def _refusals() -> frozenset[int]:
    error = library().KafkaError
    return frozenset(
        {
            error._AUTHENTICATION,
            error.SASL_AUTHENTICATION_FAILED,
            error.TOPIC_AUTHORIZATION_FAILED,
            error.GROUP_AUTHORIZATION_FAILED,
            error.CLUSTER_AUTHORIZATION_FAILED,
        }
    )


def admin_library() -> Any:
    """Return the part of the client library that asks about topics and groups.

    Raises:
        MissingDependencyError: It isn't installed.
    """
    return needed("confluent_kafka.admin", "kafka", "KafkaUtils")


def make_consumer(config: Mapping[str, Any], complaints: Complaints) -> Any:
    """Return a consumer.

    Raises:
        IllegalArgumentError: A parameter is unknown or wrong.
    """
    return _made(library().Consumer, config, complaints)


def make_admin(config: Mapping[str, Any], complaints: Complaints) -> Any:
    """Return a client that asks about topics, offsets and groups.

    Raises:
        IllegalArgumentError: A parameter is unknown or wrong.
    """
    return _made(admin_library().AdminClient, config, complaints)


def _made(kind: Any, config: Mapping[str, Any], complaints: Complaints) -> Any:
    kafka = library()
    try:
        return kind(
            {**for_client(config), "error_cb": complaints.hear}, logger=_client_log
        )
    except (kafka.KafkaException, TypeError, ValueError) as error:
        # A value may be a secret: only the client's own words are told.
        told = error.args[0] if error.args else error
        text = told.str() if isinstance(told, kafka.KafkaError) else str(told)
        msg = f"Kafka's client refuses its parameters: {text}"
        raise IllegalArgumentError(
            msg, hint="see librdkafka's CONFIGURATION.md for what kafkaParams can have"
        ) from None

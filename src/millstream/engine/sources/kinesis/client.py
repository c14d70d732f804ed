"""KinesisClient: the five calls of Kinesis that a stream needs, and what their errors mean.

The clients of a process are shared: one for each place and identity.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret, without_password
from millstream.engine.sources.kinesis.shards import Shard

_CONNECTIONS = 32
_CONNECT_S = 10.0
_PAGE_RECORDS = 10_000
"""What one call returns at most, or 10 MB."""

_BUSY = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "KMSThrottlingException",
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
    }
)
_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

_lock = threading.Lock()
_clients: dict["KinesisAccess", Any] = {}


class KinesisError(SparkError):
    """A stream can't be read."""


class KinesisBusyError(KinesisError):
    """More was asked than Kinesis gives at a time: it is to be asked later."""


class KinesisUnreachableError(KinesisError):
    """Nobody answered, or not well."""


class KinesisIteratorExpiredError(KinesisError):
    """An iterator is older than five minutes: a new one is needed."""


class KinesisDataLossError(KinesisError):
    """Records that belong to a stream aren't there any more, or may not be."""


@dataclass(frozen=True, slots=True)
class KinesisAccess:
    """Where Kinesis is, and who asks."""

    region: str
    endpoint: str | None = None
    key_id: Secret | None = None
    secret_key: Secret | None = None
    role_arn: str | None = None
    role_session: str | None = None
    role_external_id: str | None = None
    timeout_s: float = 30.0

    def __str__(self) -> str:
        """Return it in words, without anything secret."""
        if self.endpoint is None:
            return self.region
        return f"{self.region} at {without_password(self.endpoint)}"


class Position(NamedTuple):
    """Where to begin in a shard."""

    kind: str
    """As Kinesis has it: TRIM_HORIZON, AFTER_SEQUENCE_NUMBER and so on."""
    at: str | int | None = None
    """A sequence number, or a time in ms."""


class Stored(NamedTuple):
    """A record as Kinesis has it: of the producer library, several records in one."""

    sequence: str
    key: str
    data: bytes
    arrived_ms: int


class Page(NamedTuple):
    """What one call returned."""

    records: list[Stored]
    next: str | None
    """The iterator to go on with; None where the shard ends."""
    behind_ms: int
    """How far the shard's newest record is away."""


class Summary(NamedTuple):
    """What is to be known of a stream."""

    retention_ms: int
    """For how long records are kept."""
    now_ms: int
    """What time it is, by Kinesis' clock or ours: the earlier one."""


class KinesisClient:
    """Calls of one stream; thread-safe."""

    def __init__(self, access: KinesisAccess, stream: str) -> None:
        """Hold what to call."""
        self._access = access
        self._stream = stream

    def shards(self) -> dict[str, Shard]:
        """Return all shards that have records which haven't expired, by id.

        Raises:
            KinesisError: It can't be asked, or there is no such stream.
        """
        found: dict[str, Shard] = {}
        asked: dict[str, Any] = {"StreamName": self._stream}
        while True:
            answer = self._call("list_shards", asked)
            for each in answer["Shards"]:
                shard = _shard_of(each)
                found[shard.id] = shard
            token = answer.get("NextToken")
            if token is None:
                return found
            asked = {"NextToken": token}

    def summary(self) -> Summary:
        """Return what is to be known of the stream.

        Raises:
            KinesisError: It can't be asked, or there is no such stream.
        """
        answer = self._call("describe_stream_summary", {"StreamName": self._stream})
        hours: int = answer["StreamDescriptionSummary"]["RetentionPeriodHours"]
        now_ms = SystemClock().now_ms()
        date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        if date is not None:
            now_ms = min(now_ms, int(parsedate_to_datetime(date).timestamp() * 1000))
        return Summary(hours * 3_600_000, now_ms)

    def iterator(self, shard: str, position: Position) -> str:
        """Return an iterator, good for five minutes.

        Raises:
            KinesisError: It can't be asked, or there is no such shard.
        """
        asked: dict[str, Any] = {
            "StreamName": self._stream,
            "ShardId": shard,
            "ShardIteratorType": position.kind,
        }
        if isinstance(position.at, str):
            asked["StartingSequenceNumber"] = position.at
        elif position.at is not None:
            asked["Timestamp"] = datetime.fromtimestamp(position.at / 1000, UTC)
        answer = self._call("get_shard_iterator", asked)
        iterator: str = answer["ShardIterator"]
        return iterator

    def page(self, iterator: str, limit: int = _PAGE_RECORDS) -> Page:
        """Return the records behind an iterator.

        Raises:
            KinesisError: It can't be asked.
        """
        answer = self._call("get_records", {"ShardIterator": iterator, "Limit": limit})
        records = [
            Stored(
                each["SequenceNumber"],
                each["PartitionKey"],
                each["Data"],
                round(each["ApproximateArrivalTimestamp"] * 1000),
            )
            for each in answer["Records"]
        ]
        return Page(
            records,
            answer.get("NextShardIterator"),
            int(answer.get("MillisBehindLatest") or 0),
        )

    def _call(self, name: str, asked: Mapping[str, Any]) -> Any:
        with self._told():
            return getattr(_client_of(self._access), name)(**asked)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have errors of the library say what is wrong with which stream."""
        exceptions = needed("botocore.exceptions", "kinesis", "KinesisUtils")
        try:
            yield
        except exceptions.ClientError as error:
            raise self._meaning(error) from error
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
        ) as error:
            msg = f"no credentials for Kinesis stream '{self._stream}': {error}"
            raise KinesisError(msg, hint=_CREDENTIALS) from error
        except (exceptions.HTTPClientError, exceptions.BotoCoreError) as error:
            msg = (
                f"Kinesis stream '{self._stream}' ({self._access}) can't be reached: "
                f"{type(error).__name__}: {error}"
            )
            raise KinesisUnreachableError(
                msg, hint="see endpointUrl and regionName, and whether it runs"
            ) from error

    def _meaning(self, error: Any) -> KinesisError:
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        about = f"Kinesis stream '{self._stream}' ({self._access})"
        said = f"{code}: {told.get('Message', '')}"
        if code == "ExpiredIteratorException":
            return KinesisIteratorExpiredError(f"{about}: {said}")
        if code in _BUSY:
            return KinesisBusyError(
                f"{about} is asked for more than it gives: {said}",
                hint="a shard gives 2 MB and 5 answers a second to all who read it",
            )
        if code in _REFUSED or status in {401, 403}:
            return KinesisError(f"{about} refused us: {said}", hint=_CREDENTIALS)
        if code == "ResourceNotFoundException":
            return KinesisError(
                f"{about} isn't there: {said}",
                hint="see streamName and regionName; was it deleted?",
            )
        if status >= 500:
            return KinesisUnreachableError(f"{about} failed: {said}")
        return KinesisError(f"{about}: {said}")


_CREDENTIALS = (
    "see awsAccessKeyId and awsSecretKey, or what the environment has (AWS_PROFILE, "
    "AWS_ACCESS_KEY_ID, a role); needed are kinesis:ListShards, DescribeStreamSummary, "
    "GetShardIterator and GetRecords"
)


def _client_of(access: KinesisAccess) -> Any:
    with _lock:
        client = _clients.get(access)
        if client is None:
            client = _clients[access] = _made(access)
        return client


def _made(access: KinesisAccess) -> Any:
    config = needed("botocore.config", "kinesis", "KinesisUtils").Config(
        connect_timeout=min(_CONNECT_S, access.timeout_s),
        read_timeout=access.timeout_s,
        # Who asks again, and when, is decided where it is known what it is for.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=_CONNECTIONS,
    )
    session = _session(access)
    # A time stays a number: dates take two thirds of the time that a record takes.
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=float)
    boto3 = needed("boto3", "kinesis", "KinesisUtils")
    return boto3.session.Session(
        botocore_session=session, region_name=access.region
    ).client("kinesis", endpoint_url=access.endpoint, config=config)


def _session(access: KinesisAccess) -> Any:
    """Return a session of the library that has the credentials."""
    botocore = needed("botocore.session", "kinesis", "KinesisUtils")
    first = botocore.Session()
    if access.key_id is not None and access.secret_key is not None:
        first.set_credentials(access.key_id.reveal(), access.secret_key.reveal())
    if access.role_arn is None:
        return first
    credentials = needed("botocore.credentials", "kinesis", "KinesisUtils")
    asked = {"RoleSessionName": access.role_session}
    if access.role_external_id is not None:
        asked["ExternalId"] = access.role_external_id
    first.set_config_variable("region", access.region)
    fetcher = credentials.AssumeRoleCredentialFetcher(
        first.create_client,
        first.get_credentials(),
        access.role_arn,
        extra_args=asked,
    )
    taken = botocore.Session()
    # Taken on when it is needed, and anew before it expires.
    taken._credentials = credentials.DeferredRefreshableCredentials(
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return taken


def _shard_of(told: Mapping[str, Any]) -> Shard:
    parents = (told.get("ParentShardId"), told.get("AdjacentParentShardId"))
    keys = told["HashKeyRange"]
    return Shard(
        told["ShardId"],
        tuple(each for each in parents if each is not None),
        int(keys["StartingHashKey"]),
        int(keys["EndingHashKey"]),
        is_closed=told["SequenceNumberRange"].get("EndingSequenceNumber") is not None,
    )

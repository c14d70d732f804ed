"""KinesisClient: what its errors say, and whose clients are shared."""

from collections.abc import Callable
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    NoCredentialsError,
    ReadTimeoutError,
)

from millstream.engine.base.secrets import Secret
from millstream.engine.sources.kinesis import client as kinesis_client
from millstream.engine.sources.kinesis.client import (
    KinesisAccess,
    KinesisBusyError,
    KinesisClient,
    KinesisError,
    KinesisIteratorExpiredError,
    KinesisUnreachableError,
)

ACCESS = KinesisAccess("here", "http://me:hidden@host:1", timeout_s=1)


class Failing:
    """A client of the library whose calls fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**_asked: Any) -> Any:
            raise self.error

        return call


def raised(monkeypatch: pytest.MonkeyPatch, error: Exception) -> KinesisError:
    """Return what a call raises when the library raises `error`."""
    monkeypatch.setitem(kinesis_client._clients, ACCESS, Failing(error))
    with pytest.raises(KinesisError) as found:
        KinesisClient(ACCESS, "orders").page("iterator")
    assert found.value.__cause__ is error
    assert "hidden" not in str(found.value)
    return found.value


def refused(code: str, status: int = 400) -> ClientError:
    """Return the library's error for an answer that is an error."""
    told = {
        "Error": {"Code": code, "Message": "why"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(told, "GetRecords")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            refused("ProvisionedThroughputExceededException"),
            KinesisBusyError,
            "stream 'orders' (here at http://host:1) is asked for more than it gives",
        ),
        (refused("KMSThrottlingException"), KinesisBusyError, "more than it gives"),
        (refused("ExpiredIteratorException"), KinesisIteratorExpiredError, "orders"),
        (refused("UnrecognizedClientException"), KinesisError, "refused us"),
        (refused("Whatever", 403), KinesisError, "refused us: Whatever: why"),
        (refused("ResourceNotFoundException"), KinesisError, "isn't there"),
        (refused("InternalFailure", 500), KinesisUnreachableError, "failed"),
        (refused("InvalidArgumentException"), KinesisError, "orders"),
        (NoCredentialsError(), KinesisError, "no credentials"),
        (
            ReadTimeoutError(endpoint_url="http://host:1"),
            KinesisUnreachableError,
            "can't be reached",
        ),
    ],
)
def test_errors_say_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[KinesisError],
    words: str,
) -> None:
    """With which stream, and whether it may pass."""
    found = raised(monkeypatch, error)

    assert type(found) is kind
    assert words in str(found)


def test_a_refusal_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the arguments, and the rights."""
    found = raised(monkeypatch, refused("AccessDeniedException"))

    assert "awsAccessKeyId" in str(found.hint)
    assert "kinesis:ListShards" in str(found.hint)


def test_one_client_for_each_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of the same access share connections; others don't."""
    made: list[KinesisAccess] = []
    monkeypatch.setattr(kinesis_client, "_clients", {})

    def make(access: KinesisAccess) -> Failing:
        made.append(access)
        return Failing(OSError())

    monkeypatch.setattr(kinesis_client, "_made", make)
    mine = KinesisAccess("here", None, Secret("a", "id"), Secret("b", "key"))
    same = KinesisAccess("here", None, Secret("a", "id"), Secret("b", "key"))
    other = KinesisAccess("here", None, Secret("c", "id"), Secret("d", "key"))
    for each in (mine, same, other):
        kinesis_client._client_of(each)

    assert made == [mine, other]


@pytest.mark.slow  # It loads the library's models.
def test_a_role_is_taken_on_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are asked for with the session's name and external id, not before."""
    access = KinesisAccess(
        "us-east-1",
        None,
        Secret("id", "id"),
        Secret("key", "key"),
        "arn:aws:iam::123456789012:role/reader",
        "session",
        "external",
    )
    asked: list[dict[str, Any]] = []

    class Tokens:
        def assume_role(self, **given: Any) -> dict[str, Any]:
            asked.append(given)
            return {
                "Credentials": {
                    "AccessKeyId": "taken",
                    "SecretAccessKey": "secret",
                    "SessionToken": "token",
                    "Expiration": "2999-01-01T00:00:00Z",
                },
                "AssumedRoleUser": {
                    "Arn": "arn:aws:sts::123456789012:assumed-role/r/s"
                },
            }

        def close(self) -> None:
            pass

    monkeypatch.setattr(
        botocore.session.Session, "create_client", lambda *_args, **_given: Tokens()
    )
    session = kinesis_client._session(access)
    assert asked == []
    assert session.get_credentials().access_key == "taken"
    assert asked == [
        {
            "RoleArn": access.role_arn,
            "RoleSessionName": "session",
            "ExternalId": "external",
        }
    ]

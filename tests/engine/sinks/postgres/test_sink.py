"""What a PostgresSink keeps of how to connect, and what it shows of it."""

import pytest

from millstream.engine.base import frames
from millstream.engine.base.errors import PySparkTypeError, PySparkValueError
from millstream.engine.base.secrets import MissingSecretError, Secret, left_out
from millstream.engine.sinks.postgres.sink import PostgresSink

_DSN = "postgresql://me:open-sesame@db:5433/shop?sslmode=require"


@pytest.mark.parametrize(
    "dsn",
    [
        _DSN,
        "host=db port=5433 dbname=shop user=me password=open-sesame",
        {"host": "db", "port": 5433, "dbname": "shop", "password": "open-sesame"},
        Secret(_DSN, "shop.dsn"),
    ],
)
def test_it_never_shows_the_password(dsn: str) -> None:
    """Not in its identity, nor in what a checkpoint keeps; tasks have it."""
    sink = PostgresSink(dsn, "sales.orders")
    with left_out():
        kept = frames.dumps_function(sink)

    assert "sales.orders" in sink.identity
    assert "sesame" not in sink.identity
    assert b"sesame" not in kept
    assert b"sesame" in frames.dumps_function(sink)


def test_it_says_where_it_writes() -> None:
    """The server, the database and the table."""
    assert PostgresSink(_DSN, "t").identity == "postgresql://db:5433/shop table t"


def test_a_password_that_was_left_out_is_found_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the name that the error tells."""
    with left_out():
        kept = frames.dumps_function(PostgresSink(_DSN, "t"))
    sink = frames.loads_function(kept)
    with pytest.raises(MissingSecretError) as missing:
        sink._plain_settings()
    assert "MILLSTREAM_SECRET_POSTGRES_PASSWORD" in (missing.value.hint or "")

    monkeypatch.setenv("MILLSTREAM_SECRET_POSTGRES_PASSWORD", "again")
    assert sink._plain_settings()["password"] == "again"


def test_a_connection_string_that_is_wrong_is_not_shown() -> None:
    """It may have a password in it."""
    with pytest.raises(PySparkValueError) as refused:
        PostgresSink("postgresql://me:open-sesame@[::1/x", "t")

    assert "sesame" not in f"{refused.value!r}"
    assert refused.value.__suppress_context__
    with pytest.raises(PySparkTypeError, match="not int"):
        PostgresSink(5432, "t")  # type: ignore[arg-type]

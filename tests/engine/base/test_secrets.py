"""Secrets: shown nowhere, kept in no checkpoint, found again in the environment."""

import pickle

import pytest

from millstream.engine.base import frames, secrets
from millstream.engine.base.secrets import MissingSecretError, Secret


def test_nothing_that_is_printed_shows_a_secret() -> None:
    """Neither by itself nor in what it is in."""
    secret = Secret("hunter2", "db.password")

    shown = f"{secret} {secret!r} {[secret]} {({'a': secret},)}"
    assert "hunter2" not in shown
    assert "db.password" in shown
    assert secret.reveal() == "hunter2"


def test_a_task_gets_a_secret_and_a_checkpoint_does_not() -> None:
    """Checkpoints are what is pickled with live objects."""
    secret = Secret("hunter2", "db.password")

    assert frames.loads_function(frames.dumps_function(secret)).reveal() == "hunter2"
    kept = frames.dumps_function({"x": [secret]}, {})
    assert b"hunter2" not in kept
    restored = frames.loads_function(kept, {})["x"][0]
    with pytest.raises(MissingSecretError) as caught:
        restored.reveal()
    assert "MILLSTREAM_SECRET_DB_PASSWORD" in (caught.value.hint or "")


def test_what_a_checkpoint_left_out_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the name that the error tells; or that the program chose."""
    with secrets.left_out():
        kept = pickle.dumps(Secret("hunter2", "db.password"))
    monkeypatch.setenv("MILLSTREAM_SECRET_DB_PASSWORD", "again")
    monkeypatch.setenv("MY_TOKEN", "mine")

    assert pickle.loads(kept).reveal() == "again"
    assert Secret.env("MY_TOKEN").reveal() == "mine"


def test_settings_keep_their_secrets_apart() -> None:
    """By the names that clients give them."""
    given = {"sasl.password": "p", "bootstrap.servers": "b", "ssl.key.password": "k"}
    kept = secrets.kept_apart(given, "kafka")

    assert kept["bootstrap.servers"] == "b"
    assert str(kept) == (
        "{'sasl.password': Secret(kafka.sasl.password=*****), 'bootstrap.servers': 'b', "
        "'ssl.key.password': Secret(kafka.ssl.key.password=*****)}"
    )
    assert secrets.revealed(kept) == given


def test_what_is_restored_without_its_secrets_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all their names, before anything runs; what is in the environment is fine."""
    given = [Secret("a", "db.password"), Secret("b", "kafka.token"), Secret.env("MINE")]
    kept = frames.dumps_function(given, {})
    monkeypatch.setenv("MINE", "c")
    with pytest.raises(MissingSecretError) as caught, secrets.all_known():
        frames.loads_function(kept, {})

    assert "'db.password', 'kafka.token'" in str(caught.value)
    assert "MILLSTREAM_SECRET_KAFKA_TOKEN" in (caught.value.hint or "")
    assert "MINE" not in (caught.value.hint or "").replace("NAME", "")
    monkeypatch.setenv("MILLSTREAM_SECRET_DB_PASSWORD", "a")
    monkeypatch.setenv("MILLSTREAM_SECRET_KAFKA_TOKEN", "b")
    with secrets.all_known():
        again = frames.loads_function(kept, {})
    assert [each.reveal() for each in again] == ["a", "b", "c"]

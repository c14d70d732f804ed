"""TwitterReceiver: posts of X's filtered stream, or of its sample."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import MissingSecretError, Secret, secret_of
from millstream.engine.clients.web import checked_url
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.sources.twitter.client import (
    TwitterClient,
    TwitterEnd,
    TwitterProblemError,
)
from millstream.engine.sources.twitter.delays import TwitterDelays
from millstream.engine.sources.twitter.rules import plan_rules, record_of

_log = logging.getLogger(__name__)

_TOKEN = "TWITTER_BEARER_TOKEN"  # noqa: S105  Its name.
_JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class TwitterOptions:
    """How a stream is asked for."""

    base_url: str = "https://api.x.com"
    tag: str = "millstream"
    """Marks the rules that are ours: another one for each program of an account."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the stream, under X's names: {"tweet.fields": "created_at,lang"}."""
    silence_s: float = 25.0
    """For how long nothing may come: there is a keep-alive every 20 s."""
    connect_s: float = 10.0
    """For how long connecting may take."""


class TwitterReceiver(Receiver[dict[str, Any]]):
    """Stores posts, one by one, until told to stop; connects again when that breaks."""

    def __init__(
        self,
        auth: str | Secret | None = None,
        filters: Sequence[str] = (),
        options: TwitterOptions | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_SER_2,
    ) -> None:
        """Receive what matches one of `filters`; without any, the sample.

        `auth` is a bearer token; without it, the environment has one.

        Raises:
            IllegalArgumentError: There is no token, or a filter isn't text.
        """
        super().__init__(storageLevel)
        self.options = options or TwitterOptions()
        what = "TwitterUtils.createStream"
        checked_url(self.options.base_url, ("https", "http"), what)
        self.token = _token_of(auth)
        is_list = not isinstance(filters, (str, bytes))
        if not is_list or not all(type(e) is str and e for e in filters):
            msg = f"filters must be a list of rules as text, not {filters!r}"
            raise IllegalArgumentError(msg)
        self.filters = tuple(filters)
        self._life: _Life | None = None

    @property
    def identity(self) -> str:
        """What it reads."""
        return f"posts of {self.options.base_url}: {list(self.filters) or 'sample'}"

    def onStart(self) -> None:
        """Begin to receive, in a thread."""
        self._life = _Life(self)
        self._life.start()

    def onStop(self) -> None:
        """End the connection, and take our rules away."""
        life, self._life = self._life, None
        if life is not None:
            life.stop()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_life": None}


def _token_of(auth: str | Secret | None) -> Secret:
    secret = secret_of(auth, "twitter.bearer_token") or Secret.env(_TOKEN)
    try:
        found = secret.reveal()
    except MissingSecretError:
        found = ""
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        wrong = "isn't one" if found else "is missing"
        msg = f"TwitterUtils.createStream: the bearer token {wrong}"
        raise IllegalArgumentError(
            msg, hint=f"pass it as auth, or set the environment variable {_TOKEN}"
        )
    return secret


class _Life:
    """From `onStart` to `onStop`."""

    def __init__(self, receiver: TwitterReceiver) -> None:
        self._receiver = receiver
        options = receiver.options
        self._client = TwitterClient(
            options.base_url,
            receiver.token,
            silence_s=options.silence_s,
            connect_s=options.connect_s,
        )
        self._is_over = threading.Event()
        self._wanted: set[str] | None = None
        self._own: set[str] = set()
        name = f"millstream-twitter-{receiver.streamId}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._client.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _log.warning("a connection didn't end thread=%s", self._thread.name)

    def _run(self) -> None:
        try:
            self._receive()
        except Exception as error:  # The thread's outermost frame.
            if not self._is_over.is_set():
                self._receiver.restart("Error receiving posts", error)
        finally:
            self._take_rules_away()

    def _receive(self) -> None:
        delays = TwitterDelays()
        while not self._is_over.is_set():
            began_s = monotonic_s()
            end = self._attempt()
            if self._is_over.is_set():
                return
            if end.error is not None:
                raise end.error
            wait_s = delays.after(end.ending, end.asked_s, monotonic_s() - began_s)
            hint = f"; {end.hint}" if end.hint else ""
            told = f"{end.message}{hint}; next try in {wait_s:g} s"
            # A drop, too: what is posted meanwhile is missing.
            self._receiver.reportError(told, SparkError(end.message))
            self._is_over.wait(wait_s)

    def _attempt(self) -> TwitterEnd:
        receiver = self._receiver
        try:
            if receiver.filters and self._wanted is None:
                self._wanted = self._make_rules()
        except TwitterProblemError as error:
            return error.end
        endpoint = "search" if receiver.filters else "sample"
        return self._client.read(endpoint, receiver.options.parameters, self._store)

    def _store(self, payload: dict[str, Any]) -> None:
        record = record_of(payload, self._wanted)
        if record is not None:
            self._receiver.store(record)

    def _make_rules(self) -> set[str]:
        """Let the account have our rules; return the ids of those that we want."""
        client, tag = self._client, self._receiver.options.tag
        plan = plan_rules(client.rules(), self._receiver.filters, tag)
        self._own |= plan.own
        if plan.stale:
            client.delete_rules(plan.stale)
        wanted = set(plan.wanted)
        if plan.missing:
            added = client.add_rules(plan.missing, tag)
            self._own |= {each.id for each in added}
            wanted |= {each.id for each in added}
            if len(added) < len(plan.missing):  # Somebody else was faster.
                again = plan_rules(client.rules(), self._receiver.filters, tag)
                wanted |= again.wanted
        return wanted

    def _take_rules_away(self) -> None:
        if not self._own:
            return
        try:
            self._client.delete_rules(sorted(self._own))
        except TwitterProblemError as error:
            # The next program with this tag does it.
            _log.warning("rules are left behind tag=%s: %s", self._tag, error)

    @property
    def _tag(self) -> str:
        return self._receiver.options.tag

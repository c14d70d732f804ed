"""TwitterClient: one connection to X's streams, and calls for its rules, by tweepy.

tweepy waits in the same call that reads, up to minutes, where nothing can wake it. So a
connection here is one attempt: who calls decides what follows.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.web import tls_problem
from millstream.engine.sources.twitter.delays import TwitterEnding
from millstream.engine.sources.twitter.rules import (
    Rule,
    disconnect_of,
    problem_of,
    rules_of,
)

_READ_BYTES = 512  # As tweepy: so small that a post doesn't wait for the next one.
_ANSWER_BYTES_MAX = 1 << 16
_CALL_S = 10.0
_CHECK_TOKEN = (
    "check the bearer token and what its project may read: the developer portal shows "  # noqa: S105
    "both"
)


@dataclass(frozen=True, slots=True)
class TwitterEnd:
    """How an attempt ended."""

    ending: TwitterEnding
    message: str
    hint: str = ""
    asked_s: float | None = None
    error: BaseException | None = None
    """What broke that isn't the connection: storing, say."""


class TwitterProblemError(Exception):
    """A call for rules that failed; never leaves this source."""

    def __init__(self, end: TwitterEnd) -> None:
        """Carry how it ended."""
        super().__init__(end.message)
        self.end = end


class TwitterClient:
    """A client of one address and token; for one thread, but `stop`, which is for any."""

    def __init__(
        self, base_url: str, token: Secret, *, silence_s: float, connect_s: float
    ) -> None:
        """Wait `silence_s` for anything to come, keep-alives too, and `connect_s`.

        Raises:
            MissingDependencyError: The extra isn't installed.
        """
        self._tweepy = needed("tweepy", "twitter", "TwitterUtils")
        self.base_url = base_url.rstrip("/")
        self._connect_s = connect_s
        make = _attempt_class()
        self._attempt = make(self.base_url, token, (connect_s, silence_s))

    # Rules.

    def rules(self) -> list[Rule]:
        """Return the account's rules.

        Raises:
            TwitterProblemError: They can't be had.
        """
        return rules_of(self._call("read rules", self._attempt.get_rules))

    def add_rules(self, values: Sequence[str], tag: str) -> list[Rule]:
        """Add rules, and return those that were added.

        Raises:
            TwitterProblemError: One isn't a rule, or they are too many.
        """
        rules = [self._tweepy.StreamRule(value=each, tag=tag) for each in values]
        answer = self._call("add rules", lambda: self._attempt.add_rules(rules))
        errors = answer.get("errors") or ()
        # Somebody else may have added the same rule meanwhile: then it is there.
        if any(each.get("title") != "DuplicateRule" for each in errors):
            added = rules_of(answer)
            if added:
                self.delete_rules([each.id for each in added])
            raise TwitterProblemError(
                TwitterEnd(
                    TwitterEnding.REFUSED,
                    f"{self.base_url} refused a filter: {problem_of(answer)}",
                    "filters are rules as X documents them; check them, and how many "
                    "the account may have",
                )
            )
        return rules_of(answer)

    def delete_rules(self, ids: Sequence[str]) -> None:
        """Delete rules.

        Raises:
            TwitterProblemError: It isn't known whether they are deleted.
        """
        self._call("delete rules", lambda: self._attempt.delete_rules(list(ids)))

    def _call(self, what: str, call: Callable[[], Any]) -> Any:
        import requests  # noqa: PLC0415  Comes with tweepy.

        try:
            return call()
        except self._tweepy.HTTPException as error:
            answer = error.response
            end = self._end_of_answer(answer, _json_of(answer.content))
        except requests.RequestException as error:
            end = self._end_of_break(error)
        msg = f"can't {what}: {end.message}"
        raise TwitterProblemError(
            TwitterEnd(end.ending, msg, end.hint, end.asked_s)
        ) from None

    # The stream.

    def read(
        self,
        endpoint: str,
        parameters: Mapping[str, str],
        on_payload: Callable[[dict[str, Any]], None],
    ) -> TwitterEnd:
        """Connect once, hand over what comes, and return how it ended."""
        attempt = self._attempt
        attempt.begin(on_payload)
        attempt.connect(endpoint, dict(parameters))
        if attempt.disconnect is not None:
            msg = f"{self.base_url} disconnects: {attempt.disconnect}"
            return TwitterEnd(TwitterEnding.DROPPED, msg)
        if attempt.status is not None:
            return self._end_of_answer(attempt.response, attempt.answer)
        error = attempt.error
        if error is None:
            ending = self._dropped_or_broken()
            return TwitterEnd(ending, f"{self.base_url} ended the connection")
        if attempt.is_broken:
            return self._end_of_break(error)
        return TwitterEnd(TwitterEnding.NETWORK, str(error), error=error)

    def stop(self) -> None:
        """Let `read` return soon; from any thread."""
        self._attempt.stop()

    def _dropped_or_broken(self) -> TwitterEnding:
        has_come = self._attempt.has_come
        return TwitterEnding.DROPPED if has_come else TwitterEnding.NETWORK

    def _end_of_break(self, error: BaseException) -> TwitterEnd:
        problem = tls_problem(error) or _tls_reason(error)
        if problem is not None:
            return TwitterEnd(
                TwitterEnding.REFUSED,
                f"no secure connection to {self.base_url}: {problem}",
                "set the environment variable REQUESTS_CA_BUNDLE if its certificate is "
                "your own",
            )
        if "timed out" in str(error).lower():
            msg = f"{self.base_url} was silent for too long"
        else:
            msg = f"the connection to {self.base_url} broke: {type(error).__name__}"
        return TwitterEnd(self._dropped_or_broken(), msg)

    def _end_of_answer(self, response: Any, answer: Any) -> TwitterEnd:
        status = response.status_code
        said = problem_of(answer)
        msg = f"{self.base_url} answered {status}{': ' if said else ''}{said}"
        if status in {420, 429}:
            return TwitterEnd(
                TwitterEnding.LIMITED,
                msg,
                "does another program read the stream with this account?",
                _until_reset_s(response.headers.get("x-rate-limit-reset")),
            )
        if status >= 500 or status == 408:
            return TwitterEnd(TwitterEnding.HTTP, msg)
        hint = _CHECK_TOKEN if status in {401, 403} else "check filters and parameters"
        return TwitterEnd(TwitterEnding.REFUSED, msg, hint)


def _tls_reason(error: BaseException) -> BaseException | None:
    """Return a TLS error that is among another one's arguments, where urllib3 has it."""
    for each in getattr(error, "args", ()):
        reason = getattr(each, "reason", None)
        if isinstance(reason, BaseException):
            found = tls_problem(reason) or _tls_reason(reason)
            if found is not None or "SSL" in type(reason).__name__:
                return found or reason
    return None


def _until_reset_s(header: str | None) -> float | None:
    if header is None or not header.isdecimal():
        return None
    left_s = int(header) - SystemClock().now_ms() / 1000
    return min(max(left_s, 0.0), 900.0)  # Its windows are of 15 minutes.


def _json_of(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


class _Attempt:
    """One connection at a time; what became of it is in its attributes.

    Its other base is tweepy's client.
    """

    session: Any
    running: bool

    def __init__(
        self, base_url: str, token: Secret, timeouts: tuple[float, float]
    ) -> None:
        client = needed("tweepy", "twitter", "TwitterUtils").StreamingClient
        client.__init__(self, "", return_type=dict, chunk_size=_READ_BYTES)
        self._base_url = base_url
        self._timeouts = timeouts
        self._is_over = False
        self.session.hooks["response"].append(self._on_response)

        def sign(request: Any) -> Any:
            request.headers["Authorization"] = f"Bearer {token.reveal()}"
            return request

        # Not a header of the session: a .netrc file would take its place.
        self.session.auth = sign
        self.response: Any = None
        self.begin(lambda _payload: None)

    def begin(self, on_payload: Callable[[dict[str, Any]], None]) -> None:
        self._on_payload = on_payload
        self.has_come = False
        self.is_broken = False
        self.error: BaseException | None = None
        self.status: int | None = None
        self.answer: Any = None
        self.disconnect: str | None = None

    def connect(self, endpoint: str, parameters: dict[str, str]) -> None:
        url = f"{self._base_url}/2/tweets/{endpoint}/stream"
        if not self._is_over:
            base = needed("tweepy.streaming", "twitter", "TwitterUtils").BaseStream
            base._connect(self, "GET", url, params=parameters, timeout=self._timeouts)

    def stop(self) -> None:
        self._is_over = True
        self.running = False
        response = self.response
        if response is not None:
            try:
                response.raw.shutdown()
            except (OSError, ValueError, RuntimeError):
                return  # It has ended by itself.
            except AttributeError:
                return  # urllib3 before 2.3: the next keep-alive wakes it.

    def _on_response(self, response: Any, **_more: Any) -> None:
        self.response = response

    # In place of tweepy's own, which logs the token at the level DEBUG.
    def request(
        self,
        method: str,
        route: str,
        params: Any = None,
        json: Any = None,
        user_auth: bool = False,
    ) -> Any:
        del user_auth
        with self.session.request(
            method,
            self._base_url + route,
            params=params,
            json=json,
            timeout=(self._timeouts[0], _CALL_S),
        ) as response:
            if not 200 <= response.status_code < 300:
                raise needed("tweepy", "twitter", "TwitterUtils").HTTPException(
                    response
                )
            return response

    def on_data(self, raw_data: bytes) -> None:
        self.has_come = True
        payload = json.loads(raw_data)
        self.disconnect = disconnect_of(payload)
        if self.disconnect is not None:
            self.running = False
        self._on_payload(payload)

    def on_keep_alive(self) -> None:
        self.has_come = True

    def on_closed(self, response: Any) -> None:
        del response
        self.running = False

    def on_connection_error(self) -> None:
        self.is_broken = True
        self.error = sys.exception()
        self.running = False

    def on_request_error(self, status_code: int) -> None:
        self.status = status_code
        raw = self.response.raw
        self.answer = _json_of(raw.read(_ANSWER_BYTES_MAX, decode_content=True))
        self.running = False

    def on_exception(self, exception: BaseException) -> None:
        self.error = exception

    def on_connect(self) -> None:
        if self._is_over:  # Stopped before there was anything to wake.
            self.running = False

    def on_disconnect(self) -> None:
        self.running = False


@cache
def _attempt_class() -> Any:
    """Return tweepy's client, made to try once, and to be woken."""
    tweepy = needed("tweepy", "twitter", "TwitterUtils")
    return type("Attempt", (_Attempt, tweepy.StreamingClient), {})

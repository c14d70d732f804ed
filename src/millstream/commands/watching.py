"""Watching: what a running program's page says of its stream, asked by REST."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from millstream.engine.base.errors import UsageError

_TIMEOUT_S = 5.0
_ANSWER_BYTES_MAX = 64_000_000

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be seen at one moment."""

    application: Answer
    statistics: Answer | None
    """None: the program has no stream that has started."""
    batches: Sequence[Answer]
    """Newest first."""
    inputs: Sequence[Answer]


class Watcher:
    """Asks a page for its numbers."""

    def __init__(self, url: str) -> None:
        """Ask the page at `url`.

        Raises:
            UsageError: It is no address of the web.
        """
        if "://" not in url:
            url = f"http://{url}"
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            msg = f"'{url}' is no address of a page"
            raise UsageError(msg, hint="such as http://127.0.0.1:4040")
        self.url = f"{parts.scheme}://{parts.netloc}"

    def look(self) -> Sight:
        """Return what there is now.

        Raises:
            UsageError: Nothing answers there, or something that isn't a page.
        """
        applications = self._get("/api/v1/applications")
        if not isinstance(applications, list) or not applications:
            why = "it knows no application"
            raise self._stranger(why)
        application = applications[0]
        if not isinstance(application, dict) or "id" not in application:
            why = "it describes no application"
            raise self._stranger(why)
        stream = f"/api/v1/applications/{quote(str(application['id']))}/streaming"
        statistics = self._find(f"{stream}/statistics")
        if statistics is None:
            return Sight(application, None, (), ())
        return Sight(
            application,
            statistics,
            self._find(f"{stream}/batches") or (),
            self._find(f"{stream}/receivers") or (),
        )

    def _find(self, path: str) -> Any:
        """Return an answer; None where there is none."""
        try:
            return self._get(path)
        except _MissingError:
            return None

    def _get(self, path: str) -> Any:
        # Not by a proxy that is set for other addresses: a page is near.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}{path}", timeout=_TIMEOUT_S) as response:
                return json.loads(response.read(_ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise _MissingError(path) from error
                why = f"it answers {error.code} to {path}"
                raise self._stranger(why) from error
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            msg = f"no page answers at {self.url}: {reason}"
            hint = (
                "is the program running? Its page is at sc.uiWebUrl: from port 4040 on, "
                "unless spark.ui.port says another, or spark.ui.enabled=false"
            )
            raise UsageError(msg, hint=hint) from error
        except ValueError as error:
            why = f"it answers no JSON to {path}"
            raise self._stranger(why) from error

    def _stranger(self, why: str) -> UsageError:
        msg = f"what answers at {self.url} is no page of a program: {why}"
        return UsageError(msg, hint="give the address that sc.uiWebUrl says")


class _MissingError(UsageError):
    """There is no such thing, or not yet."""

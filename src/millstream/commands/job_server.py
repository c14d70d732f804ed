"""Job server: programs that are handed to a Ray cluster's job server, and watched there.

The server is asked over HTTP, so that the machine that submits needn't be part of the
cluster. The program's directory travels with it; settings travel in the environment of the
job and aren't said here.
"""

import asyncio
import json
import logging
import os  # noqa: TID251  Environment.
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import MissingDependencyError, SparkError, UsageError

_ANSWER_S = 10.0
_BEGIN_S = 30.0
_END_S = 60.0
_POLL_S = 0.2
# What no node needs; Ray leaves out what .gitignore names as well.
_LEFT_OUT = [".git", ".venv", "__pycache__", ".mypy_cache", ".pytest_cache"]
_NOT_READY = "No available agent"  # So the server says while its nodes are starting.
_RUNNING = frozenset({"PENDING", "RUNNING"})


@dataclass(frozen=True, slots=True)
class Submission:
    """What a job server is given."""

    entrypoint: str
    runtime_env: Mapping[str, Any]
    metadata: Mapping[str, str]


def plan_submission(
    program: Path,
    args: Sequence[str],
    *,
    conf: Mapping[str, str],
    working_dir: Path,
    environment: Mapping[str, str],
    packages: Sequence[str],
) -> Submission:
    """Return how a program is run in a cluster, with its directory beside it.

    Raises:
        UsageError: The program isn't in the directory that is uploaded.
    """
    folder = working_dir.resolve()
    try:
        relative = program.resolve().relative_to(folder)
    except ValueError as error:
        msg = f"'{program}' isn't in '{working_dir}', which is what is uploaded"
        raise UsageError(
            msg, hint="name a directory around it: --working-dir"
        ) from error
    command = ["python", "-m", "millstream", "run"]
    if "spark.master" not in conf:
        command += ["--master", "ray"]  # The cluster that RAY_ADDRESS names there.
    runtime_env: dict[str, Any] = {
        "working_dir": str(folder),
        "excludes": _LEFT_OUT,
        "env_vars": {**environment, "MILLSTREAM_CONF": json.dumps(dict(conf))},
    }
    if packages:
        runtime_env["pip"] = list(packages)
    metadata = {"name": conf["spark.app.name"]} if "spark.app.name" in conf else {}
    return Submission(
        shlex.join([*command, relative.as_posix(), *args]), runtime_env, metadata
    )


def environment_of(
    given: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return variables by their names; those without a value have the one of `environment`.

    Raises:
        UsageError: One has no name, or no value here either.
    """
    found: dict[str, str] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not name:
            msg = "a variable has no name"
            raise UsageError(msg, hint="--env NAME=VALUE, or --env NAME")
        if not sign and name not in environment:
            msg = f"the variable '{name}' isn't set"
            raise UsageError(msg, hint=f"export it, or say --env {name}=VALUE")
        found[name] = value if sign else environment[name]
    return found


def packages_of(requirements: Path | None, packages: Sequence[str]) -> list[str]:
    """Return the lines of a requirements file, if there is one, and `packages`."""
    lines = [] if requirements is None else requirements.read_text().splitlines()
    return [line for line in lines if line.strip()] + list(packages)


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a server knows of a job."""

    id: str
    status: str
    message: str
    exit_code: int | None
    entrypoint: str

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status not in _RUNNING

    @property
    def ending(self) -> int:
        """The exit code that tells how it ended: the program's own when it has one."""
        if self.status == "SUCCEEDED":
            return 0
        return self.exit_code or 1

    def as_text(self) -> str:
        """Return the report on a line, for people; not what the program was given."""
        told = f"job {self.id}: {self.status}"
        if self.exit_code:
            told += f", exit code {self.exit_code}"
        return told


class Output(Protocol):
    """Where a job's output goes, as it comes."""

    def __call__(self, text: str, /) -> None:
        """Take a piece of it."""


class JobServer:
    """A Ray cluster's job server."""

    def __init__(self, client: Any, address: str) -> None:
        """Ask through Ray's own client."""
        self._client = client
        self.address = address

    @classmethod
    def at(cls, address: str) -> Self:
        """Return the server at an address, which answers within some seconds.

        Raises:
            MissingDependencyError: Ray, or its part for this, isn't installed.
            SparkError: There is no such server.
        """
        try:
            import requests  # noqa: PLC0415  Comes with Ray.
            from ray.job_submission import JobSubmissionClient  # noqa: PLC0415
        except ImportError as error:
            msg = f"submitting needs Ray with its job client: {error}"
            raise MissingDependencyError(
                msg, hint="pip install 'millstream[ray]'"
            ) from error
        address = _checked(address)
        # What it says of each upload and connection; we say how the job is.
        logging.getLogger("ray.dashboard").setLevel(logging.WARNING)
        for noisy in ("modules.dashboard_sdk", "modules.job.sdk"):
            logging.getLogger(f"ray.dashboard.{noisy}").setLevel(logging.WARNING)
        logging.getLogger("ray._private.runtime_env").setLevel(logging.WARNING)
        # Ray's client waits for ever for a server that says nothing.
        try:
            answer = requests.get(f"{address}/api/version", timeout=_ANSWER_S)
            answer.raise_for_status()
            answer.json()
        except (requests.RequestException, ValueError) as error:
            msg = f"no Ray job server answers at '{address}': {_root_of(error)}"
            hint = (
                "--address is that of the head's dashboard, such as http://HEAD:8265; it "
                "runs where 'ray[default]' is installed"
            )
            raise SparkError(msg, hint=hint) from error
        for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
            os.environ.pop(name, None)  # They would win over what was asked for.
        with _named(address):
            return cls(JobSubmissionClient(address), address)

    def submit(self, submission: Submission) -> str:
        """Upload the program's directory, start the job, and return its id.

        A cluster that has just begun is waited for.
        """
        until_s = monotonic_s() + _BEGIN_S
        while True:
            try:
                with _named(self.address):
                    return self._submit(submission)
            except SparkError as error:
                if _NOT_READY not in str(error) or monotonic_s() > until_s:
                    raise
            threading.Event().wait(_POLL_S)

    def _submit(self, submission: Submission) -> str:
        job = self._client.submit_job(
            entrypoint=submission.entrypoint,
            runtime_env=dict(submission.runtime_env),
            metadata=dict(submission.metadata),
        )
        return str(job)

    def jobs(self) -> list[JobReport]:
        """Return the jobs that were submitted and that the server still knows."""
        with _named(self.address):
            found = [_report(each) for each in self._client.list_jobs()]
        return [each for each in found if each.id]

    def report(self, job: str) -> JobReport:
        """Return what is known of a job."""
        with _named(self.address):
            return _report(self._client.get_job_info(job))

    def logs(self, job: str) -> str:
        """Return what a job has put out until now."""
        with _named(self.address):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, out: Output) -> JobReport:
        """Hand over what a job puts out until it is over, and return how it ended.

        Raises:
            SparkError: The connection is lost; the job may well go on.
        """

        async def tell() -> None:
            async for text in self._client.tail_job_logs(job):
                out(text)

        with _named(self.address):
            asyncio.run(tell())
        until_s = monotonic_s() + _END_S
        found = self.report(job)
        while not found.is_over:
            if monotonic_s() > until_s:
                msg = f"{found.as_text()}, but its output has ended"
                raise SparkError(msg, hint=f"look again: millstream job logs -f {job}")
            threading.Event().wait(_POLL_S)
            found = self.report(job)
        return found

    def stop(self, job: str) -> bool:
        """Ask a job to end, and say whether it was running."""
        with _named(self.address):
            return bool(self._client.stop_job(job))


def _checked(address: str) -> str:
    if address.startswith(("http://", "https://")):
        return address.rstrip("/")
    msg = f"'{address}' isn't the address of a job server"
    raise UsageError(msg, hint="that is the dashboard's, such as http://HEAD:8265")


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into an error that names the server."""
    try:
        yield
    except (UsageError, SparkError):
        raise
    except (
        Exception
    ) as error:  # RuntimeError, ValueError, and those of two HTTP clients.
        msg = f"the job server at '{address}' can't do that: {_in_short(error)}"
        raise SparkError(msg) from error


def _root_of(error: BaseException) -> BaseException:
    """Return what was raised first: HTTP clients wrap it several times."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _in_short(error: BaseException) -> str:
    """Return the part of an error that people need: a server's answer has a traceback."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    if len(lines) > 1 and any(line.startswith("Traceback") for line in lines[:1]):
        return lines[-1]
    if len(lines) > 1:
        return f"{lines[0]} ... {lines[-1]}"
    return lines[0] if lines else type(error).__name__


def _report(facts: Any) -> JobReport:
    return JobReport(
        facts.submission_id or "",
        str(getattr(facts.status, "value", facts.status)),
        facts.message or "",
        facts.driver_exit_code,
        facts.entrypoint or "",
    )

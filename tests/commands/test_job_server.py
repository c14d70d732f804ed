"""Tests of `millstream submit` and `millstream job`, on a real Ray job server too."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from millstream.cli import main
from millstream.commands import job_server
from millstream.engine.base.errors import UsageError

SECRET = "hunter2"
Claim = TypeVar("Claim", bound=Callable[..., object])


def call(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program in a directory of its own, with a module beside it."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "beside.py").write_text("WORD = 'beside'\n")
    path = folder / "app.py"
    path.write_text(
        "import os, sys\n"
        "import beside\n"
        "from pyspark import SparkContext\n"
        "sc = SparkContext()\n"
        "conf = sc.getConf()\n"
        "length = len(beside.WORD)\n"
        "print(sc.master, sc.appName, conf.get('spark.x.token'), sys.argv[1:],\n"
        "      os.environ.get('WHO'), flush=True)\n"
        "print(sc.parallelize(range(10), 4).map(lambda n: n + length).sum())\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    return path


# What is submitted.


def planned(program: Path, *args: str, **given: object) -> job_server.Submission:
    """Plan a submission; what isn't given is empty."""
    return job_server.plan_submission(
        program,
        args,
        **{
            "conf": {},
            "working_dir": program.parent,
            "environment": {},
            "packages": [],
            **given,
        },  # type: ignore[arg-type]
    )


def test_the_program_runs_where_its_directory_was_unpacked(program: Path) -> None:
    """On the cluster's Ray unless the conf says otherwise; arguments arrive as they are."""
    above = program.parent.parent

    assert (
        planned(program, "a b", "$x", working_dir=above).entrypoint
        == "python -m millstream run --master ray app/app.py 'a b' '$x'"
    )
    assert (
        planned(program, conf={"spark.master": "local[2]"}).entrypoint
        == "python -m millstream run app.py"
    )


def test_what_is_uploaded_has_the_program_in_it(program: Path, tmp_path: Path) -> None:
    """The error says which option names another directory."""
    other = tmp_path / "other"
    other.mkdir()

    with pytest.raises(UsageError, match=r"app\.py' isn't in '.*other'") as caught:
        planned(program, working_dir=other)

    assert "--working-dir" in (caught.value.hint or "")


def test_settings_travel_in_the_environment(program: Path) -> None:
    """Not on the command line, which a node shows to all who have an account there."""
    conf = {"spark.x.token": SECRET, "spark.app.name": "counts"}
    made = planned(program, conf=conf, environment={"A": "1"}, packages=["six==1"])

    assert SECRET not in made.entrypoint
    variables = made.runtime_env["env_vars"]
    assert json.loads(variables["MILLSTREAM_CONF"]) == conf
    assert variables["A"] == "1"
    assert made.runtime_env["pip"] == ["six==1"]
    assert made.metadata == {"name": "counts"}
    assert "pip" not in planned(program).runtime_env


def test_variables_have_values_of_their_own_or_those_from_here() -> None:
    """One that is nowhere is an error that names it."""
    given = job_server.environment_of(["A=x=y", "B", "C="], {"B": "here", "D": "not"})

    assert given == {"A": "x=y", "B": "here", "C": ""}
    with pytest.raises(UsageError, match="'E' isn't set"):
        job_server.environment_of(["E"], {})
    with pytest.raises(UsageError, match="no name"):
        job_server.environment_of(["=x"], {})


def test_packages_come_from_a_file_and_one_by_one(tmp_path: Path) -> None:
    """Empty lines say nothing."""
    file = tmp_path / "requirements.txt"
    file.write_text("six==1\n\nclick>=8\n")

    assert job_server.packages_of(file, ["x"]) == ["six==1", "click>=8", "x"]
    assert job_server.packages_of(None, []) == []


@pytest.mark.parametrize(
    ("status", "exit_code", "is_over", "ending"),
    [
        ("PENDING", None, False, 1),
        ("RUNNING", None, False, 1),
        ("SUCCEEDED", 0, True, 0),
        ("FAILED", 7, True, 7),
        ("FAILED", None, True, 1),
        ("STOPPED", None, True, 1),
    ],
)
def test_the_ending_is_the_programs_own(
    status: str, exit_code: int | None, is_over: bool, ending: int
) -> None:
    """Whatever has no code of its own, and didn't succeed, is 1."""
    report = job_server.JobReport("id", status, "", exit_code, "")

    assert (report.is_over, report.ending) == (is_over, ending)


# What can go wrong before anything is submitted.


def test_a_program_that_isnt_there_is_named() -> None:
    """Before any server is asked."""
    done = call("submit", "nowhere.py")

    assert done.exit_code == 2
    assert "'nowhere.py' does not exist" in done.output


def test_no_ray_names_the_extra(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is there without its job client."""
    monkeypatch.setitem(sys.modules, "ray.job_submission", None)
    done = call("submit", str(program))

    assert done.exit_code == 1
    assert "pip install 'millstream[ray]'" in done.output


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the address of a server that takes calls, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_no_server_is_told_at_once(program: Path) -> None:
    """With the address, and what a right one looks like."""
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = call("submit", "--address", address, "-c", f"x={SECRET}", str(program))

    assert done.exit_code == 1
    assert f"no Ray job server answers at '{address}'" in done.output
    assert "Connection refused" in done.output
    assert "http://HEAD:8265" in done.output
    assert SECRET not in done.output


@pytest.mark.slow
def test_a_silent_server_isnt_waited_for_for_ever(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seconds; then it is as if there were none."""
    pytest.importorskip("ray")
    monkeypatch.setattr(job_server, "_ANSWER_S", 0.2)
    done = call("job", "list", "--address", silent)

    assert done.exit_code == 1
    assert f"no Ray job server answers at '{silent}'" in done.output


def test_an_address_of_another_kind_is_refused() -> None:
    """`ray://` is for programs that run here."""
    pytest.importorskip("ray")
    done = call("job", "list", "--address", "ray://10.0.0.5:10001")

    assert done.exit_code == 1
    assert "'ray://10.0.0.5:10001' isn't the address of a job server" in done.output


def test_help_has_examples() -> None:
    """Every command says how it is used."""
    for words in ("submit", "job", "job list", "job status", "job logs", "job stop"):
        done = call(*words.split(), "--help")
        assert done.exit_code == 0
        assert "Example" in done.output


# On a real one.


def on_ray(test: Claim) -> Claim:
    """Mark a claim that takes a cluster."""
    for mark in (
        pytest.mark.slow,
        pytest.mark.timeout(180),
        # Ray's client gives this to its own HTTP library.
        pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning"),
    ):
        test = mark(test)
    return test


def free_port() -> int:
    """Return a port of loopback: Ray's dashboard doesn't take any free one by itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """Return the address of the job server of a Ray cluster of one node."""
    # Read when Ray is imported: without it, loopback becomes the machine's own address.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    before = os.environ["PATH"]
    # Programs that are submitted run with the interpreter that a node finds.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    made: Any = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "node_ip_address": "127.0.0.1",
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": free_port(),
            "dashboard_agent_listen_port": free_port(),
        },
    )
    yield f"http://{made.head_node.webui_url}"
    made.shutdown()
    os.environ["PATH"] = before


def submit(head: str, *arguments: str, code: int = 0) -> Result:
    """Submit a program, and see that it ends as it should."""
    done = call("submit", "--address", head, *arguments)

    assert done.exit_code == code, done.output
    return done


@on_ray
def test_a_submitted_program_runs_in_the_cluster(head: str, program: Path) -> None:
    """With its module, arguments and settings; it is shown, and its exit code is ours."""
    done = submit(
        head,
        *("--name", "counts", "-c", f"spark.x.token={SECRET}", "--env", "WHO=me"),
        *(str(program), "7", "a b"),
        code=7,
    )

    assert f"ray counts {SECRET} ['7', 'a b'] me\n" in done.stdout
    assert "\n105\n" in done.stdout
    assert SECRET not in done.stderr
    job = done.stderr.split()[2]
    assert done.stderr.endswith(f"job {job}: FAILED, exit code 7\n")

    told = call("job", "status", "--address", head, job)
    assert (told.exit_code, told.stdout) == (7, f"job {job}: FAILED, exit code 7\n")
    assert told.stdout in call("job", "list", "--address", head).stdout
    assert "\n105\n" in call("job", "logs", "--address", head, job).stdout
    followed = call("job", "logs", "--follow", "--address", head, job)
    assert followed.exit_code == 7
    assert "\n105\n" in followed.stdout
    unknown = call("job", "status", "--address", head, "nobody")
    assert unknown.exit_code == 1
    assert "nobody does not exist" in unknown.output


INTERRUPTIBLE = """
import signal
# What runs in the background is born with it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from millstream.cli import main
main()
"""
WAITING = """
import signal, sys, threading
print("begun", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
threading.Event().wait()
"""


@on_ray
def test_ctrl_c_ends_the_waiting_and_not_the_job(head: str, tmp_path: Path) -> None:
    """It says how to look again and how to end the job, and both work."""
    program = tmp_path / "app.py"
    program.write_text(WAITING)
    words = ["submit", "--address", head, str(program)]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The explicit address wins.
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
    ) as waiting:
        assert waiting.stdout is not None, "it is a pipe"
        try:
            assert any("begun" in line for line in waiting.stdout)
            waiting.send_signal(signal.SIGINT)
            _, said = waiting.communicate(timeout=60)
        finally:
            waiting.kill()

    assert waiting.returncode == 130
    job = said.split()[2]
    assert f"job {job} goes on\n" in said
    assert f"millstream job stop --address {head} {job}" in said
    assert f"{job}: RUNNING" in call("job", "status", "--address", head, job).stdout
    stopped = call("job", "stop", "--address", head, job)
    assert f"job {job} was told to end" in stopped.stderr
    ended = call("job", "logs", "-f", "--address", head, job)
    assert ended.exit_code == 1
    assert ended.stderr.endswith(f"job {job}: STOPPED\n")


@on_ray
def test_a_program_can_be_left_alone(head: str, tmp_path: Path) -> None:
    """Its id is all that is put out, so that a script can go on with it."""
    program = tmp_path / "app.py"
    program.write_text("print('done')\n")
    job = submit(head, "--no-wait", str(program)).stdout.strip()

    followed = call("job", "logs", "-f", "--address", head, job)
    assert followed.exit_code == 0, followed.output
    assert "done\n" in followed.stdout

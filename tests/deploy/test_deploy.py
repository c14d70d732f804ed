"""The cluster kit: what `deploy/` holds is well-formed, safe, and says what is true.

No Kubernetes and no builder of images is needed; `deploy/build` makes the image where there
is one. KubeRay's own schema isn't here: the names that we use are checked against a list.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from millstream.commands.run import command as run

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
CONTAINERFILE = DEPLOY / "Containerfile"
MANIFEST = DEPLOY / "kubernetes" / "millstream-rayjob.yaml"
BIN = Path(sys.executable).parent

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_GROUP = {"rayStartParams": _TEXTS, "template": {"type": "object"}}


def _closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


RAY_JOB = _closed(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object"},
    spec=_closed(
        submissionMode={"enum": ["K8sJobMode", "HTTPMode"]},
        entrypoint={"type": "string"},
        backoffLimit=_COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=_COUNT,
        rayClusterSpec=_closed(
            rayVersion={"type": "string"},
            enableInTreeAutoscaling={"type": "boolean"},
            autoscalerOptions=_closed(
                idleTimeoutSeconds=_COUNT, resources={"type": "object"}
            ),
            headGroupSpec=_closed(**_GROUP),
            workerGroupSpecs={
                "type": "array",
                "items": _closed(
                    groupName={"type": "string"},
                    replicas=_COUNT,
                    minReplicas=_COUNT,
                    maxReplicas=_COUNT,
                    **_GROUP,
                ),
            },
        ),
    ),
)
"""The part of KubeRay's RayJob that the manifest uses."""


@pytest.fixture(scope="module")
def objects() -> list[Any]:
    """Return what the manifest asks for."""
    return list(yaml.safe_load_all(MANIFEST.read_text()))


@pytest.fixture(scope="module")
def ray_job(objects: list[Any]) -> Any:
    """Return the one that KubeRay takes."""
    (found,) = (each for each in objects if each["kind"] == "RayJob")
    return found


@pytest.fixture(scope="module")
def pods(ray_job: Any) -> list[Any]:
    """Return the pods of the cluster: the head's and the other nodes'."""
    cluster = ray_job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [
        {"apiVersion": "v1", "kind": "Pod", **group["template"]} for group in groups
    ]


def containers(pods: list[Any]) -> Iterator[Any]:
    """Yield the containers of pods."""
    return (each for pod in pods for each in pod["spec"]["containers"])


def checked(*command: str | Path) -> str:
    """Run a command, and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)

    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# The manifest.


def test_the_manifest_is_clean_yaml() -> None:
    """As the linter has it."""
    checked(BIN / "yamllint", "-s", "-c", DEPLOY / ".yamllint.yaml", DEPLOY)


def test_kubernetes_knows_every_field(objects: list[Any], pods: list[Any]) -> None:
    """By its own schemas, with no property that it doesn't have; pods too."""
    names = {"type": "object", "required": ["name"]}
    for each in objects:
        jsonschema.validate(each["metadata"], names)
        if each["kind"] != "RayJob":
            kubernetes_validate.validate(each, "1.37", strict=True)
    for pod in pods:
        kubernetes_validate.validate(pod, "1.37", strict=True)


def test_a_field_that_kubernetes_doesnt_know_would_be_found(pods: list[Any]) -> None:
    """So the check above can fail."""
    wrong = {**pods[0], "spec": {**pods[0]["spec"], "restartPolice": "Never"}}

    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_kuberay_knows_every_field(ray_job: Any) -> None:
    """As far as we have written down what it knows."""
    jsonschema.validate(ray_job, RAY_JOB)


def test_nothing_runs_as_root(pods: list[Any]) -> None:
    """Nor can it become root; and it can do only what any process can."""
    for pod in pods:
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"]
        assert security["runAsUser"] == 1000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(pods):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_has_resources_and_is_looked_after(pods: list[Any]) -> None:
    """As much as it asks for is what it has; three probes, with bounds."""
    for each in containers(pods):
        assert each["resources"]["requests"] == each["resources"]["limits"]
        assert set(each["resources"]["limits"]) == {"cpu", "memory"}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert each[probe]["failureThreshold"] > 1


@pytest.mark.slow
def test_probes_ask_what_ray_answers(pods: list[Any]) -> None:
    """The installed one, by its own list of what needs no token."""
    http_server = pytest.importorskip("ray.dashboard.http_server_agent")
    known = {*http_server.PUBLIC_EXACT_PATHS, "/api/gcs_healthz"}
    asked = {
        each[probe]["httpGet"]["path"]
        for each in containers(pods)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert asked <= known


def test_credentials_come_from_a_secret_alone(
    objects: list[Any], pods: list[Any]
) -> None:
    """Which holds no real one here."""
    (secret,) = (each for each in objects if each["kind"] == "Secret")
    name = secret["metadata"]["name"]

    assert set(secret["stringData"].values()) == {"replace-me"}
    for each in containers(pods):
        assert {"secretRef": {"name": name}} in each["envFrom"]
        assert not [one for one in each.get("env", []) if "AWS" in one["name"]]


def test_a_graceful_stop_has_time(pods: list[Any]) -> None:
    """Kubernetes waits for longer than Ray waits for the driver."""
    head = pods[0]["spec"]
    environment = {each["name"]: each["value"] for each in head["containers"][0]["env"]}

    waits_s = int(environment["RAY_JOB_STOP_WAIT_TIME_S"])
    assert 60 <= waits_s < head["terminationGracePeriodSeconds"]


def test_ray_knows_its_settings(pods: list[Any]) -> None:
    """A name with a mistake in it would do nothing, and say nothing."""
    ray = pytest.importorskip("ray")
    folder = Path(ray.__file__).parent
    server = (folder / "core" / "src" / "ray" / "gcs" / "gcs_server").read_bytes()
    supervisor = (
        folder / "dashboard" / "modules" / "job" / "job_supervisor.py"
    ).read_bytes()
    names = [each["name"] for one in containers(pods) for each in one.get("env", [])]

    assert len(names) >= 4
    for name in names:
        known = name.encode() in supervisor
        assert known or name.removeprefix("RAY_").encode() in server, name


def test_one_version_of_ray_is_meant(ray_job: Any) -> None:
    """In the manifest as in what the image installs."""
    version = ray_job["spec"]["rayClusterSpec"]["rayVersion"]

    assert f"\nray=={version} " in (ROOT / "requirements" / "cluster.txt").read_text()


def test_the_entry_point_is_a_command_of_ours(
    ray_job: Any, objects: list[Any], pods: list[Any], tmp_path: Path
) -> None:
    """With options that it has; the program is where the config map is mounted."""
    (program,) = (each for each in objects if "app.py" in each.get("data", {}))
    file = tmp_path / "app.py"
    file.write_text(program["data"]["app.py"])
    (volume,) = (each for each in pods[0]["spec"]["volumes"] if "configMap" in each)
    (mount,) = (
        each["mountPath"]
        for each in pods[0]["spec"]["containers"][0]["volumeMounts"]
        if each["name"] == volume["name"]
    )
    millstream, command, *words = shlex.split(ray_job["spec"]["entrypoint"])
    at = words.index(f"{mount}/app.py")
    with run.make_context("run", [*words[:at], str(file), *words[at + 1 :]]) as made:
        given = made.params

    assert (millstream, command) == ("millstream", "run")
    assert volume["configMap"]["name"] == program["metadata"]["name"]
    assert given["master"] == "ray"
    assert given["args"] == ("s3://bucket/word-count",)
    compile(file.read_text(), str(file), "exec")
    with pytest.raises(click.UsageError):
        run.make_context("run", ["--mastre", "ray"])


# The image.


def test_the_containerfile_is_clean() -> None:
    """As the linter for them has it."""
    hadolint = shutil.which("hadolint", path=BIN) or pytest.skip("no wheel of it here")

    checked(hadolint, "--failure-threshold", "style", CONTAINERFILE)


def test_the_image_is_made_of_what_is_locked() -> None:
    """Every package with its hash, from files that are here; it doesn't run as root."""
    text = CONTAINERFILE.read_text()
    installs = re.findall(r"pip install ([^\n\\]*)", text)
    stages = text.split("\nFROM ")

    assert len(installs) == 3
    for words in installs:
        assert "--require-hashes -r requirements/" in words or "--no-index" in words
    for path in re.findall(r"-r (\S+)", text):
        assert "--hash=sha256:" in (ROOT / path).read_text()
    for words in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / path).exists() for path in words.split())
    assert re.findall(r"^USER (.*)$", stages[-1], re.MULTILINE) == ["1000:1000"]
    assert {each.split()[0] for each in stages[1:]} == {"python:3.11-slim-bookworm"}


def test_the_image_gets_what_a_cluster_needs() -> None:
    """Ray with its job server, and what opens S3; in the versions that the tests run on."""
    pins = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
    image = dict(pins.findall((ROOT / "requirements" / "cluster.txt").read_text()))
    tested = (ROOT / "requirements" / "dev.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {"ray", "aiohttp", "pyarrow", "fsspec", "polars", "click"} <= image.keys()
    assert project["optional-dependencies"]["ray"][0].startswith("ray[default]")
    for name in ("ray", "pyarrow", "fsspec", "polars", "click", "cloudpickle"):
        assert f"\n{name}=={image[name]} " in f"\n{tested}"


@pytest.mark.slow
def test_the_wheel_runs_programs_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """As the image installs it: built from here, and nothing of this tree on the path."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "new", with_pip=True)
    inside = tmp_path / "new" / "bin"
    pip: list[str | Path] = [
        inside / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
    ]
    checked(*pip, "--quiet", "--no-index", "--no-deps", wheel)
    # What it depends on is here already, and needn't come over the network once more.
    (packages,) = (tmp_path / "new" / "lib").glob("python*/site-packages")
    (here,) = Path(sys.executable).parent.parent.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(f"{here}\n")
    program = tmp_path / "app.py"
    program.write_text(
        "import millstream\n"
        "from pyspark import SparkContext\n"
        "print(SparkContext().parallelize(range(5), 2).sum(), millstream.__file__)\n"
    )
    done = subprocess.run(
        [inside / "millstream", "run", "--master", "local[2]", program],
        env={"PATH": str(inside)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert done.stdout == f"10 {packages}/millstream/__init__.py\n", done.stderr

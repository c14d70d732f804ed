"""One program in one pod: its image and manifest are well-formed, safe, and true."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.engine.observe.page.test_app import Busy, ask

from millstream.commands.run import command as run
from millstream.engine.base.catalogue import CATALOGUE
from millstream.engine.base.config import Settings

ROOT = Path(__file__).parent.parent.parent
MANIFEST = ROOT / "deploy" / "kubernetes" / "millstream-statefulset.yaml"
CONTAINERFILE = ROOT / "deploy" / "program.Containerfile"
NEEDED = ROOT / "deploy" / "program-requirements.txt"
GUIDE = ROOT / "docs" / "guides" / "containers.md"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """Return what the manifest asks for, by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture(scope="module")
def pod(objects: dict[str, Any]) -> Any:
    """Return the one pod."""
    return objects["StatefulSet"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod: Any) -> Any:
    """Return its one container."""
    (found,) = pod["spec"]["containers"]
    return found


def given(container: Any, program: Path) -> dict[str, Any]:
    """Return what `millstream run` makes of the container's arguments."""
    assert container["command"] == ["millstream", "run"]
    words = container["args"]
    there = [str(program) if each == "/program/app.py" else each for each in words]
    with run.make_context("run", there) as made:
        return dict(made.params)


def settings(container: Any) -> dict[str, str]:
    """Return the settings that the program gets."""
    said = [e for e in container["args"] if e.startswith("--conf=")]
    pairs = [each.removeprefix("--conf=").split("=", 1) for each in said]
    return dict(pairs)


# The manifest.


def test_kubernetes_knows_every_field(objects: dict[str, Any]) -> None:
    """By its own schemas, with no property that it doesn't have."""
    assert set(objects) == {"Secret", "Service", "StatefulSet", "NetworkPolicy"}
    for each in objects.values():
        kubernetes_validate.validate(each, "1.37", strict=True)


def test_a_checkpoint_has_one_writer(objects: dict[str, Any]) -> None:
    """One pod, of a kind that never has two, on a volume that no two can have."""
    spec = objects["StatefulSet"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]

    assert spec["replicas"] == 1
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_labels_find_the_pod(objects: dict[str, Any], pod: Any) -> None:
    """From the service, the set and the policy."""
    labels = pod["metadata"]["labels"]

    assert objects["StatefulSet"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_nothing_runs_as_root_or_writes_to_the_image(pod: Any, container: Any) -> None:
    """Nor can it become root; what it writes is on a volume."""
    security = pod["spec"]["securityContext"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}

    assert security["runAsNonRoot"]
    assert security["runAsUser"] == 1000
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert settings(container)["spark.local.dir"] == mounts["scratch"]
    assert container["env"] == [{"name": "TMPDIR", "value": mounts["scratch"]}]


def test_the_arguments_are_ours(container: Any) -> None:
    """Options that `run` has, settings that work, and what the program takes."""
    program = ROOT / "examples" / "kafka_to_postgres.py"
    found = given(container, program)

    assert found["program"] == str(program)
    assert len(found["args"]) == 4
    for key in settings(container):
        assert key in CATALOGUE, key
    Settings(settings(container))


def test_it_takes_the_cores_that_it_has(container: Any) -> None:
    """Said, though `local[*]` would find them, too."""
    cores = container["resources"]["limits"]["cpu"]

    assert f"--master=local[{cores}]" in container["args"]
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_what_is_kept_in_memory_fits(pod: Any, container: Any) -> None:
    """Blocks, state and shared memory take at most half: the rest is the program's."""
    units = {"m": 1, "Mi": 1, "Gi": 1024}

    def mebibytes(text: str) -> int:
        number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
        return int(number) * units[unit]

    (shared,) = (e for e in pod["spec"]["volumes"] if e["name"] == "shared-memory")
    found = settings(container)
    kept = sum(
        mebibytes(each)
        for each in (
            found["spark.millstream.memory"],
            found["spark.millstream.state.memory"],
            shared["emptyDir"]["sizeLimit"],
        )
    )

    assert shared["emptyDir"]["medium"] == "Memory"
    assert kept <= mebibytes(container["resources"]["limits"]["memory"]) / 2


def test_a_graceful_stop_has_time(pod: Any, container: Any) -> None:
    """Receivers' time, the batches' time, and as much again for the rest."""
    text = settings(container)["spark.streaming.gracefulStopTimeout"]
    limit_s = int(text.removesuffix("s"))

    assert 2 * max(limit_s, 10) + 20 <= pod["spec"]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("probe", PROBES)
def test_probes_ask_what_the_page_answers(container: Any, probe: str) -> None:
    """Where the page is, and often enough that one slow answer does nothing."""
    asked = container[probe]
    (port,) = container["ports"]
    answer = ask(Busy(), asked["httpGet"]["path"])

    assert answer.status_code in {200, 503}
    assert "reasons" in answer.json()
    assert asked["httpGet"]["port"] == port["name"]
    assert asked["failureThreshold"] > 1
    assert settings(container)["spark.ui.port"] == str(port["containerPort"])
    assert settings(container)["spark.millstream.ui.host"] == "0.0.0.0"


def test_prometheus_is_led_to_the_metrics(pod: Any, container: Any) -> None:
    """By the annotations that its usual configuration knows."""
    said = pod["metadata"]["annotations"]

    assert said["prometheus.io/port"] == settings(container)["spark.ui.port"]
    assert ask(Busy(), said["prometheus.io/path"]).status_code == 200


def test_the_password_is_in_the_secret_alone(
    objects: dict[str, Any], container: Any
) -> None:
    """Which holds no real one here."""
    secret = objects["Secret"]

    assert secret["stringData"] == {"PGPASSWORD": "replace-me"}
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert "password" not in " ".join(container["args"]).lower()


# The image.


def test_the_containerfile_is_clean() -> None:
    """As the linter for them has it."""
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("no wheel of it here")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", CONTAINERFILE],
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_made_of_what_is_locked() -> None:
    """Every package with its hash, from files that are here and in the build's context."""
    text = CONTAINERFILE.read_text()
    ignored = CONTAINERFILE.with_name(f"{CONTAINERFILE.name}.dockerignore").read_text()
    installs = re.findall(r"pip install ([^\n\\]*)", text)
    copied = [
        path.rstrip("/")
        for words in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
        for path in words.split()
    ]

    assert len(installs) == 3
    for words in installs:
        assert "--require-hashes -r requirements/" in words or "--no-index" in words
    for path in re.findall(r"-r (\S+)", text):
        assert "--hash=sha256:" in (ROOT / path).read_text()
    for path in copied:
        assert (ROOT / path).exists()
        assert f"\n!{path}\n" in ignored
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["1000:1000"]


def test_its_packages_are_those_that_the_tests_run_on() -> None:
    """Version by version and hash by hash."""
    tested = (ROOT / "requirements" / "dev.txt").read_text()
    blocks = re.split(r"^(?=[a-z])", NEEDED.read_text(), flags=re.MULTILINE)[1:]

    assert {each.split("==")[0] for each in blocks} == {
        "confluent-kafka",
        "psycopg",
        "psycopg-binary",
    }
    for each in blocks:
        assert f"\n{each.rstrip()}\n" in tested


def test_a_signal_reaches_the_program() -> None:
    """No shell stands between: the program is the container's first process."""
    text = CONTAINERFILE.read_text()

    assert re.search(
        r'^CMD \["millstream", "run", "/program/app\.py"\]$', text, re.MULTILINE
    )


# The guide.


def test_the_guide_quotes_the_files() -> None:
    """Line by line: what it shows of the manifest and the container file is in them."""
    guide = GUIDE.read_text("utf-8")
    files = {"yaml": MANIFEST.read_text(), "dockerfile": CONTAINERFILE.read_text()}
    quoted = re.findall(r"```(yaml|dockerfile)\n(.*?)```", guide, re.DOTALL)

    assert {kind for kind, _ in quoted} == set(files)
    for kind, text in quoted:
        for piece in text.split("...\n"):
            assert piece in files[kind], piece

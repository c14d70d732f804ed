"""The wheel: what users install has everything in it, and nothing else."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from this tree."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = directory.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Modules, the demo's text, the shims and the mark of a typed package."""
    expected = {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src" / "millstream").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert held == expected
    assert {"millstream/py.typed", "millstream/demo/declaration.txt"} <= held


@pytest.mark.slow
def test_the_wheel_says_what_it_needs_and_starts_a_command(wheel: Path) -> None:
    """Few libraries, Python 3.11, the license, `millstream` and `millstream-sim`."""
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.split(".dist-info/", 1)[1]: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/" in name
        }
    required = [
        line.removeprefix("Requires-Dist: ")
        for line in texts["METADATA"].splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]

    assert sorted(re.split("[<>=]", each)[0] for each in required) == [
        "click",
        "cloudpickle",
        "jinja2",
        "polars",
        "prometheus-client",
        "starlette",
        "uvicorn",
    ]
    assert "Requires-Python: >=3.11" in texts["METADATA"]
    assert "millstream = millstream.cli:main" in texts["entry_points.txt"]
    assert (
        "millstream-sim = millstream.testing.sim.cli:main" in texts["entry_points.txt"]
    )
    assert "Apache License" in texts["licenses/LICENSE"]

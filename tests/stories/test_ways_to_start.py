"""Stories of how a program is started: what is its own gets to worker processes anyhow."""

import os
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest

# What it uses of its own: a function, a class, a constant and a broadcast value, none of
# which a worker can import.
PROGRAM = """
import os
from millstream import SparkConf, SparkContext

FACTOR = 3

class Point:
    def __init__(self, x):
        self.x = x

def scaled(number):
    return Point(number * FACTOR + offset.value)

conf = SparkConf().setMaster("local[2]").setAppName("started")
sc = SparkContext(conf=conf.set("spark.millstream.processes", "always"))
offset = sc.broadcast(1)
seen = sc.accumulator(0)

def counted(point):
    seen.add(1)
    return point.x, os.getpid()

found = sc.parallelize(range(4), 2).map(scaled).map(counted).collect()
assert os.getpid() not in {pid for _, pid in found}
print("found", sorted(x for x, _ in found), seen.value)
"""
EXPECTED = "found [1, 4, 7, 10] 4"

FAILING = """
def divide(number):
    return 1 // number

sc.parallelize([1, 0], 2).map(divide).collect()
"""


def start(
    *arguments: str, given: str = "", folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run Python with arguments, and with text on its standard input."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=given,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=50,
        check=False,
    )


def lines_of(made: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return what a program that ended well has printed."""
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()


@pytest.mark.slow
def test_a_plain_script(tmp_path: Path) -> None:
    """Without a guard of its main part."""
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")

    assert lines_of(start(str(tmp_path / "program.py"))) == [EXPECTED]


@pytest.mark.slow
def test_a_program_on_the_command_line() -> None:
    """`python -c`: there is no file at all."""
    assert lines_of(start("-c", PROGRAM)) == [EXPECTED]


@pytest.mark.slow
def test_a_program_on_standard_input() -> None:
    """`python - < program.py`: workers leave standard input alone."""
    assert lines_of(start("-", given=PROGRAM)) == [EXPECTED]


@pytest.mark.slow
def test_a_module_that_is_run(tmp_path: Path) -> None:
    """`python -m package.program`: the name of the module isn't __main__'s."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("", "utf-8")
    (tmp_path / "package" / "helper.py").write_text("THREE = 3\n", "utf-8")
    program = PROGRAM.replace(
        "FACTOR = 3", "from package.helper import THREE as FACTOR"
    )
    (tmp_path / "package" / "program.py").write_text(program, "utf-8")

    assert lines_of(start("-m", "package.program", folder=tmp_path)) == [EXPECTED]


@pytest.mark.slow
def test_an_application_in_a_zip_file(tmp_path: Path) -> None:
    """Its other modules are imported by the workers from there, too."""
    (tmp_path / "program").mkdir()
    program = PROGRAM.replace("FACTOR = 3", "from helper import THREE as FACTOR")
    helped = program.replace("number * FACTOR", "helper.times(number)")
    helped = helped.replace("import os\n", "import helper, os\n", 1)
    (tmp_path / "program" / "__main__.py").write_text(helped, "utf-8")
    (tmp_path / "program" / "helper.py").write_text(
        "THREE = 3\n\ndef times(number):\n    return number * THREE\n", "utf-8"
    )
    zipapp.create_archive(tmp_path / "program", tmp_path / "program.pyz")

    assert lines_of(start(str(tmp_path / "program.pyz"))) == [EXPECTED]


@pytest.mark.slow
def test_an_interactive_session() -> None:
    """`python -i`, block by block: a later one sees what an earlier one has defined."""
    blocks = textwrap.dedent(PROGRAM).strip().split("\n\n")
    typed = "\n\n".join(blocks).replace("\nfound =", "\n\nfound =") + "\n"

    made = start("-i", "-q", given=typed)

    assert made.stdout.splitlines() == [EXPECTED], made.stderr


@pytest.mark.slow
def test_millstream_run(tmp_path: Path) -> None:
    """As a script."""
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    made = start("-m", "millstream", "run", str(tmp_path / "program.py"))

    assert EXPECTED in lines_of(made)


@pytest.mark.parametrize("way", ["script", "stdin", "-c"])
@pytest.mark.slow
def test_an_error_in_a_function_of_the_program_names_its_line(
    way: str, tmp_path: Path
) -> None:
    """However it was started, and though it was raised in a worker process."""
    program = PROGRAM + FAILING
    number = program.splitlines().index("    return 1 // number") + 1
    (tmp_path / "program.py").write_text(program, "utf-8")
    match way:
        case "script":
            made = start(str(tmp_path / "program.py"))
        case "stdin":
            made = start("-", given=program)
        case _:
            made = start("-c", program)

    assert made.returncode == 1
    assert "ZeroDivisionError" in made.stderr
    assert f", line {number}, in divide" in made.stderr
    assert "partition 1, record 0" in made.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("is_killed", [False, True], ids=["ends", "is killed"])
@pytest.mark.slow
def test_a_program_that_never_stops_its_context_leaves_no_files(
    is_killed: bool, tmp_path: Path
) -> None:
    """They go when it exits, or with the next program that starts."""
    ending = "os.kill(os.getpid(), 9)\n" if is_killed else ""
    program = f"{PROGRAM}\nsc.parallelize([1], 1).persist().count()\n{ending}"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    made = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    left = list(tmp_path.glob("millstream-*"))
    assert EXPECTED in made.stdout
    assert bool(left) == is_killed
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)

    assert not list(tmp_path.glob("millstream-*"))

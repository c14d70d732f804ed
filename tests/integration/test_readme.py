"""The program that the README shows runs as it stands there."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.pages import left_out

ROOT = Path(__file__).parent.parent.parent


def readme_program() -> str:
    """Return the README's first program."""
    return left_out("README.md", 1, {})


@contextmanager
def line_server(*lines: str) -> Iterator[int]:
    """Send `lines` to the first who connects, then keep the connection; yield the port."""
    done = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            done.wait(30)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        done.set()
        thread.join(5)
        server.close()


def test_the_program_is_short() -> None:
    """Fifteen lines of code at most."""
    code = [line for line in readme_program().splitlines() if line.strip()]

    assert len(code) <= 15


@pytest.mark.slow
def test_the_program_counts_the_words_of_a_socket(tmp_path: Path) -> None:
    """Lines that a server sends appear as counts, under the time of a batch."""
    with line_server("to be or not to be", "to do") as port:
        program = tmp_path / "readme.py"
        program.write_text(readme_program().replace("9999", str(port)), "utf-8")
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", str(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"},
            text=True,
        ) as child:
            assert child.stdout is not None, "its output is a pipe"
            seen: list[str] = []
            for line in child.stdout:
                seen.append(line.strip())
                if line.startswith("('to', 3)"):
                    break
            child.terminate()
            _, errors = child.communicate(timeout=20)

    assert "('to', 3)" in seen
    assert any(line.startswith("Time: ") for line in seen)
    assert "Traceback" not in errors

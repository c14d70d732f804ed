"""The examples, run unchanged as PySpark programs on a real socket and directory."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def port() -> Iterator[int]:
    """Serve two lines over and over on loopback, to each who connects."""
    ended = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def send(connection: socket.socket) -> None:
        with connection:
            while not ended.wait(0.05):
                try:
                    connection.sendall(b"hello world\nhello stream\n")
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=send, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    ended.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def lines_until(words: list[str], name: str, *arguments: str) -> list[str]:
    """Run an example until each of `words` has begun a line; return the lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "millstream", "run", str(EXAMPLES / name), *arguments],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(40, process.kill)
    killer.start()
    assert process.stdout is not None
    lines: list[str] = []
    missing = list(words)
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        missing = [word for word in missing if not line.startswith(word)]
        if not missing:
            break
    process.terminate()
    process.stdout.read()
    process.wait()
    process.stdout.close()
    killer.cancel()

    assert not missing, f"never printed: {missing}"
    return lines


def test_network_wordcount(port: int) -> None:
    """Counts of each batch, under its time."""
    lines = lines_until(["('hello', "], "network_wordcount.py", "127.0.0.1", str(port))

    assert "-" * 43 in lines
    assert any(line.startswith("Time: 20") for line in lines)


def test_network_wordcount_of_a_served_file(tmp_path: Path) -> None:
    """As its docstring says: with line_server.py, which sends a file's lines for ever."""
    text = tmp_path / "some_text.txt"
    text.write_text("to be or\nnot to be\n")
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "line_server.py"), "0", str(text), "40"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().rpartition(":")[2].strip()
        try:
            lines = lines_until(
                [f"('{word}', " for word in ("to", "be", "or", "not")],
                "network_wordcount.py",
                "127.0.0.1",
                port,
            )
        finally:
            server.terminate()

    for batch in "\n".join(lines).split("Time: "):
        found = re.findall(r"^\('(\w+)', (\d+)\)$", batch, re.MULTILINE)
        counts = {word: int(count) for word, count in found}
        if len(counts) == 4:  # Not cut short, nor a line's first.
            assert counts["to"] == counts["be"] == counts["or"] + counts["not"]


def test_sql_words(port: int) -> None:
    """A table a batch, in Spark's form, the most frequent word first."""
    lines = lines_until(
        ["| hello|", "| world|", "|stream|"], "sql_words.py", "127.0.0.1", str(port)
    )

    at = lines.index("|  word|total|")
    assert lines[at - 1] == lines[at + 1] == "+------+-----+"
    assert lines[at + 2].startswith("| hello|")


def test_stateful_wordcount(port: int, tmp_path: Path) -> None:
    """Totals grow, from the initial state on."""
    lines = lines_until(
        ["('stream', ", "('world', "],
        "stateful_wordcount.py",
        "127.0.0.1",
        str(port),
        str(tmp_path),
    )

    assert any(line.startswith("('hello', ") for line in lines)


def test_windowed_wordcount(port: int, tmp_path: Path) -> None:
    """Counts of the window, every two seconds."""
    lines_until(
        ["('hello', "], "windowed_wordcount.py", "127.0.0.1", str(port), str(tmp_path)
    )


def test_reliable_receiver(port: int, tmp_path: Path) -> None:
    """Totals of lines that were logged before they were acknowledged."""
    lines = lines_until(
        ["('hello', "], "reliable_receiver.py", "127.0.0.1", str(port), str(tmp_path)
    )

    assert "-" * 43 in lines
    assert list((tmp_path / "receivedData" / "0").iterdir())


def test_async_receiver(port: int) -> None:
    """Counts of what a coroutine has received."""
    lines_until(["('hello', "], "async_receiver.py", "127.0.0.1", str(port))


def test_directory_wordcount(tmp_path: Path) -> None:
    """A file moved into the directory is counted."""
    made = threading.Event()

    def put() -> None:
        while not made.wait(0.3):
            with tempfile.NamedTemporaryFile(
                "w", dir=tmp_path.parent, delete=False
            ) as file:
                file.write("apple apple\n")
            Path(file.name).rename(tmp_path / Path(file.name).name)

    writer = threading.Thread(target=put, daemon=True)
    writer.start()
    try:
        lines_until(["('apple', "], "directory_wordcount.py", str(tmp_path))
    finally:
        made.set()
        writer.join(5)


def test_queue_stream() -> None:
    """Ends by itself, each number counted."""
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "run", str(EXAMPLES / "queue_stream.py")],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=40,
    )

    assert done.returncode == 0
    assert "(7, 100)" in done.stdout

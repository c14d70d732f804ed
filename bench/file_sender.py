"""Sends a file's lines, over and over, at a steady rate to the first who connects.

file_sender.py FILE BYTES_A_SECOND SECONDS

Prints its port, and, when it has sent all, how many lines and how many seconds that were.
"""

import socket
import sys
import time
from pathlib import Path

_EVERY_S = 0.01


def main(file: str, rate: str, seconds: str) -> None:
    data = Path(file).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    begin = time.monotonic()
    sent = lines = at = 0
    with connection:
        while (passed := time.monotonic() - begin) < float(seconds):
            due = int(passed * float(rate)) - sent
            end = data.find(b"\n", min(at + max(due, 1), len(data) - 1)) + 1
            if due > 0:
                connection.sendall(data[at:end])
                lines += data.count(b"\n", at, end)
                sent += end - at
                at = end % len(data)
            time.sleep(_EVERY_S)
        print(lines, time.monotonic() - begin, flush=True)
        # Keeps the connection until the reader is done: an end would be a reconnect.
        sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])

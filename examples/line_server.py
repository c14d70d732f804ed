"""Sends the lines of a file to whoever connects, a few at a time, for ever.

python examples/line_server.py PORT FILE [LINES_A_SECOND]

FILE is a text; ten of its lines go out a second, or LINES_A_SECOND. It listens on loopback,
and says on which port: with 0 for PORT, on a free one.
"""

import itertools
import socket
import sys
import threading
from pathlib import Path

if __name__ == "__main__":
    port, path = int(sys.argv[1]), Path(sys.argv[2])
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    lines = itertools.cycle(path.read_text(encoding="utf-8").splitlines())
    with socket.create_server(("127.0.0.1", port)) as server:
        print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                try:
                    while True:
                        for line in itertools.islice(lines, max(1, rate // 10)):
                            connection.sendall(f"{line}\n".encode())
                        threading.Event().wait(0.1)
                except OSError:
                    continue

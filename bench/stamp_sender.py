"""Sends 1,000 lines every 10 ms, each with the time of its sending as first word.

stamp_sender.py SECONDS
"""

import socket
import sys
import time

_EVERY_S = 0.01
_REST = [f"the quick brown fox number {number % 100}\n" for number in range(1000)]


def main(seconds: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    begin = time.monotonic()
    sent = 0
    with connection:
        while time.monotonic() < begin + float(seconds):
            stamp = f"@{time.monotonic_ns()} "
            try:
                connection.sendall("".join(stamp + rest for rest in _REST).encode())
            except OSError:
                return  # The reader has seen enough.
            sent += 1
            time.sleep(max(0.0, begin + sent * _EVERY_S - time.monotonic()))
        sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])

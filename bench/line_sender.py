"""Sends 1,000 lines every 10 ms to the first who connects, for a minute at most."""

import socket
import time

LINES = "".join(f"the quick brown fox number {n % 100}\n" for n in range(1000)).encode()
EVERY_S = 0.01
SECONDS_MAX = 60


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    begin = time.monotonic()
    sent = 0
    with connection:
        while time.monotonic() < begin + SECONDS_MAX:
            try:
                connection.sendall(LINES)
            except OSError:
                return
            sent += 1
            time.sleep(max(0.0, begin + sent * EVERY_S - time.monotonic()))


if __name__ == "__main__":
    main()

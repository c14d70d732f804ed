"""Ports for servers that tests start, and start again."""

import random
import socket

_FIRST, _LAST = 20_000, 32_000
"""Below those that systems give to whoever asks for any: nobody takes one meanwhile."""
_draw = random.Random()


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    while True:
        port = _draw.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

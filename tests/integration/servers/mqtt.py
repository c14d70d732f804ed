"""An MQTT broker on loopback: Debian's mosquitto, as a test wants it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.certificates import write_certificate
from tests.integration.servers.ports import free_port
from tests.integration.servers.stalling import stalled

_MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_START_S = 10.0

needs_mosquitto = pytest.mark.skipif(
    _MOSQUITTO is None,
    reason="no mosquitto; `apt-get install -y --no-install-recommends mosquitto`",
)


class Broker:
    """A broker that can be stopped, frozen and started again at the same port."""

    def __init__(self, directory: Path, settings: Iterable[str] = ()) -> None:
        """Listen on a free port; `settings` are lines of the configuration."""
        self.port = free_port()
        self.url = f"tcp://127.0.0.1:{self.port}"
        self._directory = directory
        self._config = directory / "mosquitto.conf"
        lines = [
            "per_listener_settings false",
            "user root" if os.getuid() == 0 else "",
            "max_queued_messages 0",
            "persistence true",
            f"persistence_location {directory}/",
            f"listener {self.port} 127.0.0.1",
            *(settings or ["allow_anonymous true"]),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        assert _MOSQUITTO is not None, "the test is skipped otherwise"
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log
            )
        until_s = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < until_s, self.log
                assert self._process.poll() is None, self.log
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End; sessions are saved."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing meanwhile; its connections stay."""
        assert self._process is not None, "it runs"
        with stalled(self._process.pid):
            yield

    @property
    def log(self) -> str:
        """What it has said."""
        return (self._directory / "mosquitto.log").read_text()

    def publish(
        self,
        messages: Iterable[tuple[str, Any]],
        *,
        qos: int = 1,
        **login: str,
    ) -> None:
        """Publish messages, and wait until the broker has accepted all."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2)
        if login:
            client.username_pw_set(**login)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            for sent in [client.publish(t, p, qos=qos) for t, p in messages]:
                sent.wait_for_publish(10)
                assert sent.is_published(), "the broker didn't take a message"
        finally:
            client.disconnect()
            client.loop_stop()


@contextmanager
def broker(directory: Path, settings: Iterable[str] = ()) -> Iterator[Broker]:
    """Return a broker that runs meanwhile."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Broker(directory, settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def with_password(directory: Path, user: str, password: str) -> list[str]:
    """Return settings by which only a user with a password may connect."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "passwords"
    command = shutil.which("mosquitto_passwd")
    assert command is not None, "it comes with mosquitto"
    subprocess.run([command, "-c", "-b", str(file), user, password], check=True)
    return ["allow_anonymous false", f"password_file {file}"]


def with_tls(directory: Path) -> list[str]:
    """Return settings for TLS; the certificate, of 127.0.0.1, is `own.pem` there."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = write_certificate(directory)
    return [
        "allow_anonymous true",
        f"certfile {certificate}",
        f"keyfile {key}",
    ]

"""Notebooks for tests: a real kernel, and what runs cells in it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

manager = pytest.importorskip("jupyter_client.manager")

SOON_S = 50

Message: TypeAlias = dict[str, Any]
"""What a kernel tells: see the messages of Jupyter's protocol."""


class Notebook:
    """A kernel, and what runs cells in it."""

    def __init__(self, folder: Path) -> None:
        """Start the kernel; its temporary files are in `folder`."""
        self._runner = asyncio.Runner()
        self._kernel = manager.AsyncKernelManager(kernel_name="python3", ip="127.0.0.1")
        self._runner.run(self._start(folder))

    def run(self, code: str) -> str:
        """Run a cell and return what it shows: prints, its value, an error."""
        return self._runner.run(self._shown(code))

    def send(self, code: str) -> str:
        """Let a cell begin, and return its id."""
        return str(self._client.execute(code))

    def next_message(self, is_it: Callable[[Message], bool]) -> Message:
        """Return the next of what cells tell, done or not, that is as asked for.

        Not to be mixed with `run` of the same cell, which reads what it tells itself.

        Raises:
            AssertionError: There is none soon; with all that was told.
        """
        told: list[Message] = []

        async def found() -> Message:
            while True:
                message: Message = await self._client.get_iopub_msg()
                if is_it(message):
                    return message
                told.append(message["content"])

        async def found_soon() -> Message:
            try:
                return await asyncio.wait_for(found(), SOON_S)
            except TimeoutError:
                msg = f"no such message came; but {told}"
                raise AssertionError(msg) from None

        return self._runner.run(found_soon())

    def interrupt_now(self) -> None:
        """Interrupt the cell that runs."""
        self._runner.run(self._kernel.interrupt_kernel())

    def interrupt(self, code: str, is_time: Callable[[], bool]) -> str:
        """Run a cell, interrupt it when it is time, and return what it shows."""

        async def interrupted() -> str:
            cell = asyncio.create_task(self._shown(code))
            while not is_time():
                assert not cell.done(), await cell
                await asyncio.sleep(0.02)
            await self._kernel.interrupt_kernel()
            return await cell

        return self._runner.run(interrupted())

    def restart(self, *, now: bool) -> None:
        """Restart the kernel; `now` kills it."""

        async def restarted() -> None:
            await self._kernel.restart_kernel(now=now)
            await self._client.wait_for_ready(timeout=SOON_S)

        self._runner.run(restarted())

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._runner.run(self._kernel.shutdown_kernel(now=True))
        self._runner.close()

    async def _start(self, folder: Path) -> None:
        await self._kernel.start_kernel(
            env={**os.environ, "TMPDIR": str(folder)}, cwd=str(folder)
        )
        self._client = self._kernel.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=SOON_S)

    async def _shown(self, code: str) -> str:
        shown: list[str] = []

        def show(message: dict[str, Any]) -> None:
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    shown.append(content["text"])
                case "error":
                    shown.append(f"{content['ename']}: {content['evalue']}")
                case "execute_result":
                    shown.append(content["data"]["text/plain"])
                case _:
                    pass

        await self._client.execute_interactive(code, output_hook=show, timeout=SOON_S)
        return "".join(shown)

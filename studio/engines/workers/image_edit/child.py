"""The pipe as a process: started, spoken to in JSON lines, ended; it never outlives the front."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

TAIL_LINES = 20
"""Lines of its log that are kept, to say why it died."""
LINE_BYTES = 2**22
"""Longest event."""
END_S = 0.7
"""Time to leave politely when the front ends; a step on a card takes about as long."""
LAST_WORDS_S = 2.0
"""Time to read what it said before it died."""
LOOK_S, SOON_S = 0.25, 0.02
"""Seconds between two looks whether it lives, in work and when its end is near."""
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class Child:
    """One process of the pipe. What it prints goes on to the run's log; the last lines are kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._torn = ""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Start the pipe; raise OSError when it cannot be started."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            limit=LINE_BYTES,
            start_new_session=True,  # a Ctrl-C meant for the front is the front's to hand on
            preexec_fn=_die_with_parent,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    async def follow(self, see: Callable[[dict[str, Any]], None]) -> int:
        """Hand every event to `see` until it ends; return the exit code, negative for a signal.

        What it started dies with it, so that nobody keeps its memory or its pipes.
        """
        hearing = asyncio.create_task(self._events(see))
        while self._process.returncode is None:  # asyncio's own wait() waits for the pipes as well
            await asyncio.sleep(SOON_S if hearing.done() else 0)
            await asyncio.wait({hearing}, timeout=LOOK_S)
        self.kill()
        await asyncio.wait({hearing, self._listening}, timeout=LAST_WORDS_S)
        hearing.cancel()
        self._listening.cancel()
        return self._process.returncode

    def send(self, command: dict[str, Any]) -> None:
        """Tell it to do something; one that is gone hears nothing, which `follow` notices."""
        assert self._process.stdin is not None
        with suppress(OSError, RuntimeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def end(self) -> None:
        """Let it leave, and kill it and what it started when it does not."""
        self.send({"do": "quit"})
        if self._process.stdin is not None:
            self._process.stdin.close()
        until = time.monotonic() + END_S
        while self._process.returncode is None and time.monotonic() < until:
            await asyncio.sleep(SOON_S)
        self.kill()

    def kill(self) -> None:
        """Kill its whole session, workers of `torch.compile` included."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def forget(self) -> None:
        """Drop the lines kept so far: what comes now belongs to a new job."""
        self._lines.clear()

    def tail(self) -> list[str]:
        """Return the last lines of its log."""
        return [*self._lines, *([self._torn] if self._torn.strip() else [])]

    async def _events(self, see: Callable[[dict[str, Any]], None]) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # longer than LINE_BYTES: no event of ours
                continue
            if not line:
                return
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                self._hear(line)
                continue
            try:
                see(event)
            except Exception:  # a fault of ours: nobody would ever hear the end of the job
                traceback.print_exc()
                self.kill()
                return

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(65536):
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        """Hand what it prints on to the run's log; progress bars overwrite their line."""
        sys.stderr.write(data.decode(errors="replace"))
        sys.stderr.flush()
        *whole, self._torn = (self._torn + data.decode(errors="replace")).split("\n")
        lines = (line.rpartition("\r")[2].rstrip() for line in whole)
        self._lines.extend(line for line in lines if line)


def _die_with_parent() -> None:
    """Ask the kernel, in the child before it becomes the pipe, for SIGKILL when the front dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

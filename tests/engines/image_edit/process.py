"""The front as a process of its own, over the pipe that pretends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from conftest import FAKES, free_port
from engines.image_edit.conftest import SETTINGS


class FrontProcess:
    """A running front: its process, its folder, and short ways to ask it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
        self.process = process
        self.folder = folder
        self.jobs = folder / "artifacts" / "jobs"
        self.port = port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log.txt").read_text(errors="replace")

    def ready(self) -> None:
        """Wait until it serves."""
        self._until(self._is_ready)

    def connection(self) -> socket.socket:
        """Open a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def running_job(self) -> str:
        """Wait for a job in work; return its id."""
        return self._until(lambda: self.http.get("/health").json()["running"])

    def until(self, job: str, state: str) -> dict[str, Any]:
        """Wait until a job is in a state."""

        def look() -> dict[str, Any] | None:
            status = self.http.get(f"/v1/images/jobs/{job}").json()
            return status if status["state"] == state else None

        return self._until(look)

    def pipe(self) -> int:
        """Return the process id of the pipe."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def _until(self, look: Any, timeout_s: float = 20.0) -> Any:
        until = time.monotonic() + timeout_s
        while not (found := look()):
            assert time.monotonic() < until, self.log
            time.sleep(0.02)
        return found


@contextmanager
def front_process(folder: Path, *, load: str = "", **settings: Any) -> Iterator[FrontProcess]:
    """Start a front in a folder, as a run starts it; kill it at the end if it lives."""
    port = free_port(8640)
    config = SETTINGS | {"port": port} | settings
    (folder / "image.json").write_text(json.dumps(config))
    argv = [sys.executable, str(FAKES / "image_front.py"), "--config", "image.json"]
    env = {**os.environ, "FAKE_IMAGE_LOAD": load, "FAKE_IMAGE_RUNGS": "whole,fp8,cpu"}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield FrontProcess(process, folder, port)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)

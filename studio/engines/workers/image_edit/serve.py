"""The front as a program: reads image.json, answers HTTP, keeps the pipe, and ends both together.

    python image_worker.py --host 127.0.0.1 --port 8000 --config image.json

Exit codes: 0 after a signal, 78 when no rung of the ladder fits this machine, 1 when the pipe
cannot be started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from .asked import Defaults
from .desk import MOST_QUEUED, Desk
from .estimates import Estimates
from .figures import Figures
from .keeper import Keeper
from .log import say
from .ordinary import Ordinary
from .routes import KEY_VARIABLE, Front

JOBS = Path("artifacts/jobs")
STOPPED = "The image server was stopped before this picture was finished."
FINISH_S = 1
"""Seconds that answers under way may still take when the server ends."""


def main(arguments: Sequence[str] | None = None, pipe: Sequence[str] = ()) -> int:
    """Serve until a signal or the end of all rungs; return the exit code.

    `pipe` is the command of another pipe than this package's own, without --config and --skip.
    """
    parser = argparse.ArgumentParser(prog="image_worker.py", description="Serve an image editor.")
    parser.add_argument("--host", help="default: what the configuration says")
    parser.add_argument("--port", type=int, help="default: what the configuration says")
    parser.add_argument("--config", type=Path, required=True)
    given = parser.parse_args(arguments)
    settings = json.loads(given.config.read_text(encoding="utf-8"))
    command = pipe or (sys.executable, sys.argv[0], "--pipe")
    host = given.host or settings.get("host") or "127.0.0.1"
    port = given.port or settings.get("port") or 8000
    return asyncio.run(serve(settings, host, port, [*command, "--config", str(given.config)]))


def build(settings: Mapping[str, Any], pipe: Sequence[str], folder: Path = JOBS) -> Front:
    """Return the application of an editor with these settings; nothing is started yet."""
    most = int(settings.get("max_queue", MOST_QUEUED))
    defaults, figures = Defaults.of(settings), Figures()
    if edits_one_picture(str(settings.get("model") or "")):
        defaults = replace(defaults, pictures=1)
    desk = Desk(folder.absolute(), Estimates(Ordinary.of(settings)), max_queue=most)
    env = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    keeper = Keeper(
        pipe,
        desk,
        figures,
        model=defaults.models[0] if defaults.models else "",
        state_dir=str(settings.get("state_dir") or ""),
        env=env,
    )
    return Front(desk, keeper, figures, defaults, key=os.environ.get(KEY_VARIABLE, ""))


def edits_one_picture(model: str) -> bool:
    """Tell whether a model folder's pipeline takes a single picture, as the first release does."""
    try:
        index = json.loads((Path(model) / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.get("_class_name") == "QwenImageEditPipeline"


async def serve(settings: Mapping[str, Any], host: str, port: int, pipe: Sequence[str]) -> int:
    """Answer on a port until a signal comes or the pipe is given up; return the exit code."""
    front = build(settings, pipe)
    config = uvicorn.Config(
        front.app,
        host=host,
        port=port,
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=FINISH_S,
    )
    listening = config.bind_socket()  # before the pipe: a port that is taken costs no loading
    # asyncio leaves it out for such a socket, and every answer would wait 40 ms for an ACK
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(config)
    loop = asyncio.get_running_loop()
    living = asyncio.create_task(front.live())

    def stop() -> None:
        server.should_exit = True
        closing.append(loop.create_task(front.close(STOPPED)))

    closing: list[asyncio.Task[None]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    living.add_done_callback(lambda _: setattr(server, "should_exit", True))
    say(f"serving on http://{host}:{port}")
    await server.serve(sockets=[listening])
    for task in closing:
        await task
    if not living.done():
        await front.close(STOPPED)
    return await living


class _Server(uvicorn.Server):
    """Leaves signals to `serve`, which ends the pipe as well."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

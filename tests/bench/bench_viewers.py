"""Twenty people watch a run with a long log: what it costs the page.

    python tests/bench/bench_viewers.py [--viewers 20] [--seconds 30]

Each viewer asks what an open Runs tab asks: the machine strip and the list every 2 s, the run's
head and its log every second, the log from its own offset. The log holds 100,000 lines and grows
by 20 a second. Prints the page's CPU time as a share of one core; meant to stay below 15 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from studio.core.ids import new_id
from studio.core.settings import Settings
from studio.core.spec import Command, RunSpec
from studio.jobs.jobs import Jobs

PORT = 7983
WRITER = """
import time
for n in range(100_000): print(f"step {n} loss {1 / (n + 1):.6f} and some more words on the line")
while True:
    for n in range(20): print("another line", n, flush=n == 19)
    time.sleep(1)
"""


async def viewer(client: httpx.AsyncClient, run_id: str, until: float, counts: list[int]) -> None:
    """Ask what a browser on the Runs tab asks, until the time is over."""
    offset, tick = -262144, 0
    while time.monotonic() < until:
        asks = [f"run/{run_id}/head", f"run/{run_id}/log?offset={offset}"]
        if tick % 2 == 0:
            asks += ["runs?find=&state=", "machine"]
        for ask in asks:
            answer = await client.get(f"http://127.0.0.1:{PORT}/ladder/{ask}")
            answer.raise_for_status()
            counts[0] += 1
            if "/log" in ask:
                offset = answer.json()["offset"]
        tick += 1
        await asyncio.sleep(1.0)


async def watch(viewers: int, run_id: str, seconds: float) -> int:
    """Let all viewers watch; return how many answers they got."""
    counts, until = [0], time.monotonic() + seconds
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        tasks = []
        for _ in range(viewers):
            tasks.append(asyncio.create_task(viewer(client, run_id, until, counts)))
            await asyncio.sleep(1.0 / viewers)
        await asyncio.gather(*tasks)
    return counts[0]


def main() -> None:
    """Start the page and the run, let them settle, and take the page's CPU time meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        jobs = Jobs(Settings(home=Path(home)))
        command = Command(argv=(sys.executable, "-c", WRITER))
        run = jobs.submit(
            RunSpec(id=new_id(), name="long", engine="bench", command=command, created_at=0.0)
        )
        argv = [sys.executable, "app.py", "--no-browser", "--port", str(PORT)]
        env = {**os.environ, "LADDER_HOME": home}
        server = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, cwd=ROOT)
        try:
            _up()
            asyncio.run(watch(asked.viewers, run.id, 5))
            page = psutil.Process(server.pid)
            before, began = page.cpu_times(), time.monotonic()
            answers = asyncio.run(watch(asked.viewers, run.id, asked.seconds))
            after, wall = page.cpu_times(), time.monotonic() - began
            spent = after.user + after.system - before.user - before.system
        finally:
            server.terminate()
            server.wait(20)
            jobs.stop(run.id, now=True)
            jobs.wait(run.id, timeout_s=30)
    result = {
        "viewers": asked.viewers,
        "answers_per_s": round(answers / wall, 1),
        "cpu_percent_of_one_core": round(100 * spent / wall, 1),
    }
    print(json.dumps(result))


def _up() -> None:
    for _ in range(300):
        try:
            httpx.get(f"http://127.0.0.1:{PORT}/", trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the page did not come up")


if __name__ == "__main__":
    main()

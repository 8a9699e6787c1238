"""Twenty people watch one server at work: what it costs the page, and what the server.

    python tests/bench/bench_live.py [--viewers 20] [--seconds 30]

Each viewer asks what an open live view asks: the view every 2 s, in one language or the other,
and the machine strip. The server tells the figures of a real vLLM page, every counter moving, and
the run has weeks of rows behind it (25 MB). Prints the page's CPU time as a share of one core,
meant to stay below 15 %, its memory, and how often the server was asked for its figures, meant to
be every 2 s whatever the number of viewers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from studio.core.ids import new_id
from studio.core.settings import Settings
from studio.core.spec import Command, EndpointSpec, Probe, RunSpec, Scrape
from studio.jobs import ports
from studio.jobs.jobs import Jobs
from studio.jobs.shim.figures import read

PORT = 7984
PAGE = (ROOT / "tests/jobs/pages/vllm-0.32.txt").read_text()
OLD_BYTES = 25 * 10**6
COUNTED = re.compile(r"^(vllm:\S+_(?:total|bucket)\S* )(\S+)$", re.MULTILINE)
READY_S = 60


class Figures(BaseHTTPRequestHandler):
    """Answers like vLLM; every counter has moved at every look."""

    def do_GET(self) -> None:
        """Answer health, figures, and how often they were asked for."""
        text = "ok"
        if self.path == "/metrics":
            looks[0] += 1
            text = COUNTED.sub(lambda m: f"{m[1]}{float(m[2]) + 10 * looks[0]}", PAGE)
        elif self.path == "/looks":
            text = str(looks[0])
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


looks = [0]


def old_rows(path: Path, num_bytes: int) -> None:
    """Write rows of the past weeks, each with everything, until the file is so long."""
    values, at, written = read(PAGE, ("vllm:",)), time.time() - 30 * 86400, 0
    with open(path, "w") as file:
        while written < num_bytes:
            at += 12
            row = {"at": round(at, 1), "full": True, "values": values}
            written += file.write(json.dumps(row, separators=(",", ":")) + "\n")


async def viewer(
    client: httpx.AsyncClient, number: int, run_id: str, until: float, counts: list[int]
) -> None:
    """Ask what a browser with the live view asks, until the time is over."""
    headers = {"accept-language": "zh" if number % 2 else "en"}
    have = ""
    while time.monotonic() < until:
        for ask in (f"run/{run_id}/served?have={have}", "machine"):
            url = f"http://127.0.0.1:{PORT}/ladder/{ask}"
            answer = await client.get(url, headers=headers)
            answer.raise_for_status()
            counts[0] += 1
            if "/served" in ask:
                have = answer.json()["version"]
                counts[1] += len(answer.content)
        await asyncio.sleep(2.0)


async def watch(viewers: int, run_id: str, seconds: float) -> list[int]:
    """Let all viewers watch; return how many answers and bytes of views they got."""
    counts, until = [0, 0], time.monotonic() + seconds
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        tasks = []
        for number in range(viewers):
            asked = viewer(client, number, run_id, until, counts)
            tasks.append(asyncio.create_task(asked))
            await asyncio.sleep(2.0 / viewers)
        await asyncio.gather(*tasks)
    return counts


def main() -> None:
    """Start server and page, let them settle, and take the page's CPU time meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--figures", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.figures:
        ThreadingHTTPServer(("127.0.0.1", asked.figures), Figures).serve_forever()
    with tempfile.TemporaryDirectory() as home:
        jobs = Jobs(Settings(home=Path(home)))
        port = ports.first_free(18500)
        spec = RunSpec(
            id=new_id(),
            name="busy",
            engine="bench",
            command=Command(argv=(sys.executable, __file__, "--figures", str(port))),
            serves=True,
            port=port,
            probe=Probe(path="/health"),
            scrape=Scrape(prefixes=("vllm:",)),
            endpoint=EndpointSpec(kind="chat", models=("m",)),
            created_at=time.time(),
        )
        run = jobs.submit(spec)
        old_rows(run.dir.folder / "served.jsonl", OLD_BYTES)
        argv = [sys.executable, "app.py", "--no-browser", "--port", str(PORT), "--tab", "serve"]
        server = subprocess.Popen(
            argv, env={**os.environ, "LADDER_HOME": home}, stdout=subprocess.DEVNULL, cwd=ROOT
        )
        try:
            _up(f"http://127.0.0.1:{PORT}/")
            jobs.wait(run.id, lambda r: r.state == "ready", timeout_s=READY_S)
            asyncio.run(watch(asked.viewers, run.id, 5))
            page = psutil.Process(server.pid)
            before, began, looked = page.cpu_times(), time.monotonic(), _looks(port)
            answers, size = asyncio.run(watch(asked.viewers, run.id, asked.seconds))
            after, wall, looked = page.cpu_times(), time.monotonic() - began, _looks(port) - looked
            spent = after.user + after.system - before.user - before.system
            memory = page.memory_info().rss
        finally:
            server.terminate()
            server.wait(20)
            jobs.stop(run.id, now=True)
            jobs.wait(run.id, timeout_s=30)
    result = {
        "viewers": asked.viewers,
        "answers_per_s": round(answers / wall, 1),
        "kib_per_view": round(size / (answers / 2) / 1024, 1),
        "cpu_percent_of_one_core": round(100 * spent / wall, 1),
        "memory_mib": round(memory / 2**20),
        "s_between_looks_at_the_server": round(wall / max(1, looked), 2),
    }
    print(json.dumps(result))


def _looks(port: int) -> int:
    return int(httpx.get(f"http://127.0.0.1:{port}/looks", trust_env=False).text)


def _up(url: str) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        try:
            httpx.get(url, trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the page did not come up")


if __name__ == "__main__":
    main()

"""Chat through the studio's API beside chat with the endpoint itself.

    python tests/bench/bench_chat.py [--rounds 15] [--tokens 1000] [--rate 500]
    python tests/bench/bench_chat.py --endpoint http://127.0.0.1:8000/v1   # a real server

Without an endpoint a local server streams `--rate` tokens a second. The ways take turns, so that
a busy machine disturbs all alike. Meant: at most 30 ms added to the median time to the first
token, at least 0.97 of the speed (text a second after the first piece).

Judged is the studio's `chat` event asked over one kept connection, as a browser does. The line of
gradio_client is for those who script: it looks for news every 50 ms only, whatever the server
does, and opens a connection for every request. On a machine with few cores a real engine may keep
its own front end waiting while it computes: then look at the quartile (p25) beside the median.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from gradio_client import Client

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from studio.chat.client import Delta, Reasoning, Sampling, stream
from studio.chat.external import ExternalEndpoints
from studio.core.settings import Settings
from studio.core.spec import Endpoint
from studio.jobs.jobs import Jobs

MOST_ADDED_S = 0.030
LEAST_SPEED = 0.97
SHORTEST_S = 0.5
"""Answers that end sooner say nothing about speed: the page is updated 25 times a second."""
QUESTION = "Write a long story about a ladder."


class Sample(NamedTuple):
    """How one answer came."""

    ttft_s: float
    """Seconds to its first text."""
    speed: float | None
    """Characters a second after that; None when it was too short to tell."""


class Arrivals:
    """Notes how much text was there when."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first = self.last = (0.0, 0)

    def note(self, length: int) -> None:
        """Take down the length of the text so far."""
        now = (time.perf_counter(), length)
        if length and not self.first[1]:
            self.first = now
        if length > self.last[1]:
            self.last = now

    def sample(self) -> Sample:
        """Return what was measured."""
        (begin, had), (end, has) = self.first, self.last
        long_enough = end - begin >= SHORTEST_S
        return Sample(begin - self.began, (has - had) / (end - begin) if long_enough else None)


def own_client(endpoint: Endpoint, tokens: int) -> Sample:
    """Ask the endpoint with the studio's client: the quickest way there is."""
    seen, length = Arrivals(), 0
    messages = [{"role": "user", "content": QUESTION}]
    sampling = Sampling(max_tokens=tokens, temperature=0, seed=1)
    for event in stream(endpoint, messages, sampling=sampling):
        if isinstance(event, (Delta, Reasoning)):
            length += len(event.text)
            seen.note(length)
    return seen.sample()


def plain_httpx(endpoint: Endpoint, tokens: int) -> Sample:
    """Ask the endpoint as most scripts do."""
    body = {
        "model": endpoint.models[0],
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": tokens,
        "temperature": 0,
        "seed": 1,
        "stream": True,
    }
    seen, length = Arrivals(), 0
    url = f"{endpoint.base_url}/chat/completions"
    with (
        httpx.Client(verify=False, trust_env=False, timeout=600) as client,
        client.stream("POST", url, json=body) as response,
    ):
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                length += len((choices[0]["delta"].get("content") or "") if choices else "")
                seen.note(length)
    return seen.sample()


def through_client(client: Client, endpoint: Endpoint, tokens: int) -> Sample:
    """Ask the studio's `chat` with gradio_client."""
    seen = Arrivals()
    asked = (QUESTION, endpoint.id, "", "", 0, None, tokens, 1)
    job = client.submit(*asked, api_name="/chat")
    known = 0
    while True:
        done = job.done()
        outputs = job.outputs()
        if len(outputs) > known:
            known = len(outputs)
            seen.note(len(outputs[-1]))
        if done:
            job.result()
            return seen.sample()
        time.sleep(0.0005)


def through_page(http: httpx.Client, url: str, endpoint: Endpoint, tokens: int) -> Sample:
    """Ask the studio's `chat` over one kept connection, as a browser does."""
    api = f"{url}/gradio_api"
    number = next(
        d["id"] for d in http.get(f"{url}/config").json()["dependencies"] if d["api_name"] == "chat"
    )
    seen, session, text = Arrivals(), uuid.uuid4().hex[:11], ""
    data = [QUESTION, endpoint.id, "", "", 0, None, tokens, 1]
    asked = {"data": data, "fn_index": number, "session_hash": session}
    http.post(f"{api}/queue/join", json=asked).raise_for_status()
    with http.stream("GET", f"{api}/queue/data", params={"session_hash": session}) as response:
        for line in response.iter_lines():
            if not line.startswith("data:"):
                continue
            message = json.loads(line[5:])
            if message["msg"] == "process_generating":
                text = _patched(text, message["output"]["data"][0])
                seen.note(len(text))
            elif message["msg"] == "process_completed":
                return seen.sample()
    raise SystemExit("the stream ended before the answer did")


def _patched(text: str, change: Any) -> str:
    """Apply what Gradio sends of a text that grows: the whole first, then what is appended."""
    if isinstance(change, str):
        return change
    for kind, _, value in change:
        text = text + value if kind == "append" else value
    return text


@contextmanager
def running(argv: list[str], url: str, **env: str) -> Iterator[None]:
    """Run a server until the block ends; return once it answers."""
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{argv[1]} did not start") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(options: argparse.Namespace, base_url: str) -> dict[str, list[Sample]]:
    """Ask in all ways in turn, as often as wanted, after one round to warm up."""
    with tempfile.TemporaryDirectory() as home:
        jobs = Jobs(Settings(home=Path(home)))
        endpoint = ExternalEndpoints(jobs.store).add(base_url, options.key)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "app.py", "ui", "--tab", "chat", "--port", str(port)]
        with (
            running([*argv, "--home", home, "--no-browser"], url),
            httpx.Client(timeout=600) as http,
        ):
            client = Client(url, ssl_verify=False, verbose=False)
            ways: dict[str, Callable[[], Sample]] = {
                "direct, own client": lambda: own_client(endpoint, options.tokens),
                "direct, httpx": lambda: plain_httpx(endpoint, options.tokens),
                "studio, gradio_client": lambda: through_client(client, endpoint, options.tokens),
                "studio, like a browser": lambda: through_page(http, url, endpoint, options.tokens),
            }
            for ask in ways.values():
                ask()
            samples: dict[str, list[Sample]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, ask in ways.items():
                    samples[name].append(ask())
    return samples


def report(samples: dict[str, list[Sample]]) -> dict[str, Any]:
    """Print a table and the verdict; return the figures."""
    table: dict[str, dict[str, float | None]] = {}
    for name, rows in samples.items():
        speeds = [row.speed for row in rows if row.speed is not None]
        table[name] = {
            "ttft_ms": statistics.median(row.ttft_s for row in rows) * 1000,
            "ttft_p25_ms": statistics.quantiles((row.ttft_s for row in rows), n=4)[0] * 1000,
            "chars_per_s": statistics.median(speeds) if len(speeds) == len(rows) else None,
        }
    direct = [table["direct, own client"], table["direct, httpx"]]
    quickest = min(row["ttft_ms"] or 0 for row in direct)
    fastest = max(row["chars_per_s"] or 0 for row in direct)
    print(f"{'':26}{'TTFT':>10}{'p25':>10}{'added':>10}{'speed':>14}{'ratio':>8}")
    for name, row in table.items():
        row["added_ms"] = (row["ttft_ms"] or 0) - quickest
        line = f"{name:26}{row['ttft_ms']:>7.1f} ms{row['ttft_p25_ms']:>7.1f} ms"
        line += f"{row['added_ms']:>7.1f} ms"
        if row["chars_per_s"] is not None and fastest:
            row["ratio"] = row["chars_per_s"] / fastest
            line += f"{row['chars_per_s']:>8.0f} chr/s{row['ratio']:>8.3f}"
        print(line)
    judged = table["studio, like a browser"]
    slow = (judged.get("ratio") or 1.0) < LEAST_SPEED
    good = (judged["added_ms"] or 0) <= MOST_ADDED_S * 1000 and not slow
    print(f"{'good' if good else 'NOT GOOD'}: at most 30 ms added, at least 0.97 of the speed")
    return {"ways": table, "good": good, "load": os.getloadavg()[0], "cores": os.cpu_count()}


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument(
        "--rate", type=float, default=500.0, help="tokens a second of the local server"
    )
    parser.add_argument("--endpoint", default="", help="measure against this server instead")
    parser.add_argument("--key", default="", help="its API key")
    options = parser.parse_args()
    if options.endpoint:
        found = report(measure(options, options.endpoint))
    else:
        port = free_port()
        server = [sys.executable, "tests/chat/sse_server.py"]
        server += ["--port", str(port), "--rate", str(options.rate)]
        base_url = f"http://127.0.0.1:{port}/v1"
        with running(server, f"{base_url}/models"):
            found = report(measure(options, base_url))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

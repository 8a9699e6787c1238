"""Cold start, resident memory and first page of the studio beside a bare Gradio app.

    python tests/bench/bench_page.py [--rounds 5]

Both are started in turn, the bare one with as many empty tabs. Prints medians and their ratios:
the studio is meant to stay below 1.25x the time, 1.3x the memory and 400 KB of first page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
TABS = len(list((ROOT / "tabs").glob("[a-z]*.py")))

BARE = """
import os; os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import sys, gradio as gr
with gr.Blocks() as demo:
    with gr.Tabs():
        for number in range(int(sys.argv[2])):
            gr.Tab(str(number))
demo.launch(server_port=int(sys.argv[1]), quiet=True, ssr_mode=False, run_history=False)
"""


def measure(argv: list[str], port: int, home: str) -> dict[str, float]:
    """Start a server; return seconds to the first 200, MiB resident and KB of the first page."""
    env = {**os.environ, "LADDER_HOME": home, "PYTHONDONTWRITEBYTECODE": ""}
    began = time.monotonic()
    server = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, cwd=ROOT)
    url = f"http://127.0.0.1:{port}/"
    try:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    page = answer.read()
                break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(f"{argv} ended with {server.returncode}") from None
                time.sleep(0.02)
        seconds = time.monotonic() - began
        time.sleep(1.5)
        with urllib.request.urlopen(url, timeout=5) as answer:
            page = answer.read()
        tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        resident = sum(process.memory_info().rss for process in tree) / 2**20
        return {"seconds": seconds, "mib": resident, "page_kb": len(page) / 1000}
    finally:
        server.terminate()
        server.wait(20)


def main() -> None:
    """Alternate, so that a slow minute of the machine hits both alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        studio = [sys.executable, "app.py", "--no-browser", "--port", "7981"]
        bare = [sys.executable, "-c", BARE, "7982", str(TABS)]
        measure(studio, 7981, home), measure(bare, 7982, home)  # byte code and page cache
        rows = [(measure(studio, 7981, home), measure(bare, 7982, home)) for _ in range(rounds)]
    result = {}
    for key in ("seconds", "mib", "page_kb"):
        ours = statistics.median(row[0][key] for row in rows)
        theirs = statistics.median(row[1][key] for row in rows)
        ratio = statistics.median(row[0][key] / row[1][key] for row in rows)
        result[key] = {"studio": round(ours, 2), "bare": round(theirs, 2), "ratio": round(ratio, 3)}
        print(f"{key:8} studio {ours:8.2f}  bare {theirs:8.2f}  ratio {ratio:.3f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

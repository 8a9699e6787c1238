"""A load test: measure every point of a grid at an OpenAI-compatible server.

    python bench_sweep.py sweep.json

Runs in the environment of the tool that makes the load (`vllm bench serve` or GuideLLM). Results
go to a folder of their own below `bench_dir`; the run's `artifacts/` say which, and how far it is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench.sweep import run

HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0")
LIMITS = ("ttft_ms", "tpot_ms", "e2el_ms")


def main() -> int:
    """Read the settings and let their tool measure."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    _ask_this_machine_directly()
    limits = {name: settings.get(f"slo_{name}") for name in LIMITS}
    settings["slo"] = {name: ms for name, ms in limits.items() if ms is not None}
    pictures = settings["dataset"] == "random-mm"
    settings["chat"] = settings["backend"] == "openai-chat" or pictures
    if settings["backend"] == "auto":
        settings["backend"] = "openai-chat" if pictures else "openai"
    if settings["tool"] == "guidellm":
        from bench.guidellm_run import GuideLlm as Tool
    else:
        from bench.vllm_serve import VllmServe as Tool
    return run(settings, Tool(settings))


def _ask_this_machine_directly() -> None:
    """Keep a proxy, which the environment may name, out of the way of servers on this machine."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), *HERE)))


if __name__ == "__main__":
    sys.exit(main())

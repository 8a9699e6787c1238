"""A sweep that is asked to end while its tool is still being imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.settings import ROOT

WORKERS = ROOT / "studio" / "engines" / "workers"
SLOW = """
import time
print("importing", flush=True)
while True:
    try:
        time.sleep(60)
    except Exception:
        pass  # as careless code under way in an import may do
"""


@pytest.mark.parametrize(
    ("tool", "module", "slow"),
    [
        ("bench.vllm_serve.VllmServe", "vllm", "vllm/benchmarks/serve.py"),
        ("bench.guidellm_run.GuideLlm", "transformers", "transformers/__init__.py"),
    ],
)
def test_it_ends_at_once(tmp_path: Path, tool: str, module: str, slow: str) -> None:
    for name in {module, str(Path(slow).parent)}:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / slow).write_text(SLOW)
    where, _, name = tool.rpartition(".")
    script = (
        f"from {where} import {name}\nfrom bench.server import Server\n"
        f"{name}({{}}).prepare(Server('http://127.0.0.1:1/v1'), 'm', 't')"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{WORKERS}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    try:
        assert worker.stdout.readline() == "importing\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 143
        assert "stopped before the first point" in worker.stdout.read()
    finally:
        worker.kill()
        worker.stdout.close()

"""The front and its pipe as processes: they end together, soon, with honest codes and statuses."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest
from engines.image_edit.conftest import drawn
from engines.image_edit.process import FrontProcess, front_process


def gone(pid: int, timeout_s: float = 5.0) -> bool:
    """Wait for a process to be gone or a zombie of somebody else."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def submit(front: FrontProcess, prompt: str) -> str:
    answer = front.http.post(
        "/v1/images/jobs",
        data={"prompt": prompt, "num_inference_steps": "200"},
        files={"image": ("a.png", drawn())},
    )
    return answer.json()["job"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_within_two_seconds(tmp_path: Path, number: signal.Signals) -> None:
    with front_process(tmp_path) as front:
        front.ready()
        running, waiting = submit(front, "slow"), submit(front, "waits")
        front.until(running, "running")
        pipe = front.pipe()
        began = time.monotonic()
        front.process.send_signal(number)
        assert front.process.wait(5) == 0
        assert time.monotonic() - began < 2
        assert gone(pipe, 0.5)
        for job in (running, waiting):
            told = json.loads((front.jobs / job / "done.json").read_text())
            assert told["state"] == "cancelled"
            assert told["error"]["message"].startswith("The image server was stopped before")
        assert "Traceback" not in front.log


def test_who_waits_for_an_edit_hears_of_the_end(tmp_path: Path) -> None:
    with front_process(tmp_path) as front:
        front.ready()
        wire = front.connection()
        request = httpx.Request(
            "POST",
            "http://front/v1/images/edits",
            data={"prompt": "slow", "num_inference_steps": "200"},
            files={"image": ("a.png", drawn())},
        )
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        head = "\r\n".join(["POST /v1/images/edits HTTP/1.1", *lines, "", ""]).encode()
        wire.sendall(head + request.read())
        front.running_job()
        front.process.terminate()
        answer = b""
        while piece := wire.recv(65536):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 503") and b"was stopped" in answer
        assert front.process.wait(5) == 0


def test_the_pipe_dies_with_a_front_that_is_killed(tmp_path: Path) -> None:
    with front_process(tmp_path, load="hang") as front:
        until = time.monotonic() + 20
        while "rung whole" not in front.log:
            assert time.monotonic() < until
            time.sleep(0.02)
        pipe = front.pipe()
        os.kill(front.process.pid, signal.SIGKILL)
        front.process.wait(5)
        assert gone(pipe)


def test_no_rung_ends_the_run_with_its_code_and_a_sentence(tmp_path: Path) -> None:
    with front_process(tmp_path, load="oom:whole,fp8,cpu") as front:
        assert front.process.wait(20) == 78
        log = front.log
        assert "fell from whole to fp8: out of memory while loading" in log
        assert log.rstrip().endswith("No rung fits this machine.")


def test_a_taken_port_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    with front_process(tmp_path / "first") as front:
        front.ready()
        with front_process(tmp_path / "second", port=front.port) as other:
            assert other.process.wait(10) != 0
            assert "already in use" in other.log and "rung" not in other.log

"""GuideLLM, one `guidellm run` for every point; its requests become figures of our definitions.

What GuideLLM calls TPOT contains the first token, and its ITL is a mean for each request. So the
figures of a point are worked out from the times of its single requests, as vLLM's are: first token
minus sending, last token minus sending, and TPOT without the first token. The single gaps between
tokens are not in its report, so there is no ITL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

from .figures import Request, keeps
from .grid import Load
from .machine import package
from .server import Server, Unfit
from .sweep import Failed, Measured, Stopped, leave
from .watch import Watch

GRACE_S = 8.0
CLI = Path(__file__).parent.parent / "guidellm_cli.py"
MOST_WARMUPS = 8


class GuideLlm:
    """GuideLLM in processes of its own, which it starts anew for every load."""

    id = "guidellm"

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self.version = package("guidellm")
        self.stopping = False
        self.generator = None  # it sends from several processes
        self._loading = True
        self._child: subprocess.Popen[str] | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def prepare(self, server: Server, model: str, tokenizer: str) -> None:
        """Note whom to ask, and see that the tokenizer is there; raise Unfit."""
        self._server, self._model, self._tokenizer = server, model, tokenizer
        if server.api != "/v1":
            raise Unfit(f"GuideLLM asks below /v1, and {server.base_url} is another path")
        from transformers import AutoTokenizer  # in GuideLLM's environment alone

        try:
            AutoTokenizer.from_pretrained(tokenizer)
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            raise Unfit(f"there is no tokenizer {tokenizer}: {told}") from error
        self._loading = False

    def warm_up(self, load: Load, num_prompts: int) -> None:
        """Send a few short requests, one after the other, and count nothing."""
        for number in range(min(num_prompts, MOST_WARMUPS)):
            said: dict[str, Any] = {"prompt": f"{load.seed} {number}"}
            if self._settings["chat"]:
                said = {"messages": [{"role": "user", "content": said["prompt"]}]}
            body = {"model": self._model, "max_tokens": 8, **said}
            self._server.ask(self._server.path(self._settings["chat"]), body, wait_s=60)
            if self.stopping:
                raise Stopped

    def measure(self, load: Load, raw: Path, watch: Watch) -> Measured:
        """Measure a point; raise Failed when GuideLLM gives up, Stopped when asked to end."""
        argv = self.argv(load, raw)
        raw.unlink(missing_ok=True)
        watch.begin()
        try:
            code, last = self._call(argv)
        finally:
            watch.end()
        if self.stopping:
            raise Stopped
        if code or not raw.is_file():
            raise Failed(f"guidellm ended with code {code}: {last}")
        report = json.loads(raw.read_text(encoding="utf-8"))
        told = report["benchmarks"][0]
        return Measured(
            figures_of(told, self._settings["slo"]),
            ("guidellm", *argv),
            first_error(told),
            (float(told["start_time"]), float(told["end_time"])),
        )

    def argv(self, load: Load, raw: Path) -> list[str]:
        """Return the arguments of `guidellm` for a load; the key is in none of them."""
        told = self._settings
        path = "/v1/chat/completions" if told["chat"] else "/v1/completions"
        backend = {
            "kind": "openai_http",
            "target": self._server.root,
            "model": self._model,
            "request_format": path,
            "validate_backend": "false",
        }
        if load.input_len is None:
            data = {"kind": "json_file", "path": told["dataset_path"]}
        else:
            data = {"kind": "synthetic_text", "prompt_tokens": load.input_len}
        if told["ignore_eos"] and load.input_len is not None:
            data["output_tokens"] = load.output_len
        elif load.output_len:
            backend["max_tokens"] = load.output_len
        profile: dict[str, Any] = {"kind": "concurrent", "streams": load.concurrency}
        if load.request_rate is not None:
            profile = {"kind": told["arrivals"], "rate": f"{load.request_rate:g}"}
        groups: list[tuple[str, Mapping[str, Any]]] = [
            ("backend", backend),
            ("profile", profile),
            ("constraint", {"kind": "max_requests", "count": load.num_prompts}),
            ("tokenizer", {"kind": "hf_auto", "model": self._tokenizer}),
            ("data", data),
            ("seed", {"kind": "static", "value": load.seed}),
            ("output", {"kind": "json", "path": raw}),
        ]
        words = ["run"]
        for name, values in groups:
            words += [f"--{name}", ",".join(f"{key}={value}" for key, value in values.items())]
        return [*words, "--disable-progress", *told["extra_args"]]

    def _call(self, argv: Sequence[str]) -> tuple[int, str]:
        """Run GuideLLM to its end; return its exit code and the last line it said."""
        workers = str(max(1, min(10, len(os.sched_getaffinity(0)) - 1)))
        env = {"GUIDELLM__MAX_WORKER_PROCESSES": workers, **os.environ}
        self._child = subprocess.Popen(
            [sys.executable, str(CLI), *argv],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        last = ""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
        return self._child.wait(), last[:400]

    def _stop(self, *_: object) -> None:
        """End the load under way."""
        if self._loading:
            leave()
        self.stopping = True
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()


def figures_of(told: Mapping[str, Any], slo: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a point from one benchmark of GuideLLM's report."""
    answered = list(requests(told))
    failed = sum(len(told["requests"].get(kind) or ()) for kind in ("errored", "incomplete"))
    seconds = float(told["duration"])
    found: dict[str, float] = {"completed": len(answered), "failed": failed, "duration_s": seconds}
    if not answered or seconds <= 0:
        return found
    outputs = sum(r.output_len for r in answered)
    inputs = sum(
        (row.get("input_metrics") or {}).get("text_tokens") or 0
        for row in told["requests"]["successful"]
    )
    found |= {"input_tokens": inputs, "output_tokens": outputs}
    found["output_throughput"] = outputs / seconds
    found["total_throughput"] = (inputs + outputs) / seconds
    found["request_throughput"] = len(answered) / seconds
    paces = [r.tpot for r in answered if r.tpot]
    found |= _statistics("ttft", [r.ttft for r in answered])
    found |= _statistics("e2el", [r.latency for r in answered])
    found |= _statistics("tpot", paces)
    if paces:
        found["tokens_per_s_user"] = median(1 / pace for pace in paces)
    if slo:
        good = sum(keeps(r, slo) for r in answered)
        found["goodput"] = good / seconds
        found["goodput_share"] = good / (len(answered) + failed)
    return found


def requests(told: Mapping[str, Any]) -> Iterator[Request]:
    """Yield the requests that were answered, with times in seconds."""
    for row in told["requests"].get("successful") or ():
        at = row["info"]["timings"]
        sent, first = at["request_start"], at["first_token_iteration"]
        last = at["last_token_iteration"]
        tokens = (row.get("output_metrics") or {}).get("text_tokens") or at["token_iterations"]
        if None not in (sent, first, last):
            yield Request(first - sent, last - sent, int(tokens))


def first_error(told: Mapping[str, Any]) -> str:
    """Return what the first failed request said; empty when none failed."""
    for row in told["requests"].get("errored") or ():
        text = str((row.get("info") or {}).get("error") or "")
        if text:
            return " ".join(text.split())[:400]
    return ""


def _statistics(name: str, seconds: Iterable[float]) -> dict[str, float]:
    ms = sorted(value * 1000 for value in seconds)
    if not ms:
        return {}
    return {
        f"{name}_mean_ms": fmean(ms),
        f"{name}_median_ms": median(ms),
        f"{name}_p90_ms": _percentile(ms, 90),
        f"{name}_p99_ms": _percentile(ms, 99),
        f"{name}_std_ms": pstdev(ms),
    }


def _percentile(ordered: Sequence[float], q: float) -> float:
    """Return a percentile, linear between neighbours as numpy's."""
    place = (len(ordered) - 1) * q / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

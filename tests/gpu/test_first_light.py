"""On real cards: what is seen, leased, measured and given back. Run with `pytest -m gpu -s`.

Engines live where LADDER_TEST_ENVS says: `vllm=/usr/bin/python3:/root/site-vllm,...`. Weights are
random ones of the true shape (`--load-format dummy`), so nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import spec
from e2e.conftest import answer, endpoint_of, ready, stopped

from studio.core.settings import ROOT, Settings
from studio.core.spec import Command, Resources, State
from studio.jobs.jobs import Jobs, Run
from studio.jobs.shim import procs
from studio.jobs.shim.cards import read_cards, read_holders
from studio.studio import Studio

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]

HOLD = """
import sys, time, torch
x = torch.empty(int(float(sys.argv[1]) * 2**30), dtype=torch.uint8, device="cuda")
torch.cuda.synchronize(); print("up", torch.cuda.device_count(), flush=True); time.sleep(600)
"""

QWEN_7B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 2,
}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(Settings(home=tmp_path / "home"))
    for item in filter(None, os.environ.get("LADDER_TEST_ENVS", "").split(",")):
        name, _, where = item.partition("=")
        python, *paths = where.split(":")
        made.envs.adopt(name, Path(python), tuple(map(Path, paths)))
    yield made
    for run in made.jobs.list():
        if run.state.alive:
            made.jobs.stop(run.id, now=True)
            made.jobs.wait(run.id, timeout_s=60)
        assert procs.marked(run.id) == []


def hold(jobs: Jobs, gib: float, count: int, *pinned: int) -> Run:
    asked = spec("hold", resources=Resources(num_gpus=count, gpu_ids=pinned or None))
    command = Command(argv=(sys.executable, "-c", HOLD, str(gib)))
    return jobs.submit(asked.model_copy(update={"command": command}))


def up(jobs: Jobs, run: Run) -> Run:
    until = time.monotonic() + 120
    while "up" not in (run.dir.log.read_text() if run.dir.log.exists() else ""):
        assert time.monotonic() < until, run.dir.log.read_text()
        time.sleep(0.1)
    return jobs.get(run.id)


def used_mib() -> list[int]:
    return [card.used // 2**20 for card in read_cards()]


def test_cards_leases_peaks_and_memory_back(studio: Studio) -> None:
    jobs, before = studio.jobs, used_mib()
    count = len(before)
    assert count >= 2
    runs = [up(jobs, hold(jobs, 4, 1)) for _ in range(count)]
    assert sorted(run.cards[0] for run in runs) == list(range(count))
    waiting = hold(jobs, 2, 1)
    time.sleep(3)
    assert jobs.get(waiting.id).state is State.QUEUED
    print("\nqueued:", jobs.get(waiting.id).reason)
    print("holders:", read_holders(read_cards()))
    time.sleep(2)
    began = time.monotonic()
    ended = stopped(studio, runs[0])
    print(f"stop to gone and memory back: {time.monotonic() - began:.2f} s", ended.result)
    peak = ended.result["peak_gpu_bytes"][str(ended.cards[0])]
    assert 4 * 2**30 < peak < 5.5 * 2**30, peak
    assert ended.result["gpu_memory_held"] == []
    assert up(jobs, waiting).cards == ended.cards, "the next in line got that card"
    for run in [*runs[1:], waiting]:
        stopped(studio, run)
    assert all(abs(a - b) < 512 for a, b in zip(before, used_mib(), strict=True))


def test_strangers_card_is_left_alone(studio: Studio) -> None:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"}
    stranger = subprocess.Popen(
        [sys.executable, "-c", HOLD, "3"], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert stranger.stdout.readline().startswith("up")
        assert up(studio.jobs, hold(studio.jobs, 1, 1)).cards == [1]
        pinned = hold(studio.jobs, 1, 1, 0)
        time.sleep(4)
        assert "used by somebody else" in studio.jobs.get(pinned.id).reason
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()
        assert up(studio.jobs, pinned).cards == [0]
    finally:
        stranger.kill()


@pytest.mark.parametrize("cards", [1, 2])
def test_vllm_at_true_shape(studio: Studio, tmp_path: Path, cards: int) -> None:
    """Qwen2.5-7B's shape with random weights: ready, streamed, measured, stopped, memory back."""
    before = used_mib()
    model = _model(tmp_path)
    began = time.monotonic()
    run = ready(studio, studio.launch_recipe("vllm/smoke", _settings(model, cards)))
    to_ready = time.monotonic() - began
    endpoint = endpoint_of(studio, run)
    answers = [answer(endpoint, "Tell me about ladders.", max_tokens=128) for _ in range(4)][1:]
    # Random weights pick ids the small tokenizer has no text for, so count the server's tokens.
    rate = statistics.median(done.tokens / done.total_s for _, _, done in answers)
    inside = used_mib()
    began = time.monotonic()
    ended = stopped(studio, run)
    to_stop = time.monotonic() - began
    peak = {k: round(v / 2**30, 1) for k, v in ended.result["peak_gpu_bytes"].items()}
    row = {
        "cards": ended.cards,
        "launch_to_ready_s": round(to_ready, 1),
        "tokens_per_s": round(rate, 1),
        "used_mib": inside,
        "peak_gib": peak,
        "peak_host_gib": round(ended.result["peak_host_bytes"] / 2**30, 1),
        "stop_to_memory_back_s": round(to_stop, 1),
        "used_mib_after": used_mib(),
        "survivors": ended.result["survivors"],
    }
    print("\nROW", json.dumps(row))
    assert len(ended.cards) == cards
    assert ended.result["gpu_memory_held"] == []
    assert all(abs(a - b) < 512 for a, b in zip(before, used_mib(), strict=True))


def test_killed_supervisor_frees_the_cards(studio: Studio, tmp_path: Path) -> None:
    before = used_mib()
    run = ready(studio, studio.launch_recipe("vllm/smoke", _settings(_model(tmp_path), 2)))
    assert min(used_mib()) > 10_000
    os.kill(run.dir.supervisor().pid, signal.SIGKILL)
    began = time.monotonic()
    while run.dir.supervisor().alive:
        time.sleep(0.05)
    assert studio.jobs.get(run.id).state is State.LOST
    assert procs.marked(run.id) == []
    while any(abs(a - b) > 512 for a, b in zip(before, used_mib(), strict=True)):
        assert time.monotonic() - began < 30, used_mib()
        time.sleep(0.2)
    print(f"\nkill -9 of the supervisor to memory back: {time.monotonic() - began:.1f} s")


def _settings(model: Path, cards: int) -> dict[str, Any]:
    return {
        "model": str(model),
        "served_model_name": "qwen2.5-7b-shape",
        "dtype": "bfloat16",
        "tensor_parallel_size": cards,
        "max_model_len": 4096,
        "max_num_seqs": 32,
        "kv_cache_memory_bytes": None,
        "gpu_memory_utilization": 0.5,
        "enforce_eager": True,
        "extra_args": ["--load-format", "dummy"],
    }


def _model(folder: Path) -> Path:
    """Make a model folder of the true shape; the tokenizer is the tiny model's."""
    model = folder / "qwen2.5-7b-shape"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ROOT / "assets/models/tiny-qwen2.5" / name, model / name)
    (model / "config.json").write_text(json.dumps(QWEN_7B))
    return model

"""Run folders as trainings leave them, written by hand: any length, any state, no engine."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

from studio.core.ids import new_id
from studio.core.spec import Command, RunSpec
from studio.jobs.jobs import Run
from studio.jobs.rundir import RunDir
from studio.jobs.shim import procs
from studio.studio import Studio

TINY = "assets/models/tiny-qwen2.5"


def training(
    studio: Studio,
    *,
    name: str = "first",
    steps: int = 60,
    of: int | None = None,
    outcome: str = "done",
    eval_every: int = 0,
    save_every: int = 0,
    ranks: int = 1,
    seen: int | None = None,
    cards: tuple[int, ...] = (),
    noise: float = 0.1,
    **config: Any,
) -> Run:
    """Write a training with `steps` logged steps; an empty `outcome` leaves it at work."""
    settings = {"model_name_or_path": TINY, "dataset": "smoke_new_facts", "template": "qwen"}
    engine = config.pop("engine", "llamafactory-train")
    _, checked = studio.validate(engine, {**settings, "use_cpu": not cards, **config})
    spec = RunSpec(
        id=new_id(),
        name=name,
        engine=engine,
        config=checked.model_dump(mode="json"),
        command=Command(argv=("true",)),
        created_at=time.time() - steps,
        ranks=ranks,
    )
    folder = RunDir(studio.settings.runs_dir / spec.id)
    folder.create(spec)
    studio.jobs._index(spec, wait=False)
    _announce(folder, cards)
    rows = write_steps(folder, 1, steps, of or steps, eval_every=eval_every, noise=noise)
    _samples(folder, steps, cards, ranks if seen is None else seen)
    for step in range(save_every, steps + 1, save_every) if save_every else ():
        checkpoint(folder, step, rows)
    if outcome:
        if outcome == "done":
            adapter(folder.artifacts / "output")
            told = {"train_loss": 0.42, "train_runtime": 61.5, "epoch": 3.0}
            (folder.artifacts / "output/all_results.json").write_text(json.dumps(told))
        end(folder, outcome, cards)
    return studio.jobs.get(spec.id)


def write_steps(
    run: RunDir, first: int, last: int, of: int, *, eval_every: int = 0, noise: float = 0.1
) -> list[dict[str, Any]]:
    """Append steps to the trainer's log, and to the printed one, as LLaMA-Factory does."""
    output = run.artifacts / "output"
    output.mkdir(parents=True, exist_ok=True)
    chance, rows, printed = random.Random(first), [], []
    for step in range(first, last + 1):
        loss = 0.2 + 4 * math.exp(-4 * step / max(of, 1)) + noise * chance.random()
        rate = 1e-4 * (1 - step / max(of, 1))
        row = {
            "current_steps": step,
            "total_steps": of,
            "loss": round(loss, 5),
            "lr": rate,
            "epoch": round(3 * step / of, 3),
            "percentage": round(100 * step / of, 2),
            "elapsed_time": _clock(step),
            "remaining_time": _clock(of - step),
            "throughput": round(900 + 40 * chance.random(), 2),
            "total_tokens": 900 * step,
        }
        rows.append(row)
        printed.append(f"{{'loss': '{loss:.4g}', 'grad_norm': '{loss / 2:.4g}'}}")
        if eval_every and step % eval_every == 0:
            worse = 0.3 * (step / of) ** 4
            told = {"eval_loss": round(loss + worse, 5)}
            rows.append({"current_steps": step, "total_steps": of, **told})
    with open(output / "trainer_log.jsonl", "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with open(run.log, "a") as file:
        file.writelines(line + "\n" for line in printed)
    return rows


def checkpoint(run: RunDir, step: int, rows: list[dict[str, Any]], *, states: bool = True) -> Path:
    """Write a LoRA checkpoint with the optimizer's states."""
    folder = run.artifacts / f"output/checkpoint-{step}"
    adapter(folder)
    told = [
        {"step": row["current_steps"], **{k: row[k] for k in ("loss", "eval_loss") if k in row}}
        for row in rows
        if row["current_steps"] <= step
    ]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": told}))
    if states:
        (folder / "optimizer.pt").write_bytes(b"\0" * 2048)
    return folder


def adapter(folder: Path) -> Path:
    """Write what a LoRA training saves, as far as it is looked at here."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"base_model_name_or_path": TINY, "r": 8, "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    (folder / "adapter_model.safetensors").write_bytes(b"\0" * 4096)
    return folder


def end(run: RunDir, outcome: str, cards: tuple[int, ...] = ()) -> None:
    """Say how a run ended."""
    now = time.time()
    told = {
        "outcome": outcome,
        "reason": "" if outcome != "failed" else "exit code 1",
        "exit_code": 1 if outcome == "failed" else 0,
        "signal": "",
        "started_at": now - 60,
        "ended_at": now,
        "cards": list(cards),
        "peak_host_bytes": 700 * 2**20,
        "peak_gpu_bytes": {},
        "survivors": [],
    }
    (run.folder / "result.json").write_text(json.dumps(told))


def _announce(run: RunDir, cards: tuple[int, ...]) -> None:
    """Let this process be its supervisor, so that it counts as alive."""
    me = procs.stat(os.getpid())
    assert me is not None
    who = {"pid": me.pid, "start": me.start, "boot": procs.boot_id()}
    (run.folder / "pid.json").write_text(json.dumps(who))
    event = {"at": time.time() - 60, "phase": "running", "cards": list(cards)}
    (run.folder / "events.jsonl").write_text(json.dumps(event) + "\n")


def _samples(run: RunDir, steps: int, cards: tuple[int, ...], ranks: int) -> None:
    now = time.time()
    with open(run.folder / "metrics.jsonl", "w") as file:
        for second in range(min(steps, 300)):
            row: dict[str, Any] = {"at": now - 300 + second, "host_bytes": 7e8 + 1e6 * second}
            row |= {"processes": ranks + 1, "ranks": ranks}
            if cards:
                row["gpu_bytes"] = {str(card): int(20e9 + 1e7 * second) for card in cards}
                row["gpu_load"] = {str(card): 90 + second % 10 for card in cards}
            file.write(json.dumps(row) + "\n")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

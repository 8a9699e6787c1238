"""Training on real cards: plan against measured, the studio against the hand. Run by hand:

    LADDER_TEST_ENVS="llamafactory=/usr/bin/python3:/root/site-llamafactory" \
        python3 tests/gpu/train_points.py OUT [STEP ...]

Weights are random ones of the true shapes, made on the card. The studio's run and the same command
started by hand run side by side on disjoint cards and change sides every round. Speed is taken
between two rows of the trainer's own log, after the warm-up, by the clock of this script, the same
way for both. Everything started is stopped; rows go to OUT/train.json.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parent)]

from train_cases import LARGE, LORA, SHAPES, WAVES, Case  # noqa: E402
from train_watch import ByHand, Memory, Steps  # noqa: E402

from studio.core.settings import ROOT, Settings  # noqa: E402
from studio.core.spec import State  # noqa: E402
from studio.jobs.jobs import Run  # noqa: E402
from studio.jobs.shim import procs  # noqa: E402
from studio.jobs.shim.cards import read_cards  # noqa: E402
from studio.studio import Launch, Studio  # noqa: E402

MODELS, DATA = Path("/tmp/models"), Path("/tmp/points-data")
CUTOFF, SAMPLES, EVERY = 1024, 1600, 5

MAKE = """
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
config = AutoConfig.from_pretrained(sys.argv[1])
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = AutoModelForCausalLM.from_config(config)
model.save_pretrained(sys.argv[1])
print(sum(p.numel() for p in model.parameters()))
"""


class Session:
    """One sitting on the machine."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.studio = Studio(Settings(home=Path("/tmp/ladder-home")))
        for item in filter(None, os.environ.get("LADDER_TEST_ENVS", "").split(",")):
            name, _, where = item.partition("=")
            python, *paths = where.split(":")
            self.studio.envs.adopt(name, Path(python), tuple(map(Path, paths)))
            self.python, self.paths = python, paths
        kept = out / "train.json"
        self.rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []

    def model(self, name: str) -> Path:
        """Make a model of the true shape with random weights once; the tokenizer is a tiny one."""
        made = MODELS / name
        if (made / "model.safetensors").exists() or (
            made / "model.safetensors.index.json"
        ).exists():
            return made
        made.mkdir(parents=True, exist_ok=True)
        tiny = ROOT / "assets/models/tiny-qwen2.5"
        for file in ("tokenizer.json", "chat_template.jinja"):
            shutil.copy(tiny / file, made / file)
        tokenizer = json.loads((tiny / "tokenizer_config.json").read_text())
        tokenizer["model_max_length"] = 32768
        (made / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        config = {
            **SHAPES[name],
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "hidden_act": "silu",
            "torch_dtype": "bfloat16",
            "bos_token_id": 0,
            "eos_token_id": 2,
        }
        (made / "config.json").write_text(json.dumps(config))
        env = {**os.environ, "PYTHONPATH": ":".join(self.paths)}
        done = subprocess.run(
            [self.python, "-c", MAKE, str(made)], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        print("MODEL", name, done.stdout.strip(), "parameters", flush=True)
        return made

    def ask(self, case: Case, cards: Sequence[int]) -> Launch:
        """Return one case as a launch on some cards."""
        settings = {
            "model_name_or_path": str(self.model(case.model)),
            "stage": "sft",
            "template": "qwen",
            "dataset": "filled",
            "dataset_dir": str(data()),
            "cutoff_len": CUTOFF,
            "max_steps": case.steps,
            "logging_steps": EVERY,
            "bf16": True,
            "seed": 1,
            **case.settings,
        }
        return Launch(
            engine="llamafactory-train", settings=settings, name=case.label, cards=list(cards)
        )

    def wave(self, name: str, number: int) -> None:
        """Measure the cases of a wave, each by the studio and by hand.

        Side by side where there are cards for both, and they change sides every round; else one
        after the other on the same cards, and the order changes every round.
        """
        for case in WAVES[name]:
            began, free = time.monotonic(), list(range(len(read_cards())))
            if len(free) >= 2 * case.cards:
                if number % 2:
                    free.reverse()
                mine, theirs = sorted(free[: case.cards]), sorted(free[case.cards : 2 * case.cards])
                memory = Memory()
                run, steps = self.begin(case, mine)
                hand, other = self.begin_by_hand(case, theirs)
                self.end(case, name, number, run, mine, steps, memory)
                self.end_by_hand(case, name, number, hand, theirs, other, memory)
                memory.over.set()
            else:
                cards = free[: case.cards]
                for by_hand in (False, True) if number % 2 == 0 else (True, False):
                    memory = Memory()
                    if by_hand:
                        hand, other = self.begin_by_hand(case, cards)
                        self.end_by_hand(case, name, number, hand, cards, other, memory)
                    else:
                        run, steps = self.begin(case, cards)
                        self.end(case, name, number, run, cards, steps, memory)
                    memory.over.set()
                    time.sleep(2)
            took = time.monotonic() - began
            print(f"CASE {case.label} round {number}: {took:.0f} s", flush=True)

    def begin(self, case: Case, cards: Sequence[int]) -> tuple[Run, Steps]:
        """Launch a case with the studio."""
        run = self.studio.launch(self.ask(case, cards))
        steps = Steps(run.dir.artifacts / "output" / "trainer_log.jsonl")
        steps.start()
        return run, steps

    def begin_by_hand(self, case: Case, cards: Sequence[int]) -> tuple[ByHand, Steps]:
        """Start the command of a case without the studio."""
        spec = self.studio.preview(self.ask(case, cards))
        hand = ByHand(spec, Path("/tmp/hand") / spec.id, cards)
        steps = Steps(hand.folder / "artifacts" / "output" / "trainer_log.jsonl")
        steps.start()
        return hand, steps

    def end(
        self,
        case: Case,
        wave: str,
        number: int,
        run: Run,
        cards: Sequence[int],
        steps: Steps,
        memory: Memory,
    ) -> None:
        """Wait for the studio's run and note it."""
        ended = self.studio.jobs.wait(run.id, timeout_s=400)
        batch = case.settings["per_device_train_batch_size"] * case.cards
        self.note(case, wave, number, ended, cards, memory, steps.rate(batch))

    def end_by_hand(
        self,
        case: Case,
        wave: str,
        number: int,
        hand: ByHand,
        cards: Sequence[int],
        steps: Steps,
        memory: Memory,
    ) -> None:
        """Wait for the run by hand and note it."""
        code = hand.wait(400)
        row = {
            "what": case.label,
            "wave": wave,
            "round": number,
            "by": "hand",
            "cards": list(cards),
            "exit_code": code,
            "peak_mib": memory.mib(cards),
            **steps.rate(case.settings["per_device_train_batch_size"] * case.cards),
        }
        self.rows.append(row)
        print("HAND", json.dumps(row), flush=True)
        if code:
            print((hand.folder / "log.txt").read_text()[-1500:], flush=True)
        shutil.rmtree(hand.folder, ignore_errors=True)

    def note(
        self,
        case: Case,
        wave: str,
        number: int,
        run: Run,
        cards: Sequence[int],
        memory: Memory,
        rate: dict[str, Any],
    ) -> None:
        """Write down what the studio's run showed, with the plan it was launched with."""
        result = run.result or {}
        row = {
            "what": case.label,
            "wave": wave,
            "round": number,
            "by": "studio",
            "cards": list(cards),
            "state": str(run.state),
            "exit_code": result.get("exit_code"),
            "peak_mib": memory.mib(cards),
            "peak_booked_mib": [v // 2**20 for v in (result.get("peak_gpu_bytes") or {}).values()],
            "host_gib": round(result.get("peak_host_bytes", 0) / 2**30, 2),
            "survivors": result.get("survivors"),
            "held": result.get("gpu_memory_held"),
            "ranks": [row.get("ranks") for row in run.dir.metrics()][-3:],
            "seconds": round((run.ended_at or 0) - (run.started_at or 0), 1),
            "plan": run.dir.plan(),
            "config": run.spec.config,
            **rate,
        }
        self.rows.append(row)
        short = {k: v for k, v in row.items() if k not in ("plan", "config")}
        print("STUDIO", json.dumps(short), flush=True)
        if run.state is not State.DONE:
            print(run.dir.log.read_text()[-2500:], flush=True)
        shutil.rmtree(run.dir.artifacts / "output", ignore_errors=True)

    def stop(self) -> None:
        """Stop one training politely, kill another's first process; look what is left."""
        case = Case("7B LoRA, DDP x2, stopped", LARGE, 2, 4000, LORA)
        polite, killed = (self.studio.launch(self.ask(case, cards)) for cards in ([0, 1], [2, 3]))
        for run in (polite, killed):
            self.studio.jobs.wait(run.id, lambda r: bool(self.studio.progress(r.id)), timeout_s=240)
        root = next(row["pid"] for row in killed.dir.events() if row["phase"] == "running")
        for what, run in (("stop", polite), ("kill -9 of the first process", killed)):
            began = time.monotonic()
            if what == "stop":
                self.studio.jobs.stop(run.id)
            else:
                os.kill(root, signal.SIGKILL)
            ended = self.studio.jobs.wait(run.id, timeout_s=120)
            output = run.dir.artifacts / "output"
            row = {
                "what": what,
                "state": str(ended.state),
                "seconds": round(time.monotonic() - began, 2),
                "exit_code": ended.result["exit_code"],
                "adapter": (output / "adapter_model.safetensors").exists(),
                "survivors": ended.result["survivors"] + procs.marked(run.id),
                "held": ended.result["gpu_memory_held"],
            }
            self.rows.append(row)
            print("STOP", json.dumps(row), flush=True)

    def keep(self) -> None:
        """Write the rows and the logs out."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "train.json").write_text(json.dumps(self.rows, indent=1))
        with tarfile.open(self.out / "logs.tar.gz", "w:gz") as tar:
            for run in self.studio.jobs.list(limit=200):
                for path in run.dir.folder.iterdir():
                    if path.is_file() and path.stat().st_size < 2**21:
                        tar.add(path, f"{run.id}/{path.name}")


def data() -> Path:
    """Write a data set whose samples all fill the cutoff."""
    if not (DATA / "dataset_info.json").exists():
        DATA.mkdir(parents=True, exist_ok=True)
        words = "the ladder climbs from small to large and every rung is measured before the next"
        rows = [
            {"instruction": f"Say number {n}.", "input": "", "output": f"{n} {words} " * 120}
            for n in range(SAMPLES)
        ]
        (DATA / "filled.json").write_text(json.dumps(rows))
        (DATA / "dataset_info.json").write_text('{"filled": {"file_name": "filled.json"}}')
    return DATA


def main(out: Path, steps: list[str]) -> None:
    """Do the steps named (`zero2`, `zero2@1` for the second round, `stop`), in this order."""
    session = Session(out)
    before = [card.used // 2**20 for card in read_cards()]
    until = time.monotonic() + float(os.environ.get("POINTS_SECONDS", "560"))
    for step in steps or [*WAVES, "stop"]:
        if time.monotonic() > until - 60:
            print("SKIPPED for time:", step, flush=True)
            continue
        try:
            if step == "stop":
                session.stop()
            else:
                name, _, number = step.partition("@")
                session.wave(name, int(number or 0))
        except Exception as error:
            print("FAILED", step, repr(error)[:800], flush=True)
            for run in session.studio.jobs.list():
                if run.state.alive:
                    session.studio.jobs.stop(run.id, now=True)
                    session.studio.jobs.wait(run.id, timeout_s=60)
        session.keep()
    time.sleep(2)
    print("MEMORY before and after, MiB:", before, [c.used // 2**20 for c in read_cards()])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Image editing on real cards: every rung, whole and imitated cards, the bare pipeline beside it.

    LADDER_TEST_ENVS="diffusers=/usr/bin/python3:/root/site-diffusers" \
        python3 tests/gpu/image_points.py OUT [CASE ...]

Run by hand. Weights are random ones of the true shape (`load_format: dummy`). The worker is
launched through the studio's own door and asked over HTTP. Seconds per step are the difference of
two edits of few and many steps, divided by the steps between, by the clock of this script, for the
studio and for the bare pipeline alike, so whatever an edit costs once falls out. `compare` holds
both on the card and changes sides every round. Rows go to OUT/image.json as they come. A first
case that fails ends it all.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2])]

from studio.core.settings import ROOT, Settings  # noqa: E402
from studio.core.spec import State  # noqa: E402
from studio.jobs.jobs import Run  # noqa: E402
from studio.jobs.shim.cards import read_cards  # noqa: E402
from studio.studio import Launch, Studio  # noqa: E402

SHAPE = ROOT / "assets/shapes/qwen-image-edit-2511"
CARD_24_GIB = 23.64
"""What PyTorch sees of an RTX 4090."""
FEW, MANY = 4, 12
CFG, OFF = 4.0, 1.0
PROMPT = "Replace the sky with a calm evening sky and keep everything else as it is."


class Case(NamedTuple):
    """One setting of the worker."""

    label: str
    settings: dict[str, Any]
    cards: int = 1
    rounds: int = 1
    scales: tuple[float, ...] = (CFG, OFF)
    steps: tuple[int, int] = (FEW, MANY)


SMALL = {"max_card_memory_gib": CARD_24_GIB}
CASES: dict[str, Case] = {
    "whole": Case("whole, one card", {"rung": "whole"}),
    "fast": Case("whole, compiled", {"rung": "whole", "compile": True}),
    "fastest": Case(
        "fp8 products, compiled, on the whole card",
        {"rung": "fp8", "fp8_compute": True, "compile": True},
    ),
    "cached": Case(
        "fp8 products, compiled, first-block cache, 24 GB",
        {
            "rung": "fp8",
            "fp8_compute": True,
            "compile": True,
            "step_cache": "first-block",
            "step_cache_threshold": 0.12,
            **SMALL,
        },
        steps=(4, 24),
    ),
    "resident": Case("resident, 48 GB", {"rung": "resident", "max_card_memory_gib": 47.5}),
    "fp8": Case("fp8, 24 GB", {"rung": "fp8", **SMALL}),
    "fp8-fast": Case(
        "fp8 products, compiled, 24 GB",
        {"rung": "fp8", "fp8_compute": True, "compile": True, **SMALL},
    ),
    "int8": Case("int8, 24 GB", {"rung": "int8", **SMALL}),
    "groups": Case("groups, 24 GB", {"rung": "groups", **SMALL}),
    "groups-batched": Case(
        "groups, CFG batched, 24 GB",
        {"rung": "groups", "cfg_mode": "batched", **SMALL},
        scales=(CFG,),
    ),
    "leaf": Case("leaf, 24 GB", {"rung": "leaf", **SMALL}, scales=(CFG,), steps=(1, 3)),
    "nf4": Case("nf4, 16 GB", {"rung": "nf4", "max_card_memory_gib": 15.5}),
    "auto-24": Case("chosen by itself, 24 GB", SMALL),
    "auto": Case("chosen by itself, whole card", {}),
    "split": Case("split, two cards of 24 GB", {"rung": "split", **SMALL}, cards=2),
    "split-fast": Case(
        "split, compiled, two cards of 24 GB", {"rung": "split", "compile": True, **SMALL}, cards=2
    ),
    "fp8-two": Case("fp8, two cards of 24 GB", {"rung": "fp8", **SMALL}, cards=2),
}


def picture(folder: Path) -> Path:
    """Draw a picture of 1024 x 1024 once."""
    path = folder / "in.png"
    if not path.exists():
        image = Image.new("RGB", (1024, 1024), (120, 170, 220))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 640, 1024, 1024), fill=(70, 120, 60))
        draw.ellipse((380, 380, 680, 680), fill=(200, 60, 50))
        image.save(path)
    return path


class Bare:
    """The pipeline by diffusers alone, in a process that waits for lines."""

    def __init__(self, python: str, paths: list[str], image: Path) -> None:
        env = {**os.environ, "PYTHONPATH": ":".join(paths)}
        argv = [python, str(HERE.parent / "bare_image.py"), str(SHAPE), str(image)]
        self.process = subprocess.Popen(
            argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        print("BARE built", self.answer(), flush=True)

    def answer(self) -> dict[str, float]:
        """Return the next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the bare pipeline ended with {self.process.wait()}")
        return json.loads(line)

    def edit(self, steps: int, scale: float) -> dict[str, float]:
        """Edit once."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps} {scale}\n")
        self.process.stdin.flush()
        return self.answer()

    def step_s(self, scale: float, steps: tuple[int, int]) -> tuple[float, float]:
        """Return seconds per step and the peak in GiB."""
        few, many = (self.edit(count, scale) for count in steps)
        return (many["total_s"] - few["total_s"]) / (steps[1] - steps[0]), many["peak_gib"]

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class Worker:
    """The studio's worker, asked over HTTP."""

    def __init__(self, run: Run, port: int, image: bytes) -> None:
        self.run, self.image = run, image
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)

    def edit(self, steps: int, scale: float, seed: int = 7) -> dict[str, Any]:
        """Edit once; return the job's last status with `wall_s` by our own clock."""
        begun = time.monotonic()
        fields = {
            "prompt": PROMPT,
            "negative_prompt": " ",
            "num_inference_steps": str(steps),
            "true_cfg_scale": str(scale),
            "seed": str(seed),
            "size": "1024x1024",
        }
        files = {"image": ("in.png", self.image, "image/png")}
        answer = self.http.post("/v1/images/jobs", data=fields, files=files)
        assert answer.status_code == 202, answer.text
        job = answer.json()["job"]
        while True:
            told = self.http.get(f"/v1/images/jobs/{job}").json()
            if told["state"] in ("done", "failed", "cancelled"):
                break
            time.sleep(0.02)
        assert told["state"] == "done", told
        return {**told, "wall_s": time.monotonic() - begun}

    def step_s(
        self, scale: float, steps: tuple[int, int] = (FEW, MANY)
    ) -> tuple[float, dict[str, Any]]:
        """Return seconds per step by our own clock, and the longer job."""
        few, many = (self.edit(count, scale) for count in steps)
        return (many["wall_s"] - few["wall_s"]) / (steps[1] - steps[0]), many


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
        self.image = picture(Path("/tmp"))
        kept = out / "image.json"
        self.rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []

    @contextmanager
    def worker(self, case: Case) -> Iterator[Worker]:
        """Launch a worker, hand it over once it is ready, stop it."""
        settings = {
            "model": str(SHAPE),
            "load_format": "dummy",
            "dtype": "bfloat16",
            **case.settings,
        }
        ask = Launch(
            engine="image-edit", settings=settings, name="points", cards=list(range(case.cards))
        )
        begun = time.monotonic()
        run = self.studio.launch(ask)
        try:
            try:
                done = lambda r: r.state is State.READY or not r.state.alive  # noqa: E731
                run = self.studio.jobs.wait(run.id, done, timeout_s=280)
                if run.state is not State.READY or run.spec.port is None:
                    raise RuntimeError(f"not ready: {run.state}")
            except Exception:
                print(run.dir.log.read_text()[-3000:], flush=True)
                raise
            self.ready_s = time.monotonic() - begun
            yield Worker(run, run.spec.port, self.image.read_bytes())
        finally:
            asked = time.monotonic()
            self.studio.jobs.stop(run.id)
            ended = self.studio.jobs.wait(run.id, timeout_s=60)
            result = ended.dir.result() or {}
            kept = self.out / f"{run.spec.name}-{run.id}.txt"
            kept.write_bytes(run.dir.log.read_bytes()[-20000:])
            self.stop = {
                "stop_s": round(time.monotonic() - asked, 2),
                "survivors": result.get("survivors"),
                "held": result.get("gpu_memory_held"),
                "supervisor_card_gib": {
                    k: round(v / 2**30, 2) for k, v in (result.get("peak_gpu_bytes") or {}).items()
                },
                "supervisor_host_gib": round(result.get("peak_host_bytes", 0) / 2**30, 2),
            }

    def measure(self, name: str) -> None:
        """Measure one case."""
        case = CASES[name]
        row: dict[str, Any] = {"case": name, "label": case.label}
        with self.worker(case) as worker:
            row["ready_s"] = round(self.ready_s, 1)
            row["ladder"] = worker.http.get("/ladder").json()
            first = worker.edit(2, case.scales[0])
            row["first"] = {"wall_s": first["wall_s"], "timings": first["timings"]}
            for scale in case.scales:
                if scale != case.scales[0]:
                    worker.edit(2, scale)  # what is compiled or cached for one prompt alone
                taken = [worker.step_s(scale, case.steps) for _ in range(case.rounds)]
                job = taken[-1][1]
                row[f"cfg {scale:g}"] = {
                    "step_s": round(statistics.median(s for s, _ in taken), 4),
                    "all": [round(s, 4) for s, _ in taken],
                    "timings": job["timings"],
                    "peaks": job["peaks"],
                    "cached": job["cached"],
                    "rung": job["rung"],
                    "notes": job["notes"],
                }
        row |= self.stop
        self.note(row)

    def compare(self, rounds: int = 3, few: int = 2, many: int = 10) -> None:
        """Measure the bare pipeline and the whole rung in turn, both on one card at once."""
        with self.worker(CASES["whole"]) as worker:  # first: the queue refuses a card in use
            bare = Bare(self.python, self.paths, self.image)
            try:
                self._in_turn(bare, worker, rounds, (few, many))
            finally:
                bare.close()

    def _in_turn(self, bare: Bare, worker: Worker, rounds: int, steps: tuple[int, int]) -> None:
        bare.edit(2, CFG), worker.edit(2, CFG)
        for scale in (CFG, OFF):
            hand, mine = [], []
            for number in range(rounds):
                for side in ("hand", "mine") if number % 2 == 0 else ("mine", "hand"):
                    if side == "hand":
                        seconds, peak = bare.step_s(scale, steps)
                        hand.append(seconds)
                    else:
                        seconds, job = worker.step_s(scale, steps)
                        mine.append(seconds)
                    print("TURN", side, scale, round(seconds, 4), flush=True)
            self.note(
                {
                    "case": "compare",
                    "cfg": scale,
                    "bare_step_s": [round(s, 4) for s in hand],
                    "studio_step_s": [round(s, 4) for s in mine],
                    "ratio": round(statistics.median(mine) / statistics.median(hand), 4),
                    "bare_peak_gib": round(peak, 2),
                    "studio_peaks": job["peaks"],
                }
            )

    def note(self, row: dict[str, Any]) -> None:
        """Keep a row and print it."""
        self.rows.append(row)
        (self.out / "image.json").write_text(json.dumps(self.rows, indent=1))
        short = {k: v for k, v in row.items() if k not in ("ladder", "first")}
        print(json.dumps(short), flush=True)


def main() -> None:
    """Measure the cases named on the command line, all without a name."""
    out = Path(sys.argv[1])
    session = Session(out)
    print("CARDS", [(card.name, card.total // 2**20) for card in read_cards()], flush=True)
    for name in sys.argv[2:] or [*CASES, "compare"]:
        begun = time.monotonic()
        try:
            session.compare() if name == "compare" else session.measure(name)
        except Exception as error:
            session.note({"case": name, "error": f"{type(error).__name__}: {error}"})
            if all("error" in row for row in session.rows):
                raise
        print(f"CASE {name}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()

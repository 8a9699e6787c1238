"""Stand-in points for tests of drawing. Nobody measured them: they only have a server's shape."""

from __future__ import annotations

import random
from collections.abc import Sequence

from studio.bench.point import Point

LOADS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DAY_S = 86_400.0
AT = 1_790_000_000.0


def load_points(
    case: str = "",
    *,
    cards: int = 1,
    speed: float = 1.0,
    loads: Sequence[int] = LOADS,
    repeats: int = 3,
    lengths: tuple[int, int] = (512, 128),
    model: str = "Stand-in/Model-7B",
    server: str = "vllm 0.0.0",
    results: str = "standin_20260101-000000",
    slo: dict[str, float] | None = None,
    at: float = AT,
    failed: Sequence[int] = (),
    full: int = 96,
) -> list[Point]:
    """Return a load test of a made-up server that is full at `full` users."""
    noise = random.Random(f"{case}{cards}{lengths}{results}")
    found = []
    for repeat in range(repeats):
        for load in loads:
            ident = f"{case and f'{case}-'}in{lengths[0]}-out{lengths[1]}-c{load}-r{repeat}"
            condition = {
                "input_len": lengths[0],
                "output_len": lengths[1],
                "concurrency": load,
                "request_rate": None,
                "dataset": "random",
                "num_prompts": 4 * load,
            }
            base = Point(
                id=ident,
                at=at + repeat * 600 + load,
                seconds=30,
                engine="vllm-bench",
                version="0.0.0",
                model=model,
                server=server,
                cards=cards,
                card_name="NVIDIA Stand-in 141",
                case=case,
                repeat=repeat,
                condition=condition,
                slo=slo or {},
                results=results,
            )
            if load in failed:
                why = "Stand-in failure: the server closed the connection."
                found.append(base.model_copy(update={"status": "failed", "error": why}))
                continue
            wobble = 1 + noise.gauss(0, 0.02)
            tpot = (4.6 + 0.062 * load * lengths[0] / 512) / speed * wobble
            queue = max(0, load - full) / full
            ttft = (22 + 2.1 * load * lengths[0] / 512 + 900 * queue) / speed * wobble
            e2el = ttft + tpot * (lengths[1] - 1)
            out = load * lengths[1] / (e2el / 1000) * (1 - 0.35 * min(1, queue))
            figures: dict[str, float] = {
                "output_throughput": out,
                "total_throughput": out * (1 + lengths[0] / lengths[1]),
                "request_throughput": out / lengths[1],
                "tokens_per_s_user": 1000 / tpot,
                "memory_gib": 127.8,
                "memory_share": 0.909,
                "goodput": out / lengths[1] * 0.9,
                "energy_per_token_j": 700 * cards / out,
                "waiting_max": max(0, load - full),
                "completed": 4 * load,
            }
            for name, value, tail in (
                ("ttft", ttft, 2.6),
                ("tpot", tpot, 1.5),
                ("e2el", e2el, 1.4),
            ):
                figures |= {
                    f"{name}_mean_ms": value * 1.05,
                    f"{name}_median_ms": value,
                    f"{name}_p90_ms": value * (1 + (tail - 1) * 0.55),
                    f"{name}_p99_ms": value * tail * (1 + queue),
                }
            found.append(base.model_copy(update={"figures": figures}))
    return found


def scaling_points() -> list[Point]:
    """Return three cases: one card, tensor parallel on two, two replicas."""
    loads = (1, 32, 128)
    return [
        *load_points("one-card", loads=loads),
        *load_points("tp2", cards=2, speed=1.46, loads=loads, results="standin-tp2"),
        *load_points("replicas", cards=2, speed=1.02, full=192, loads=loads, results="standin-dp2"),
    ]


def training_points() -> list[Point]:
    """Return cases of a training study with memory in parts, one of which failed."""
    cases = {
        "one-card": (1, 106.3, 12.8, 9_100),
        "ddp": (2, 108.1, 13.4, 17_600),
        "zero1": (2, 72.5, 13.9, 17_900),
        "zero2": (2, 60.2, 14.1, 17_200),
        "zero3": (2, 47.9, 16.5, 11_800),
        "zero3-offload": (2, 18.4, 96.0, 3_050),
    }
    found = []
    for case, (cards, card, host, speed) in cases.items():
        for repeat in range(3):
            wobble = 1 + 0.01 * (repeat - 1)
            found.append(
                Point(
                    id=f"{case}-r{repeat}",
                    at=AT + repeat,
                    engine="llamafactory-train",
                    model="Stand-in/Model-7B",
                    case=case,
                    cards=cards,
                    card_name="NVIDIA Stand-in 141",
                    repeat=repeat,
                    results="standin-zero",
                    condition={"batch": 2},
                    figures={
                        "peak_card_gib": card * wobble,
                        "peak_host_gib": host * wobble,
                        "tokens_per_s": speed * wobble,
                        "samples_per_s": speed * wobble / 1024,
                        "step_s": 2048 * cards / speed,
                        "card_gib": 140.4,
                    },
                )
            )
    why = "CUDA out of memory (stand-in)."
    dead = found[0].model_copy(
        update={
            "id": "full-fp32-r0",
            "case": "full-fp32",
            "status": "failed",
            "error": why,
            "figures": {},
        }
    )
    return [*found, dead]


def history_points() -> list[Point]:
    """Return the same load on several days, with two changes of the server's version."""
    days = [
        (0, "0.1.0", 1.0),
        (6, "0.1.0", 1.01),
        (14, "0.2.0", 1.12),
        (27, "0.2.0", 1.11),
        (41, "0.3.0", 1.31),
    ]
    found = []
    for day, version, speed in days:
        found += load_points(
            loads=(1, 32, 128),
            speed=speed,
            server=f"vllm {version}",
            results=f"standin_day{day}",
            at=AT + day * DAY_S,
        )
    return found


def quality_points() -> list[Point]:
    """Return three models with a judge's score, a win rate and two tasks."""
    rows = {
        "Stand-in/Base": (6.9, 0.5, 0.412, 0.688),
        "Stand-in/Fine-tuned": (7.6, 0.63, 0.437, 0.681),
        "Stand-in/Quantized": (7.4, 0.55, 0.421, 0.664),
    }
    return [
        Point(
            id=f"m{number}",
            at=AT,
            engine="quality",
            model=model,
            results="standin-quality",
            condition={"questions": 80},
            figures={
                "score": score,
                "win_rate": win,
                "comparisons": 80,
                "gsm8k/exact_match": gsm,
                "hellaswag/acc_norm": hella,
            },
        )
        for number, (model, (score, win, gsm, hella)) in enumerate(rows.items())
    ]

"""Ten thousand points in three hundred folders: the first look, a look again, filters, a verdict.

    python tests/bench/bench_points.py [--folders 300] [--points 10000] [--home FOLDER]

Prints the best and the median of several tries, in ms of wall time and of this process's CPU time.
A cold read is of a new `Saved`; the files are in the kernel's cache.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import orjson

from studio.bench.compare import compare
from studio.bench.definitions import DEFINITIONS
from studio.bench.point import POINTS, Point, append_point
from studio.bench.saved import About, Saved
from studio.bench.verdict import verdict

LENGTHS = ((128, 128), (512, 128), (2048, 512))
USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def write(root: Path, num_folders: int, num_points: int) -> None:
    """Write folders of results as load tests leave them, every figure there is in every point."""
    draw, saved = random.Random(7), Saved(root)
    figures = [name for name, what in DEFINITIONS.items() if what.group not in ("training",)]
    left = num_points
    for number in range(num_folders):
        model = f"Qwen/Qwen2.5-{draw.choice(('0.5', '1.5', '3', '7', '14'))}B-Instruct"
        at = 1_750_000_000.0 + number * 20_000
        folder = saved.begin(About(name=model, model=model, created_at=at))
        share = left // (num_folders - number)
        left -= share
        lines = [_line(draw, model, figures, at, n) for n in range(share)]
        (folder / POINTS).write_bytes(b"".join(lines))


def _line(draw: random.Random, model: str, figures: list[str], at: float, n: int) -> bytes:
    users = USERS[n % len(USERS)]
    input_len, output_len = LENGTHS[n // len(USERS) % len(LENGTHS)]
    repeat = n // (len(USERS) * len(LENGTHS))
    point = Point(
        id=f"in{input_len}-out{output_len}-c{users}-r{repeat}",
        at=at + n,
        seconds=20.5,
        engine="vllm-bench",
        version="0.26.0",
        model=model,
        server="vllm 0.26.0",
        server_run="1j5ddgp2d4q0000000",
        endpoint="http://127.0.0.1:8000",
        cards=2,
        card_name="NVIDIA H200",
        repeat=repeat,
        seed=n,
        condition={
            "dataset": "random",
            "input_len": input_len,
            "output_len": output_len,
            "concurrency": users,
            "request_rate": None,
            "num_prompts": users * 4,
            "ignore_eos": True,
        },
        figures={name: draw.lognormvariate(3, 1) for name in figures},
        slo={"ttft_ms": 500, "tpot_ms": 50},
        raw=f"points/in{input_len}-out{output_len}-c{users}-r{repeat}.json",
        argv=tuple(f"--option-{k}=value" for k in range(30)),
    )
    return orjson.dumps(point.model_dump(mode="json")) + b"\n"


def timed(name: str, call: Callable[[], object], tries: int = 7) -> None:
    """Print how long a call takes."""
    wall, cpu = [], []
    for _ in range(tries):
        begun, used = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - begun) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    print(
        f"{name:<44} {min(wall):8.1f} {statistics.median(wall):8.1f} ms wall {min(cpu):8.1f} ms CPU"
    )


def main() -> None:
    """Write the folders, then measure."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--folders", type=int, default=300)
    words.add_argument("--points", type=int, default=10_000)
    words.add_argument("--home", type=Path)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = (asked.home or Path(made)) / "bench"
        write(root, asked.folders, asked.points)
        size = sum(path.stat().st_size for path in root.glob(f"*/{POINTS}"))
        print(f"{asked.points} points in {asked.folders} folders, {size / 1e6:.1f} MB")
        measure(root)


def measure(root: Path) -> None:
    """Print the time of every look that the page takes."""
    timed("cold: every point of every folder", lambda: Saved(root).points(), tries=3)
    saved = Saved(root)
    all_points = saved.points()
    timed("again, nothing changed", saved.points)
    timed("list of the folders", saved.folders)
    timed("filter: model and users", lambda: saved.points(model=all_points[0].model, concurrency=8))
    timed("filter: text of two words", lambda: saved.points(text="h200 7b"))
    timed("filter: dates", lambda: saved.points(since=1_752_000_000.0))
    timed("values of a filter", lambda: saved.values("model"))
    folder = saved.folders()[0].folder
    one = all_points[0]

    def grown() -> None:
        append_point(folder, one.model_copy(update={"id": f"more-{time.perf_counter_ns()}"}))
        saved.points()

    timed("one point more (with fsync), then a look", grown)
    mine = list(saved.folders()[1].points)
    timed("verdict of a folder", lambda: verdict(mine))
    other = list(saved.folders()[2].points)
    timed("comparison of two folders", lambda: compare({"a": mine, "b": other}))


if __name__ == "__main__":
    main()

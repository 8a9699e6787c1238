"""What being supervised costs a program: the same one launched by the studio and by hand, in turns.

    python tests/bench/bench_supervision.py --gib 3 --rounds 2

The program holds memory as a training does, and in every step maps and unmaps some, which has to
wait while somebody walks its pages. Told are steps per second and the longest standstill.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from studio.core.ids import new_id
from studio.core.settings import Settings
from studio.core.spec import Command, RunSpec
from studio.jobs.jobs import Jobs

PROGRAM = """
import json, mmap, sys, time
gib, seconds = float(sys.argv[1]), float(sys.argv[2])
held = bytearray(int(gib * 2**30))
for place in range(0, len(held), 4096):
    held[place] = 1
begin = last = time.perf_counter()
steps, longest = 0, 0.0
while last - begin < seconds:
    with mmap.mmap(-1, 2**20) as room:
        room[0] = 1
    sum(range(20000))
    now = time.perf_counter()
    longest, last, steps = max(longest, now - last), now, steps + 1
print(json.dumps({"steps_per_s": steps / (last - begin), "longest_ms": longest * 1000}))
"""


def main() -> None:
    """Run both in turns and print the figures of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    argv = (sys.executable, "-c", PROGRAM, str(asked.gib), str(asked.seconds))
    rows: dict[str, list[dict[str, float]]] = {"hand": [], "studio": []}
    with tempfile.TemporaryDirectory() as home:
        jobs = Jobs(Settings(home=Path(home)))
        for number in range(asked.rounds):
            for who in ("hand", "studio") if number % 2 == 0 else ("studio", "hand"):
                rows[who].append(by_hand(argv) if who == "hand" else supervised(jobs, argv))
                print(who, rows[who][-1], flush=True)
    rate = {who: statistics.mean(r["steps_per_s"] for r in each) for who, each in rows.items()}
    print(f"studio / hand: {rate['studio'] / rate['hand']:.3f}")


def by_hand(argv: tuple[str, ...]) -> dict[str, float]:
    """Run the program alone."""
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def supervised(jobs: Jobs, argv: tuple[str, ...]) -> dict[str, float]:
    """Run it as a run of the studio."""
    spec = RunSpec(
        id=new_id(),
        name="bench",
        engine="bench",
        command=Command(argv=argv),
        created_at=time.time(),
        ranks=1,
    )
    run = jobs.wait(jobs.submit(spec).id, timeout_s=300)
    lines = run.dir.log.read_text().splitlines()
    return json.loads(next(line for line in lines if line.startswith("{")))


if __name__ == "__main__":
    main()

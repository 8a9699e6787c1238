"""From `submit` to the engine's exec, and what a supervisor weighs.

    python tests/bench/bench_submit.py [--runs 30]

The end point is taken by the engine itself: a program whose first act is to write the time.
Meant to stay below 250 ms (median) and 20 MiB resident.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from studio.core.ids import new_id
from studio.core.settings import Settings
from studio.core.spec import Command, RunSpec
from studio.jobs.jobs import Jobs


def once(jobs: Jobs, argv: tuple[str, ...]) -> RunSpec:
    """Return a spec that runs `argv`."""
    return RunSpec(
        id=new_id(), name="bench", engine="bench", command=Command(argv=argv), created_at=0.0
    )


def main() -> None:
    """Submit one after the other, then weigh supervisors that are at work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        jobs = Jobs(Settings(home=Path(home)))
        delays = []
        for _ in range(count):
            spec = once(jobs, ("sh", "-c", "date +%s.%N"))
            began = time.time()
            run = jobs.wait(jobs.submit(spec).id, timeout_s=30, poll_s=0.02)
            told = next(x for x in run.dir.log.read_text().splitlines() if x[:1].isdigit())
            delays.append((float(told) - began) * 1000)
        sleepers = [jobs.submit(once(jobs, ("sleep", "60"))) for _ in range(5)]
        time.sleep(3)
        weights = []
        for run in sleepers:
            status = Path(f"/proc/{run.dir.supervisor().pid}/status").read_text()
            weights.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
            jobs.stop(run.id, now=True)
        for run in sleepers:
            jobs.wait(run.id, timeout_s=30)
    result = {
        "submit_to_exec_ms": {
            "median": round(statistics.median(delays), 1),
            "p90": round(sorted(delays)[int(0.9 * len(delays))], 1),
        },
        "supervisor_mib": round(max(weights), 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

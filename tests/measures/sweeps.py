"""A folder of results as a load test leaves it, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.bench.point import Point, append_point
from studio.bench.saved import About, Saved

FAST = {"one": 100.0, "four": 350.0, "sixteen": 900.0}
USERS = {"one": 1, "four": 4, "sixteen": 16}
URL = "http://127.0.0.1:9/v1"


def sweep(home: Path, model: str, server: str, factor: float, at: float, **about: Any) -> str:
    """Write what a load test leaves: three loads, three repeats, one of them failed."""
    folder = Saved(home / "bench").begin(
        About(name=model, model=model, created_at=at, command="python app.py bench run x", **about)
    )
    (folder / "points").mkdir()
    for repeat in range(3):
        for name, users in USERS.items():
            out = FAST[name] * factor * (1 + 0.01 * repeat)
            failed = name == "sixteen" and repeat == 2
            ident = f"in64-out32-c{users}-r{repeat}"
            (folder / "points" / f"{ident}.json").write_text('{"output_throughput": 1}')
            append_point(
                folder,
                Point(
                    id=ident,
                    at=at + 10 * repeat + users,
                    seconds=5,
                    status="failed" if failed else "done",
                    error="The server stopped answering." if failed else "",
                    engine="vllm-bench",
                    version="0.26.0",
                    model=model,
                    server=server,
                    endpoint=URL,
                    cards=1,
                    card_name="NVIDIA H200",
                    repeat=repeat,
                    condition={
                        "input_len": 64,
                        "output_len": 32,
                        "concurrency": users,
                        "dataset": "random",
                    },
                    figures={}
                    if failed
                    else {
                        "output_throughput": out,
                        "ttft_p90_ms": 40.0 * users,
                        "tpot_p90_ms": 10.0,
                        "completed": 8 * users,
                    },
                    raw="" if failed else f"points/{ident}.json",
                ),
            )
    return folder.name

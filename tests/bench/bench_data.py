"""How long, and in how much memory, data files of one gigabyte are checked and imported.

    python tests/bench/bench_data.py            # a few minutes, 4 GB of disk for that time
    python tests/bench/bench_data.py --mib 64   # a quick look

Each measurement is a process of its own; memory is its peak resident set (ru_maxrss), time is
wall-clock time. `empty` is the same process with a file of one row.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MEASURED = """
import json, resource, sys, time
from pathlib import Path
from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.data.library import DataSets

verb, path, home = sys.argv[1:]
data = DataSets(Path(home), ROOT / "assets" / "data")
began = time.perf_counter()
try:
    if verb == "look":
        told = {"rows": len(data.look(Path(path)).rows)}
    elif verb == "check":
        report = data.check(Path(path))
        told = {"rows": report.good, "refused": report.refused, "faults": dict(report.counts)}
    else:
        told = {"rows": data.add(Path(path), "it").rows}
except StudioError as error:
    told = {"error": error.message[:80]}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"s": round(time.perf_counter() - began, 2), "mib": round(peak), **told}))
"""


def chat_rows(size: int, path: Path, *, array: bool) -> None:
    """Write conversations of Chinese and English of about a kilobyte each."""
    rng = random.Random(1)
    words = ["学习", "模型", "数据", "训练", "the", "model", "learns", "from", "data", "briefly"]
    samples = []
    for number in range(2000):
        turns = [
            {"role": role, "content": " ".join(rng.choices(words, k=rng.randint(20, 80)))}
            for _ in range(2)
            for role in ("user", "assistant")
        ]
        turns[0]["content"] = f"{number} {turns[0]['content']}"
        samples.append(json.dumps({"messages": turns}, ensure_ascii=False))
    begin, between, end = ("[\n", ",\n", "\n]\n") if array else ("", "\n", "\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(begin)
        written = number = 0
        while written < size:
            row = samples[number % len(samples)].replace(
                '"content": "', f'"content": "{number} ', 1
            )
            file.write((between if number else "") + row)
            written += len(row.encode()) + 2
            number += 1
        file.write(end)


def one_line(size: int, path: Path) -> None:
    """Write one record of so many bytes, and a good one behind it."""
    with open(path, "wb") as file:
        file.write(b'{"instruction": "q", "output": "')
        for _ in range(size >> 20):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"instruction": "q", "output": "a"}\n')


def one_line_array(size: int, path: Path) -> None:
    """Write an array without a single line break."""
    row = b'{"instruction": "%d what is this?", "output": "' + b"an answer " * 80 + b'"}'
    with open(path, "wb") as file:
        file.write(b"[" + row % 0)
        number = 1
        while file.tell() < size:
            file.write(b"," + row.replace(b"%d", b"%012d" % number))
            number += 1
        file.write(b"]")


def nothing_but_brackets(size: int, path: Path) -> None:
    """Write opening brackets alone."""
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(b"[" * (1 << 20))


def open_quote(size: int, path: Path) -> None:
    """Write a table whose second row opens a quotation mark that nothing closes."""
    with open(path, "wb") as file:
        file.write(b'question,answer\na,"b\n')
        row = b"what is this?," + b"an answer " * 80 + b"\n"
        while file.tell() < size:
            file.write(row * 1000)


def parquet(size: int, path: Path) -> None:
    """Write rows whose texts take so many bytes once they are unpacked.

    DuckDB writes a row group as one page, which is the worst case for memory.
    """
    import duckdb

    rows = size // 1000
    with duckdb.connect(config={"memory_limit": "1GB", "threads": 1}) as con:
        con.execute(
            "COPY (SELECT 'question ' || i AS question, repeat(md5(i::VARCHAR), 30) AS answer "
            f"FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet)"
        )


FILES: dict[str, tuple[str, Callable[[int, Path], None]]] = {
    "JSON Lines": ("d.jsonl", lambda size, path: chat_rows(size, path, array=False)),
    "JSON array": ("d.json", lambda size, path: chat_rows(size, path, array=True)),
    "one line": ("one.jsonl", one_line),
    "array in one line": ("line.json", one_line_array),
    "brackets": ("brackets.json", nothing_but_brackets),
    "open quote": ("d.csv", open_quote),
    "Parquet": ("d.parquet", parquet),
}


def main() -> None:
    """Make each file, measure it, remove it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.jsonl")
        empty.write_text('{"instruction": "q", "output": "a"}\n')
        tell("empty", "check", empty)
        for name, (file, make) in FILES.items():
            if given.only and given.only != name:
                continue
            path = Path(folder, file)
            make(given.mib << 20, path)
            for verb in ("look", "check", *(("add",) if name.startswith("JSON") else ())):
                tell(name, verb, path)
            path.unlink()


def tell(name: str, verb: str, path: Path) -> None:
    """Measure one verb on one file in a process of its own and print it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as home:
        began = time.perf_counter()
        argv = [sys.executable, "-c", MEASURED, verb, str(path), home]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
        size = path.stat().st_size / (1 << 20)
        wall = time.perf_counter() - began
        print(
            f"{name:<18} {verb:<6} {size:7.0f} MiB {wall:6.1f} s  {done.stdout.strip()}", flush=True
        )


if __name__ == "__main__":
    main()

"""The readers beside the standard library's: same records, same lines, wherever pieces end."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from studio.data import reading
from studio.data.library import DataSets
from studio.data.model import Limits
from studio.data.reading import Source
from studio.data.recognise import records

ALPHABET = '"\\{}[],:\n\t é你😀a1/ '


def text(rng: random.Random) -> str:
    return "".join(rng.choices(ALPHABET, k=rng.randint(0, 12)))


def value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randint(0, 3 if depth > 7 else 5)
    if kind == 4:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind == 5:
        return {text(rng): value(rng, depth + 1) for _ in range(rng.randint(0, 3))}
    return [rng.randint(-9, 9), rng.random(), rng.choice([True, False, None]), text(rng)][kind]


def rows(rng: random.Random) -> list[dict[str, Any]]:
    return [{"q": text(rng), "a": value(rng)} for _ in range(rng.randint(1, 8))]


def read(path: Path) -> list[tuple[int, Any, str]]:
    _, stream = records(Source(path))
    return [(r.line, r.value, r.fault.code if r.fault else "") for r in stream]


@pytest.mark.parametrize("seed", range(40))
def test_json_is_read_as_the_standard_library_reads_it(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(reading, "PIECE", rng.choice([1, 2, 3, 7, 64, 1 << 20]))
    expected = rows(rng)
    ascii_only, indent = rng.random() < 0.5, rng.choice([None, 1, 4])
    whole = json.dumps(expected, ensure_ascii=ascii_only, indent=indent)
    path = tmp_path / "d.json"
    encoding = rng.choice(["utf-8", "utf-8-sig", "utf-16"])
    path.write_bytes(whole.encode(encoding))
    found = read(path)
    assert [v for _, v, _ in found] == expected and not any(code for _, _, code in found)
    lines = whole.split("\n")
    for line, _, _ in found:
        assert "{" in lines[line - 1], "the line where the record begins"
    assert [line for line, _, _ in found] == sorted(line for line, _, _ in found)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in expected))
    assert read(path) == [(n, row, "") for n, row in enumerate(expected, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_tables_are_read_as_the_standard_library_reads_them(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(reading, "PIECE", rng.choice([1, 5, 1 << 20]))
    cells = [[text(rng).strip() or "x", text(rng)] for _ in range(10)]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([["question", "answer"], *cells])
    path = tmp_path / "d.csv"
    path.write_text(written.getvalue(), encoding="utf-8")
    found = read(path)
    assert [list(v.values()) for _, v, _ in found] == cells
    ends = [csv_line for csv_line, _, _ in found]
    assert ends[0] == 2 and ends == sorted(set(ends))


@pytest.mark.parametrize("seed", range(60))
def test_no_damage_makes_it_fall_over(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(reading, "PIECE", rng.choice([16, 100, 1 << 20]))
    good = [{"instruction": f"q{n}", "output": "你好 " * rng.randint(1, 9)} for n in range(40)]
    if seed % 3 == 0:
        data = bytearray(json.dumps(good, ensure_ascii=False, indent=1).encode())
    elif seed % 3 == 1:
        data = bytearray("\n".join(json.dumps(row, ensure_ascii=False) for row in good).encode())
    else:
        said = io.StringIO()
        csv.writer(said).writerows([list(good[0]), *([*row.values()] for row in good)])
        data = bytearray(said.getvalue().encode())
    num_wounds = rng.randint(1, 3)
    for _ in range(num_wounds):
        at = rng.randrange(60, len(data))
        wound = rng.choice([b'"', b"{", b"}", b"]", b"\\", b"\n", b"\xff", b"\x00", b",", b""])
        data[at : at + rng.randint(0, 2)] = wound
    path = tmp_path / "d.data"
    path.write_bytes(bytes(data))
    report = DataSets(tmp_path / "home", tmp_path / "none", Limits(record_bytes=4000)).check(path)
    assert report.good >= 40 - 3 * num_wounds - 3, report.faults
    assert all(1 <= fault.line <= data.count(b"\n") + 1 for fault in report.faults)
    assert report.read - report.good == sum(not fault.kept for fault in report.faults)

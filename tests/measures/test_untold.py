"""Figures of a server whose stream tells neither the first token nor how many there were."""

from __future__ import annotations

from studio.bench.point import Point, append_point
from studio.bench.saved import About, Saved
from studio.bench.untold import told
from studio.bench.verdict import verdict

FIGURES = {
    "completed": 4,
    "request_throughput": 0.28,
    "memory_gib": 15.2,
    "ttft_p90_ms": 2.4,
    "tpot_p90_ms": 3617.0,
    "tokens_per_s_user": 0.27,
    "e2el_p90_ms": 3600.0,
    "output_throughput": 0.28,
    "energy_per_token_j": 542.0,
}


def point(tokens: int, server: str = "llamafactory-api 0.9.5") -> Point:
    figures = {**FIGURES, "output_tokens": tokens}
    return Point(id="c1", server=server, condition={"concurrency": 1}, figures=figures)


def test_what_was_not_told_is_left_out():
    assert set(told(point(4)).figures) == {"completed", "request_throughput", "memory_gib"}
    counted = told(point(256)).figures
    assert counted["output_throughput"] == 0.28 and counted["e2el_p90_ms"] == 3600
    assert not counted.keys() & {"ttft_p90_ms", "tpot_p90_ms", "tokens_per_s_user"}
    other = point(4, "vllm 0.26.0")
    assert told(other) is other


def test_readers_see_it_so_and_the_verdict_speaks_of_requests(tmp_path):
    saved = Saved(tmp_path)
    append_point(saved.begin(About(name="hf", created_at=1.0)), point(4))
    (seen,) = saved.points()
    assert "output_throughput" not in seen.figures
    keys = [said.key.rpartition(".")[2] for said in verdict([seen])]
    assert keys == ["peak_requests", "untold", "once"]

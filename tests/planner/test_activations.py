"""Activations at their peak, captured batches, and what a card can compute: known answers."""

from __future__ import annotations

import pytest
from planner.planning import shape

from studio.planner import activations
from studio.planner import calibration as cal


def test_the_peak_is_the_wider_of_mlp_and_sampler() -> None:
    s = shape("qwen2.5-7b")
    mlp = 8192 * (2 * 3584 + 3 * 18944) * 2
    assert activations.peak(s, tokens=8192, seqs=256, each=2, tp=1) == mlp
    halves = 8192 * (2 * 3584 + 3 * 18944 // 2) * 2
    assert activations.peak(s, tokens=8192, seqs=256, each=2, tp=2) == halves
    logits = 1024 * 152_064 * 6 + 512 * 3584 * 2
    assert activations.peak(s, tokens=512, seqs=1024, each=2, tp=1) == logits
    assert activations.peak(s, tokens=512, seqs=1024, each=2, tp=1, last=False) < logits


def test_the_tower_sees_merge_squared_patches_per_token() -> None:
    s = shape("qwen2-vl-7b")
    assert s.vision is not None
    peak = activations.tower_peak(s.vision, tokens=16384, each=2, tp=1)
    assert peak == 65536 * (2 * 1280 + 2 * 5120) * 2
    whole = activations.peak(s, tokens=2048, seqs=256, each=2, tp=1, picture=16384)
    assert whole == peak + 16384 * 3584 * 2
    assert activations.picture_tokens(s, None) == 16384
    assert activations.picture_tokens(s, 50_176) == 64
    assert activations.picture_tokens(shape("qwen2.5-7b"), None) == 0


def test_experts_work_on_their_share() -> None:
    s = shape("mixtral-8x7b")
    assert activations.peak(s, tokens=2048, seqs=1, each=2, tp=1) == 2048 * (
        2 * 4096 + 2 * (2 * 14336) + 2 * 14336
    ) * 2  # fmt: skip


def test_how_many_batches_are_captured() -> None:
    assert cal.captured_sizes(1024, 8192) == 3 + 31 + 17
    assert cal.captured_sizes(256, 2048) == 51
    assert cal.captured_sizes(4, 2048) == 4
    assert cal.captured_sizes(5, 2048) == 5  # 1, 2, 4, 8 and its own 5


@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("NVIDIA H200", 9.0),
        ("NVIDIA H20", 9.0),
        ("NVIDIA GeForce RTX 4090", 8.9),
        ("RTX 4090", 8.9),
        ("NVIDIA RTX 2000 Ada Generation", 8.9),
        ("NVIDIA A100-SXM4-80GB", 8.0),
        ("A10G", 8.6),
        ("NVIDIA L40S", 8.9),
        ("Tesla V100-SXM2-32GB", 7.0),
        ("Tesla T4", 7.5),
        ("K500SM_AI", None),
    ],
)
def test_what_a_card_can_compute(name: str, power: float | None) -> None:
    assert cal.compute_capability(name) == power

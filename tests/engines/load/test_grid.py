"""The grid of a sweep: order, names, seeds, sizes, and how long the rest takes."""

from __future__ import annotations

import pytest

from studio.engines.vllm_bench import VllmBenchConfig
from studio.engines.workers.bench.eta import remaining_s
from studio.engines.workers.bench.grid import CONCURRENCY, SALT, Load, loads, prefix_of

URL = "http://127.0.0.1:8000/v1"


def grid(**settings: object) -> list[Load]:
    config = VllmBenchConfig.model_validate({"base_url": URL, **settings})
    return loads(config.model_dump(mode="json"))


def test_repeats_are_outermost_then_lengths_then_users() -> None:
    found = grid(input_len=[128, 512], output_len=[16], concurrency=[1, 8], repeats=2)
    assert [load.id for load in found] == [
        *("in128-out16-c1-r0", "in128-out16-c8-r0", "in512-out16-c1-r0", "in512-out16-c8-r0"),
        *("in128-out16-c1-r1", "in128-out16-c8-r1", "in512-out16-c1-r1", "in512-out16-c8-r1"),
    ]
    assert found[0].condition_id == found[4].condition_id == "in128-out16-c1"


def test_without_users_or_rates_a_few_users_are_tried() -> None:
    assert tuple(load.concurrency for load in grid(repeats=1)) == CONCURRENCY


def test_rates_take_the_place_of_users() -> None:
    found = grid(request_rate=[0.5, 4], repeats=1, rate_seconds=10, min_prompts=8)
    assert [(load.id, load.concurrency, load.num_prompts) for load in found] == [
        ("in512-out128-q0.5-r0", None, 8),
        ("in512-out128-q4-r0", None, 40),
    ]


def test_requests_grow_with_the_users_unless_said() -> None:
    few, many = grid(concurrency=[1, 32], repeats=1, prompts_per_user=4, min_prompts=16)
    assert (few.num_prompts, many.num_prompts) == (16, 128)
    assert {load.num_prompts for load in grid(num_prompts=5, repeats=1)} == {5}


def test_every_point_has_a_seed_of_its_own_that_stays() -> None:
    seeds = [load.seed for load in grid(concurrency=[1, 2, 4], repeats=3)]
    assert len(set(seeds)) == 9
    assert seeds == [load.seed for load in grid(concurrency=[1, 2, 4], repeats=3, seed=0)]
    assert not set(seeds) & {load.seed for load in grid(concurrency=[1, 2, 4], repeats=3, seed=1)}


def test_a_file_decides_the_prompt_lengths() -> None:
    (one,) = grid(
        dataset="custom", dataset_path="x.jsonl", output_len=[64], concurrency=[2], repeats=1
    )
    assert (one.id, one.input_len, one.output_len) == ("custom-out64-c2-r0", None, 64)


def test_pictures_are_part_of_the_name_and_the_condition() -> None:
    config = VllmBenchConfig(
        base_url=URL,
        dataset="random-mm",
        images=2,
        image_width=448,
        image_height=336,
        concurrency=[1],
        repeats=1,
    )
    settings = config.model_dump(mode="json")
    (one,) = loads(settings)
    assert one.id == "in512-out128-img2-c1-r0"
    assert one.condition(settings) == {
        "dataset": "random-mm",
        "input_len": 512,
        "output_len": 128,
        "concurrency": 1,
        "request_rate": None,
        "num_prompts": 16,
        "ignore_eos": True,
        "images": 2,
        "image_size": "448x336",
    }


@pytest.mark.parametrize(
    ("asked", "length", "prefix"), [(0, 512, SALT), (0, 16, 0), (256, 512, 256), (512, 512, 511)]
)
def test_prompts_begin_with_what_was_asked_or_with_salt(asked, length, prefix) -> None:
    assert prefix_of({"random_prefix_len": asked}, length) == prefix


def test_the_rest_takes_what_repeats_took() -> None:
    first, second, again_first, again_second = grid(concurrency=[1, 8], repeats=2)
    assert remaining_s([first], {}) is None
    assert remaining_s([again_first, again_second], {first: 10.0, second: 4.0}) == 14.0
    guessed = remaining_s([second, again_first], {first: 10.0})
    assert guessed is not None and guessed > 10.0

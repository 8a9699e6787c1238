"""Which rung is taken on which machine, and why the others are not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from engines.image_edit.machines import (
    A100,
    AUTO,
    CARDS,
    H200,
    L40S,
    RTX3090,
    RTX4060,
    RTX4080,
    RTX4090,
    SIZES,
    ladder,
    machine,
    taken,
)

from studio.core.settings import ROOT
from studio.engines.workers.image_edit import calibration as cal
from studio.engines.workers.image_edit.ladder import (
    RUNGS,
    Ask,
    NoRung,
    Work,
    choose,
    rungs,
)
from studio.engines.workers.image_edit.machine import GIB, Card, Machine
from studio.engines.workers.image_edit.rung import ON_CPU, ROUNDED
from studio.engines.workers.image_edit.sizes import published, read_sizes
from studio.engines.workers.image_edit.worked import Worked


@pytest.mark.parametrize(
    ("on", "rung"),
    [
        (machine(H200), "whole"),
        (machine(H200, host=8), "whole"),
        (machine(H200, 2), "whole"),
        (machine(A100), "whole"),
        (machine(L40S), "resident"),
        (machine(L40S, 2), "resident"),
        (machine(RTX4090, 2, host=122), "split"),
        (machine(RTX4090, 2, host=60), "split"),
        (machine(RTX4090, 2, host=30), "split"),
        (machine(RTX4090, host=122), "groups"),
        (machine(RTX4090, host=60), "groups"),
        (machine(RTX4090, host=30), "fp8"),
        (machine(RTX3090, host=60), "groups"),
        (machine(RTX4080, host=60), "groups"),
        (machine(RTX4080, host=30), "fp8"),
        (machine(RTX4080, host=20), "nf4"),
        (machine(RTX4060, host=62), "groups"),
        (machine(RTX4060, host=45), "fp8"),
        (machine(RTX4060, host=30), "cpu-fp8"),
        (machine(host=122), "cpu"),
        (machine(host=62), "cpu"),
        (machine(host=30), "cpu-fp8"),
        (machine(host=14), ""),
    ],
    ids=lambda value: (
        value
        if isinstance(value, str)
        else f"{len(value.cards)}x{value.cards[0].name.split()[-1] if value.cards else 'CPU'}"
        f"-{value.host_total_bytes // GIB}"
    ),
)
def test_what_runs_where(on: Machine, rung: str) -> None:
    assert taken(on) == rung


def test_one_4090_says_why_not() -> None:
    found = ladder(machine(RTX4090, host=60))
    said = r"It needs 5[34]\.\d GiB on card 0 and 23\.1 GiB are free\."
    assert re.fullmatch(said, found["whole"].why)
    assert re.match(r"It needs (39|40)\.", found["resident"].why)
    assert found["split"].why == "It needs two cards, and there is one."
    assert found["groups"].why.startswith("It fits: 22.") and "streamed" in found["groups"].why
    assert found["fp8"].fits and found["nf4"].fits and found["leaf"].fits
    assert found["cpu"].why.startswith("It fits: 5") or "GiB of host memory" in found["cpu"].why


def test_a_cpu_says_why_not() -> None:
    found = ladder(machine(host=30))
    for name in set(RUNGS) - ON_CPU:
        assert found[name].why == "It needs a card, and there is none."
        assert not found[name].possible
    assert found["cpu"].why.endswith("GiB of host memory and 29.0 GiB are free.")
    assert not found["cpu"].possible


def test_exact_weights_go_first_where_they_cost_little() -> None:
    """Half of the blocks stay on a 4090; the others arrive while it computes."""
    found = ladder(machine(RTX4090, host=60))
    order = list(found)
    assert order.index("groups") < order.index("fp8") < order.index("leaf")
    groups = found["groups"]
    assert 20 < groups.cards[0].resident < 40 and groups.streamed_blocks > 20
    assert groups.seconds.step_s <= 1.25 * found["fp8"].seconds.step_s


def test_rounded_weights_go_first_where_they_are_much_faster() -> None:
    """Compiled, fp8 takes 0.247 s a pass on an H200 where bfloat16 takes 0.38."""
    on = machine(H200, limit=24)
    assert taken(on) == "groups"
    assert taken(on, compiled=True) == "fp8"


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("host", [20, 30, 45, 62, 120])
def test_nothing_that_fits_is_larger_than_its_room(name: str, host: int) -> None:
    for count in (1, 2):
        on = machine(name, count, host=host)
        for rung in ladder(on).values():
            if rung.fits:
                assert rung.host_peak_bytes <= on.host_available_bytes
                for need in rung.cards:
                    assert need.bytes <= on.cards[need.card].free_bytes, rung.name
                blocks = sum(need.blocks for need in rung.cards)
                assert blocks == (0 if rung.name in ON_CPU else 60), rung.name


@pytest.mark.parametrize("name", CARDS)
def test_more_memory_never_makes_it_slower(name: str) -> None:
    before = float("inf")
    for host in (30, 45, 62, 80, 120):
        on = machine(name, host=host)
        ask = Ask(work=AUTO)
        seconds = choose(rungs(SIZES, on, ask), ask).seconds.step_s
        assert seconds <= before * 1.26  # exact weights may cost a quarter
        before = seconds


# what a person asks for -------------------------------------------------------------------------


def test_a_forced_rung_is_taken_even_if_the_card_looks_too_small() -> None:
    assert taken(machine(RTX4090), rung="whole") == "whole"
    assert taken(machine(H200), rung="leaf") == "leaf"


def test_a_forced_rung_is_refused_where_the_kernel_would_kill() -> None:
    ask = Ask(rung="leaf", work=AUTO)
    with pytest.raises(NoRung, match=r"Rung leaf cannot be taken\. It needs 5\d\.\d GiB of host"):
        choose(rungs(SIZES, machine(RTX4090, host=30), ask), ask)
    ask = Ask(rung="split", work=AUTO)
    with pytest.raises(NoRung, match="It needs two cards, and there is one"):
        choose(rungs(SIZES, machine(RTX4090), ask), ask)


def test_a_rung_nobody_knows() -> None:
    ask = Ask(rung="turbo")
    with pytest.raises(NoRung, match="There is no rung turbo"):
        choose(rungs(SIZES, machine(H200), ask), ask)


def test_the_cpu_or_the_cards_alone() -> None:
    assert taken(machine(H200), device="cpu") == "cpu"
    assert taken(machine(RTX4060, host=30), device="cuda") == ""
    assert ladder(machine(H200), device="cpu")["whole"].why.startswith("The cards are left out")


def test_without_rounding() -> None:
    assert taken(machine(RTX4090, host=30), allow_quantized=False) == ""
    found = ladder(machine(RTX4090, host=60), allow_quantized=False)
    assert not any(found[name].fits for name in ROUNDED)


def test_a_gguf_file_takes_the_place_of_rounding() -> None:
    q4 = published(gguf_bytes=13_200_000_000)
    found = ladder(machine(RTX4090, host=30), q4)
    assert found["fp8"].why == "The transformer comes from a GGUF file as it is."
    assert taken(machine(RTX4090, host=30), q4) == "resident"
    assert taken(machine(A100, host=30), q4) == "whole"
    assert taken(machine(host=40), q4) == "cpu"


def test_float32_doubles_everything() -> None:
    plain, wide = ladder(machine(H200)), ladder(machine(H200), dtype="float32")
    assert wide["whole"].cards[0].bytes > 1.9 * plain["whole"].cards[0].bytes
    assert wide["int8"].why == "It computes in half precision, and dtype is float32."


def test_large_pictures_need_more() -> None:
    small, large = AUTO, Work(width=2048, height=2048, references=3, cfg_mode="auto")
    one, other = ladder(machine(A100)), ladder(machine(A100), work=large)
    assert other["whole"].cards[0].activations > one["whole"].cards[0].activations
    assert other["whole"].seconds.step_s > 3 * one["whole"].seconds.step_s
    assert small.passes == large.passes == 2


def test_the_vae_works_in_tiles_only_where_it_must() -> None:
    assert not ladder(machine(H200))["whole"].tiling
    tight = machine(A100, limit=55)
    assert ladder(tight)["whole"].tiling and ladder(tight)["whole"].fits
    assert not ladder(tight, vae_tiling="never")["whole"].fits
    assert ladder(machine(H200), vae_tiling="always")["whole"].tiling


def test_cfg_is_batched_where_transfers_bind() -> None:
    on = machine(H200, limit=8)
    auto, sequential = ladder(on)["groups"], ladder(on, work=Work())["groups"]
    assert auto.cfg_mode == "batched"
    assert auto.seconds.step_s < sequential.seconds.step_s
    assert ladder(machine(H200))["whole"].cfg_mode == "sequential"


def test_the_text_encoder_goes_to_the_second_card() -> None:
    two = ladder(machine(L40S, 2))["resident"]
    assert (two.text_encoder, two.text_encoder_card) == ("card", 1)
    assert two.cards[1].text_encoder == 2 * SIZES.text_encoder.used_params
    one = ladder(machine(L40S))["resident"]
    assert (one.text_encoder, one.text_encoder_card) == ("streamed", None)
    assert one.host_bytes - two.host_bytes == 2 * SIZES.text_encoder.used_params


def test_split_deals_out_what_each_card_has_room_for() -> None:
    found = ladder(machine(RTX4090, 2))["split"]
    assert sum(need.blocks for need in found.cards) == 60
    assert found.streamed_blocks == 0
    assert found.cards[0].blocks < found.cards[1].blocks  # the first has the VAE too
    uneven = Machine(
        (
            Card(0, RTX4080, 16 * GIB, 15 * GIB, 8.9),
            Card(1, RTX4090, 24 * GIB, 23 * GIB, 8.9),
        ),
        100 * GIB,
    )
    found = ladder(uneven)["split"]
    assert found.card == 1  # the emptiest card comes first
    assert found.streamed_blocks > 0 and found.fits


def test_fp8_products_where_the_card_can() -> None:
    assert ladder(machine(RTX4090))["fp8"].fp8_compute
    assert not ladder(machine(RTX3090))["fp8"].fp8_compute
    assert not ladder(machine(RTX4090), fp8_compute=False)["fp8"].fp8_compute
    assert not ladder(machine(RTX4090))["groups"].fp8_compute


def test_four_bits_need_their_package() -> None:
    found = ladder(machine(RTX4080, host=20), bitsandbytes=False)
    assert found["nf4"].why == "bitsandbytes is not installed in the environment."
    assert taken(machine(RTX4080, host=20), bitsandbytes=False) == ""


# what happened before ---------------------------------------------------------------------------


def test_a_rung_that_failed_in_this_run_is_skipped() -> None:
    on = machine(H200)
    assert taken(on, skip={"whole": "out of memory at step 3"}) == "resident"
    found = ladder(on, skip={"whole": "out of memory at step 3"})
    assert found["whole"].why == "It failed: out of memory at step 3"
    assert taken(on, rung="whole", skip={"whole": "out of memory"}) == ""


def test_int8_does_not_repeat_what_fp8_failed_with() -> None:
    skip = dict.fromkeys(("fp8", "groups"), "out of memory")
    assert taken(machine(RTX4090, host=30), skip=skip) == "nf4"


def test_every_rung_can_fail_and_then_there_is_none() -> None:
    skip: dict[str, str] = {}
    fallen = []
    while rung := taken(machine(RTX4090, 2), skip=skip):
        fallen.append(rung)
        skip[rung] = "out of memory"
    assert fallen[0] == "split" and fallen[-1] == "cpu-fp8"
    assert len(fallen) == len(set(fallen)) > 5


def test_what_failed_here_before_is_not_tried_again() -> None:
    on = machine(H200)
    free = [card.free_bytes for card in on.cards]
    told = Worked(failed={"whole": {"reason": "out of memory at step 1", "free": free}})
    assert taken(on, worked=told) == "resident"
    found = ladder(on, worked=told)
    assert found["whole"].why == "It failed here before: out of memory at step 1"
    assert taken(on, worked=told, rung="whole") == "whole"
    less = Worked(failed={"whole": {"reason": "x", "free": [size // 2 for size in free]}})
    assert taken(on, worked=less) == "whole"


def test_measured_seconds_replace_expected_ones() -> None:
    told = {"step_s": 0.5, "load_s": 20.0, "decode_s": 0.1, "work": AUTO.as_dict()}
    found = ladder(machine(H200), worked=Worked(seconds={"whole": told}))
    assert found["whole"].seconds.measured and found["whole"].seconds.step_s == 0.5
    assert found["whole"].seconds.load_s == 20.0 + cal.IMPORT_S
    assert not found["fp8"].seconds.measured
    half = replace(AUTO, steps=20, cfg=False)
    scaled = ladder(machine(H200), work=half, worked=Worked(seconds={"whole": told}))["whole"]
    assert scaled.seconds.step_s == pytest.approx(0.25, rel=0.02)
    ends = scaled.seconds.encode_s + scaled.seconds.decode_s
    assert scaled.seconds.picture_s == pytest.approx(ends + 5.0, rel=0.02)


def test_a_small_picture_says_little_about_large_ones() -> None:
    """What does not grow with the picture is not scaled with it."""
    tiny = read_sizes(ROOT / "assets/models/tiny-qwen-image-edit")
    told = {"step_s": 0.135, "work": Work(width=128, height=128, reference_pixels=16384).as_dict()}
    found = ladder(machine(host=10), tiny, worked=Worked(seconds={"cpu": told}))
    assert 0.135 < found["cpu"].seconds.step_s < 2.0


def test_plain_values_for_events() -> None:
    told = ladder(machine(RTX4090))["groups"].as_dict()
    for key in ("rung", "fits", "why", "card_bytes", "host_bytes", "step_s", "load_s"):
        assert key in told
    need = told["cards"][0]
    kinds = ("transformer", "text_encoder", "vae", "activations")
    assert told["card_bytes"] == [sum(need[kind] for kind in kinds)]


# the tiny model of the tests --------------------------------------------------------------------


def test_a_cpu_in_disguise_has_every_rung_but_nf4() -> None:
    tiny = read_sizes(ROOT / "assets/models/tiny-qwen-image-edit")
    card = Card(0, "CPU in disguise", 24 * GIB, 24 * GIB)
    on = Machine((card, replace(card, index=1)), 8 * GIB, 8 * GIB, 2, pretended=True)
    found = ladder(on, tiny, dtype="bfloat16")
    assert [name for name, rung in found.items() if not rung.fits] == ["nf4"]
    assert found["nf4"].why == "bitsandbytes needs a CUDA card."
    assert taken(on, tiny) == "whole"

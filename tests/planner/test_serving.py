"""What a server needs on each card, against what vLLM measured and against its own formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planner.planning import (
    GIB,
    MIB,
    NO_HUB,
    TINY,
    config,
    h200,
    plan,
    plan_again,
    rtx4090,
    v100,
)

from studio.core.settings import ROOT
from studio.core.spec import Serving
from studio.planner import calibration as cal
from studio.planner.models import find_model
from studio.planner.result import CardMemory, ServingPlan
from studio.planner.serving import plan_serving
from studio.planner.shapes import CannotPlan
from studio.planner.tensors import tensors_of

SEVEN = "Qwen/Qwen2.5-7B-Instruct"


# --- against the H200 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tp", "weights_gib", "kv_tokens", "used_mib"),
    [(1, 14.29, 2_063_088, 130_853), (2, 7.16, 4_410_656, 132_261)],
)
def test_7b_on_h200_as_vllm_measured_it(
    tp: int, weights_gib: float, kv_tokens: int, used_mib: int
) -> None:
    """vLLM 0.26.0, Qwen2.5-7B shape, gpu_memory_utilization 0.9."""
    p = plan(SEVEN, h200(tp), tensor_parallel_size=tp, dummy_weights=True)
    assert p.fits
    assert p.weights_bytes / GIB == pytest.approx(weights_gib, rel=0.001)
    assert p.kv_tokens == pytest.approx(kv_tokens, rel=0.005)
    used = p.cards[0].total_bytes - p.cards[0].of("free") - cal.driver_bytes("H200")
    assert used / MIB == pytest.approx(used_mib, rel=0.005)


def test_kv_tokens_are_what_is_left_in_whole_blocks() -> None:
    p = plan(SEVEN, h200(), dummy_weights=True)
    card = p.cards[0]
    budget = 0.9 * (card.total_bytes - cal.driver_bytes(card.name))
    taken = card.of("weights") + card.of("activations") + card.of("graphs") + cal.RUNTIME_BYTES
    assert p.kv_bytes_per_token == 56 * 1024
    assert p.kv_tokens % cal.BLOCK_TOKENS == 0
    assert p.kv_tokens == (budget - taken) // (56 * 1024 * 16) * 16
    assert p.users == p.kv_tokens / 32768
    assert p.users_at == {1024: p.kv_tokens / 1024, 4096: p.kv_tokens / 4096, 16384: p.users * 2}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tensor_parallel_size": 2},
        {"pipeline_parallel_size": 2},
        {"data_parallel_size": 2},
        {"max_loras": 4, "draft_model": "Qwen/Qwen2.5-0.5B-Instruct"},
        {"backend": "sglang"},
        {"backend": "hf"},
        {"gpu_memory_utilization": 0.95},
        {"max_model_len": 1_000_000},
    ],
)
def test_the_parts_fill_the_card(settings: dict) -> None:
    for card in plan(SEVEN, rtx4090(2), **settings).cards:
        total = sum(part.bytes for part in card.parts)
        assert total == card.total_bytes or (card.over_bytes and total > card.total_bytes)


# --- how settings move it -------------------------------------------------------------------------


def test_the_share_of_the_card() -> None:
    low, high = (plan(SEVEN, h200(), gpu_memory_utilization=u) for u in (0.5, 0.8))
    more = 0.3 * (143771 * MIB - cal.driver_bytes("H200"))
    assert high.kv_tokens - low.kv_tokens == pytest.approx(more / (56 * 1024), abs=16)


def test_a_cache_of_a_given_size() -> None:
    p = plan(SEVEN, rtx4090(), kv_cache_memory_bytes=2 * GIB, max_model_len=4096)
    assert p.fits
    assert p.kv_tokens == 2 * GIB // (56 * 1024 * 16) * 16
    assert not plan(SEVEN, rtx4090(), kv_cache_memory_bytes=12 * GIB).fits


@pytest.mark.parametrize(("kv", "each"), [("auto", 2), ("fp8", 1), ("fp8_e5m2", 1), ("float32", 4)])
def test_the_type_of_the_cache(kv: str, each: int) -> None:
    assert plan(SEVEN, h200(), kv_cache_dtype=kv).kv_bytes_per_token == 28 * 1024 * each


def test_eager_mode_has_no_graphs() -> None:
    with_graphs, without = (plan(SEVEN, rtx4090(), enforce_eager=e) for e in (False, True))
    assert without.cards[0].of("graphs") == 0 < with_graphs.cards[0].of("graphs")
    assert without.kv_tokens > with_graphs.kv_tokens


def test_replicas_add_up_and_stages_share() -> None:
    one = plan(SEVEN, rtx4090())
    two = plan(SEVEN, rtx4090(2), data_parallel_size=2)
    assert (two.kv_tokens, two.kv_tokens_replica) == (2 * one.kv_tokens, one.kv_tokens)
    staged = plan(SEVEN, rtx4090(2), pipeline_parallel_size=2)
    assert staged.kv_bytes_per_token == one.kv_bytes_per_token // 2
    assert staged.kv_tokens > 3 * one.kv_tokens
    assert [card.card for card in staged.cards] == [0, 1]


def test_adapters_and_a_draft_model_take_their_part() -> None:
    base = plan(SEVEN, h200())
    p = plan(SEVEN, h200(), max_loras=2, max_lora_rank=16, draft_model="Qwen/Qwen2.5-0.5B-Instruct")
    card = p.cards[0]
    assert card.of("draft") == pytest.approx(494_032_768 * 2, rel=0.05)
    assert card.of("lora") == 2 * 40_370_176 * 2
    assert p.weights_bytes == base.weights_bytes + card.of("draft") + card.of("lora")
    assert p.kv_bytes_per_token == (56 + 12) * 1024
    unknown = plan(SEVEN, h200(), draft_model="some/body")
    assert ("draft_unknown", {"model": "some/body"}) in unknown.notes


def test_packing_while_loading_halves_the_linear_layers() -> None:
    plain, eight, four = (
        plan(SEVEN, h200(), quantization=q, dtype="bfloat16") for q in (None, "fp8", "bitsandbytes")
    )
    linear = 6_525_288_448  # attention and MLP without biases
    assert plain.weights_bytes - eight.weights_bytes == pytest.approx(linear, rel=0.02)
    assert plain.weights_bytes - four.weights_bytes == pytest.approx(linear * 11.5 / 8, rel=0.02)


def test_packing_while_loading_packs_the_tower_too() -> None:
    name = "Qwen/Qwen2-VL-7B-Instruct"
    plain, eight = (plan(name, h200(), quantization=q) for q in (None, "fp8"))
    linear = 6_525_288_448 + 32 * 12 * 1280**2 + 5120**2 + 5120 * 3584
    assert plain.weights_bytes - eight.weights_bytes == pytest.approx(linear, rel=0.02)


def test_a_window_limits_what_one_user_keeps(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config("mistral-7b-v0.1")))
    p = plan(str(tmp_path), rtx4090(), max_num_batched_tokens=2048)
    assert p.fits
    kept = (4096 - 1 + 2048 + 15) // 16 * 16 + 16
    assert p.users == p.kv_tokens / kept
    assert ("sliding_window", {"tokens": 4096}) in p.notes


@pytest.mark.parametrize(
    ("card", "batch", "seqs"),
    [("NVIDIA H200", 8192, 1024), ("RTX 4090", 2048, 256), ("NVIDIA A100-SXM4-80GB", 2048, 256)],
)
def test_a_server_that_is_told_nothing_chooses_by_its_card(
    card: str, batch: int, seqs: int
) -> None:
    size = 24564 * MIB if "4090" in card else 81920 * MIB
    p = plan(SEVEN, [CardMemory(0, card, size, 0)])
    assert (p.max_num_batched_tokens, p.max_num_seqs) == (batch, seqs)


def test_float16_where_there_is_no_bfloat16() -> None:
    p = plan(SEVEN, v100())
    assert p.fits
    assert ("float16", {"name": "Tesla V100-SXM2-32GB"}) in p.notes
    refused = plan(SEVEN, v100(), dtype="bfloat16")
    assert (refused.fits, refused.reason) == (False, "bfloat16")
    assert [a.changes for a in refused.advice] == [{"dtype": "float16"}]


def test_pictures_need_room_for_the_tower() -> None:
    text = plan(SEVEN, rtx4090())
    seeing = plan("Qwen/Qwen2-VL-7B-Instruct", rtx4090())
    assert seeing.cards[0].of("activations") > text.cards[0].of("activations") + GIB
    assert ("vision", {}) in seeing.notes


# --- what does not fit ----------------------------------------------------------------------------


def test_too_long_a_context_says_how_much_there_is() -> None:
    p = plan("Qwen/Qwen2.5-7B", rtx4090())
    assert (p.fits, p.reason) == (False, "cache")
    assert p.max_model_len == 131_072
    assert p.values["need_bytes"] == 131_072 * 56 * 1024
    assert p.values["most"] == p.kv_tokens < 131_072
    assert p.cards[0].over_bytes == p.values["need_bytes"] - p.values["have_bytes"]


def test_weights_that_do_not_fit_say_by_how_much() -> None:
    p = plan("Qwen/Qwen2.5-14B-Instruct", rtx4090())
    assert (p.fits, p.reason, p.kv_tokens) == (False, "weights", 0)
    short = p.values["need_bytes"] - p.values["have_bytes"]
    assert p.cards[0].over_bytes == short + 32768 * 192 * 1024


def test_memory_that_others_hold_stops_the_start() -> None:
    p = plan(SEVEN, h200(used=40 * GIB))
    assert (p.fits, p.reason) == (False, "others")
    assert p.cards[0].of("other") == 40 * GIB
    assert plan(SEVEN, [*h200(used=40 * GIB), CardMemory(1, "NVIDIA H200", 143771 * MIB, 0)]).fits


def test_a_share_that_leaves_no_room_for_cuda() -> None:
    p = plan(SEVEN, rtx4090(), gpu_memory_utilization=0.99)
    assert (p.fits, p.reason) == (False, "share")


@pytest.mark.parametrize(
    ("reason", "model", "cards", "settings"),
    [
        ("cards", SEVEN, 1, {"tensor_parallel_size": 2}),
        ("cards", SEVEN, 3, {"tensor_parallel_size": 2, "data_parallel_size": 2}),
        ("heads", SEVEN, 8, {"tensor_parallel_size": 8}),
        ("kv_heads", "Qwen/Qwen2.5-0.5B", 7, {"tensor_parallel_size": 7}),
        ("layers", SEVEN, 32, {"pipeline_parallel_size": 32}),
        ("positions", SEVEN, 1, {"max_model_len": 65536}),
        ("quantization_missing", SEVEN, 1, {"quantization": "awq_marlin"}),
        ("quantization_other", f"{SEVEN}-AWQ", 1, {"quantization": "gptq"}),
        ("group", "Qwen/Qwen2.5-14B-Instruct-AWQ", 8, {"tensor_parallel_size": 8}),
        ("vision_heads", "wide-tower", 2, {"tensor_parallel_size": 2}),
        ("width", "odd-ffn", 2, {"tensor_parallel_size": 2}),
    ],
)
def test_launches_that_cannot_work_at_any_size(
    tmp_path: Path, reason: str, model: str, cards: int, settings: dict
) -> None:
    odd = {
        "wide-tower": {
            **config("qwen2-vl-7b"),
            "vision_config": {**config("qwen2-vl-7b")["vision_config"], "num_heads": 15},
        },
        "odd-ffn": {**config("qwen2.5-7b"), "intermediate_size": 18943},
    }
    if model in odd:
        (tmp_path / "config.json").write_text(json.dumps(odd[model]))
        model = str(tmp_path)
    p = plan(model, h200(cards), **settings)
    assert (p.fits, p.reason) == (False, reason)


def test_a_packing_that_is_too_new_for_the_card() -> None:
    p = plan(f"{SEVEN}-AWQ", v100())
    assert (p.fits, p.reason) == (False, "quantization_card")
    assert plan(f"{SEVEN}-AWQ", v100(), quantization="awq").reason == "quantization_card"


def test_a_full_disk_is_known_before_the_download() -> None:
    p = plan_again(Serving(model=SEVEN), h200(), disk_free=GIB)
    assert (p.fits, p.reason) == (False, "disk")
    assert p.download_bytes == 7_615_616_512 * 2
    assert plan_again(Serving(model=SEVEN), h200(), disk_free=20 * GIB).fits
    assert plan_again(Serving(model=SEVEN, dummy_weights=True), h200(), disk_free=GIB).fits


# --- other engines, no cards ----------------------------------------------------------------------


def test_sglang_shares_what_is_free_after_the_context() -> None:
    p = plan(SEVEN, rtx4090(), backend="sglang", gpu_memory_utilization=0.85)
    free = 24564 * MIB - cal.driver_bytes("RTX 4090") - cal.CONTEXT_BYTES
    left = int(free * 0.85) - p.weights_bytes - cal.RUNTIME_BYTES
    assert p.kv_tokens == left // (56 * 1024)
    tight = plan(SEVEN, rtx4090(), backend="sglang", gpu_memory_utilization=0.99)
    assert (tight.fits, tight.reason) == (False, "reserve")


def test_transformers_serves_one_user_from_what_is_free() -> None:
    p = plan(SEVEN, rtx4090(2), backend="hf")
    assert p.fits
    assert (p.users, p.max_model_len, len(p.cards)) == (1.0, 4096, 1)
    assert p.cards[0].of("cache") == 4096 * 56 * 1024
    assert p.cards[0].of("graphs") == 0
    long = plan(SEVEN, rtx4090(), backend="hf", max_model_len=32768)
    assert long.cards[0].of("activations") == 32768 * (2 * 3584 + 3 * 18944) * 2


def test_without_cards_the_host_is_planned() -> None:
    p = plan(TINY, [], host_free=8 * GIB, dtype="float32", kv_cache_memory_bytes=64 * MIB)
    assert p.fits
    assert (p.kv_tokens, p.kv_bytes_per_token) == (32_768, 2048)
    (host,) = p.cards
    assert host.card is None
    assert host.of("cache") == 64 * MIB
    assert host.of("other") == 56 * GIB
    assert host.of("weights") == 1_706_240 * 4 + 2048 * 32 * 4
    assert p.host_bytes == sum(
        host.of(k) for k in ("weights", "cache", "activations", "runtime")
    )  # fmt: skip


def test_two_ranks_on_the_host_share_the_weights_and_each_has_a_cache() -> None:
    one, two = (
        plan(TINY, [], host_free=8 * GIB, kv_cache_memory_bytes=MIB, tensor_parallel_size=n,
             max_model_len=512)
        for n in (1, 2)
    )  # fmt: skip
    assert two.cards[0].of("cache") == 2 * MIB
    assert two.kv_tokens == 2 * one.kv_tokens
    assert two.cards[0].of("runtime") - one.cards[0].of("runtime") == cal.HOST_WORKER_BYTES


def test_a_host_without_a_given_cache_takes_nearly_everything() -> None:
    p = plan(TINY, [], host_free=32 * GIB)
    assert (p.fits, p.reason) == (False, "host")
    assert [set(a.changes) for a in p.advice] == [{"kv_cache_memory_bytes"}]
    assert plan(TINY, [], host_free=8 * GIB, kv_cache_memory_bytes=9 * GIB).reason == "host"


def test_the_machine_is_asked_when_nobody_says_what_is_free() -> None:
    need = Serving(model=TINY, kv_cache_memory_bytes=MIB, max_model_len=256)
    assert plan_serving(need, cards=[], root=ROOT).cards[0].total_bytes > GIB


# --- where a model is -----------------------------------------------------------------------------


def test_a_folder_is_read_and_a_hub_id_is_known_by_its_published_shape(tmp_path: Path) -> None:
    local = find_model(TINY, ROOT, hub=NO_HUB)
    assert (local.measured, local.download_bytes, local.params) == (True, 0, 1_706_240)
    far = find_model(SEVEN, ROOT, hub=NO_HUB)
    assert (far.measured, far.download_bytes) == (False, 7_615_616_512 * 2)
    with pytest.raises(CannotPlan, match="not on this machine"):
        find_model("some/body", ROOT, hub=NO_HUB)


def test_a_snapshot_in_the_hubs_cache_is_found(tmp_path: Path) -> None:
    old, new = (tmp_path / "models--some--body" / "snapshots" / name for name in ("old", "new"))
    for folder, layers in ((old, 2), (new, 3)):
        folder.mkdir(parents=True)
        text = json.dumps({**config("qwen2.5-0.5b"), "num_hidden_layers": layers})
        (folder / "config.json").write_text(text)
    refs = tmp_path / "models--some--body" / "refs"
    refs.mkdir()
    (refs / "main").write_text("old")
    assert find_model("some/body", ROOT, hub=tmp_path).shape.layers == 2


def test_a_half_finished_download_counts_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "models--some--body" / "snapshots" / "a"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config("qwen2.5-0.5b")))
    (folder / "model.safetensors").write_bytes(b"\0" * 1000)
    model = find_model("some/body", ROOT, hub=tmp_path)
    assert model.download_bytes == sum(t.bytes for t in tensors_of(model.shape)) - 1000


# --- the plan as a record -------------------------------------------------------------------------


def test_a_plan_goes_to_json_and_back() -> None:
    for p in (plan(SEVEN, rtx4090()), plan("Qwen/Qwen2.5-72B-Instruct", rtx4090(2))):
        text = json.dumps(p.model_dump(mode="json"))
        assert ServingPlan.model_validate_json(text) == p


def test_notes_that_matter() -> None:
    assert [key for key, _ in plan(SEVEN, rtx4090()).notes] == ["published"]
    assert not plan(SEVEN, rtx4090(), dummy_weights=True).notes
    assert ("max_num_seqs", {"max_num_seqs": 4}) in plan(SEVEN, h200(), max_num_seqs=4).notes
    four = plan("Qwen/Qwen2.5-3B-Instruct", h200(4), tensor_parallel_size=4)
    assert ("kv_heads", {"heads": 2, "tensor_parallel_size": 4}) in four.notes

"""Who holds which weights: tensor and pipeline parallel, and what the allocator adds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from planner.planning import GIB, MIB, shape

from studio.planner.lora import lora_bytes
from studio.planner.shapes import ModelShape
from studio.planner.tensors import Tensor, parameters, tensors_of
from studio.planner.weights import (
    allocated,
    card_weights,
    padded_vocab,
    place,
    rotary_bytes,
    share,
    stages,
)


def on_cards(s: ModelShape, *, tp: int = 1) -> list[int]:
    return card_weights(tensors_of(s), s, dtype=s.dtype, tp=tp)


def held(tensor: Tensor, s: ModelShape, tp: int) -> Fraction:
    """Which part of a tensor one card holds."""
    return Fraction(*share(tensor, place(tensor.name), s, tp))


def plain(s: ModelShape, *, tp: int = 1, pp: int = 1) -> list[int]:
    """Weights without the allocator and the rotary table, stage by stage."""
    rotary = rotary_bytes(s, s.dtype)
    sizes = card_weights(tensors_of(s), s, dtype=s.dtype, on_card=False, tp=tp, pp=pp)
    return [size - rotary for size in sizes]


def test_vllm_measured_7b_on_an_h200() -> None:
    """vLLM 0.26.0 said 14.29 GiB on one card and 7.16 GiB on each of two."""
    s = shape("qwen2.5-7b")
    assert round(on_cards(s)[0] / GIB, 2) == 14.29
    assert round(on_cards(s, tp=2)[0] / GIB, 2) == 7.16


def test_one_card_holds_everything_and_two_hold_half_and_the_norms() -> None:
    s = shape("qwen2.5-7b")
    params, counts = sum(parameters(s).values()), parameters(s)
    assert plain(s) == [params * 2]
    assert plain(s, tp=2) == [(params - counts["norms"]) + counts["norms"] * 2]


@pytest.mark.parametrize("tp", [1, 2, 4])
@pytest.mark.parametrize(
    "name", ["qwen2.5-7b", "qwen2.5-14b", "qwen3-8b", "llama-3.1-8b", "mixtral-8x7b", "qwen2-vl-7b"]
)
def test_the_cards_together_hold_the_model_and_copies_of_what_is_not_split(
    name: str, tp: int
) -> None:
    s = shape(name)
    whole = [t for t in tensors_of(s) if tp > 1 and held(t, s, tp) == 1]
    copies = sum(t.bytes for t in whole) * (tp - 1)
    assert plain(s, tp=tp)[0] * tp == sum(t.bytes for t in tensors_of(s)) + copies
    assert copies < 0.01 * sum(t.bytes for t in tensors_of(s))


def test_fewer_key_heads_than_cards_are_copied() -> None:
    s = shape("qwen2.5-7b")
    k = Tensor("model.layers.0.self_attn.k_proj.weight", "BF16", (512, 3584))
    q = Tensor("model.layers.0.self_attn.q_proj.weight", "BF16", (3584, 3584))
    assert [held(k, s, tp) * 4 for tp in (1, 2, 4, 7)] == [4, 2, 1, 1]
    assert held(q, s, 7) * 7 == 1
    assert s.kv_bytes_per_token(2, tp=4) == s.kv_bytes_per_token(2, tp=28) == 56 * 1024 // 4


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("model.layers.3.self_attn.q_proj.bias", True),
        ("model.layers.3.self_attn.o_proj.weight", True),
        ("model.layers.3.self_attn.o_proj.bias", False),
        ("model.layers.3.self_attn.q_norm.weight", False),
        ("model.layers.3.mlp.down_proj.weight", True),
        ("model.layers.3.mlp.gate.weight", False),
        ("model.layers.3.mlp.experts.7.up_proj.weight", True),
        ("model.layers.3.mlp.shared_expert_gate.weight", False),
        ("model.layers.3.block_sparse_moe.experts.7.w2.weight", True),
        ("model.layers.3.input_layernorm.weight", False),
        ("model.norm.weight", False),
        ("model.embed_tokens.weight", True),
        ("lm_head.weight", True),
        ("model.layers.3.mlp.down_proj.qweight", True),
        ("model.layers.3.mlp.down_proj.g_idx", True),
        ("model.layers.3.mlp.up_proj.g_idx", False),
        ("model.layers.3.mlp.up_proj.weight_scale_inv", True),
        ("visual.blocks.3.attn.qkv.weight", True),
        ("visual.blocks.3.attn.proj.bias", False),
        ("visual.blocks.3.norm1.weight", False),
        ("visual.blocks.3.mlp.fc1.bias", True),
        ("visual.blocks.3.mlp.down_proj.bias", False),
        ("visual.merger.mlp.0.weight", True),
        ("visual.merger.mlp.2.bias", False),
        ("visual.patch_embed.proj.bias", False),
        ("model.language_model.layers.3.mlp.up_proj.weight", True),
        ("model.visual.blocks.3.attn.proj.weight", True),
    ],
)
def test_which_tensors_are_split(name: str, split: bool) -> None:
    tensor = Tensor(name, "BF16", (64, 64))
    assert (held(tensor, shape("qwen2-vl-7b"), 2) < 1) is split


def test_a_scale_for_the_whole_tensor_or_for_outputs_is_not_cut_by_inputs() -> None:
    s, down = shape("qwen2.5-7b"), "model.layers.0.mlp.down_proj."
    assert held(Tensor(f"{down}weight_scale", "F32", (1,)), s, 2) == 1
    per_output = Tensor(f"{down}weight_scale", "F32", (3584, 1))
    assert held(per_output, s, 2) == 1
    grouped = Tensor(f"{down}weight_scale", "BF16", (3584, 148))
    assert held(grouped, s, 2) * 2 == 1


def test_pipeline_stages_are_dealt_out_as_vllm_does() -> None:
    def sizes(layers: int, pp: int) -> list[int]:
        return [len(run) for run in stages(layers, pp)]

    assert sizes(28, 2) == [14, 14]
    assert sizes(28, 3) == [9, 10, 9]
    assert sizes(30, 4) == [7, 8, 8, 7]
    assert sizes(31, 4) == [8, 8, 8, 7]
    assert list(stages(28, 3)[1]) == list(range(9, 19))


def test_the_ends_of_a_pipeline_hold_embedding_and_head() -> None:
    s = shape("qwen2.5-7b")
    counts = {name: count * 2 for name, count in parameters(s).items()}
    layer = (counts["attention"] + counts["mlp"]) // 28 + 2 * s.hidden * 2
    assert plain(s, pp=2) == [
        14 * layer + counts["embedding"],
        14 * layer + counts["head"] + s.hidden * 2,
    ]
    tied = shape("qwen2.5-1.5b")
    first, last = plain(tied, pp=2)
    assert last - first == tied.hidden * 2
    assert first + last - plain(tied)[0] == tied.vocab * tied.hidden * 2


def test_the_tower_is_on_every_stage() -> None:
    s = shape("qwen2-vl-7b")
    text = shape("qwen2.5-7b")
    assert [a - b for a, b in zip(plain(s, pp=2), plain(text, pp=2), strict=True)] == [
        675_759_104 * 2
    ] * 2


def test_a_float32_checkpoint_is_held_in_what_it_is_served_in() -> None:
    s = shape("qwen2.5-0.5b", torch_dtype="float32")
    half = card_weights(tensors_of(s), s, dtype="bfloat16", on_card=False)[0]
    full = card_weights(tensors_of(s), s, dtype="float32", on_card=False)[0]
    assert full == 2 * half


def test_packed_weights_divide_over_cards() -> None:
    packing = {"quant_method": "awq", "bits": 4, "group_size": 128}
    s = shape("qwen2.5-32b", quantization_config=packing, torch_dtype="float16")
    one, two = plain(s)[0], plain(s, tp=2)[0]
    assert one == sum(t.bytes for t in tensors_of(s))
    assert two == pytest.approx(one / 2, rel=1e-3)
    eight = shape("qwen2.5-7b", quantization_config={"quant_method": "fp8"})
    assert plain(eight, tp=2)[0] == pytest.approx(plain(eight)[0] / 2, rel=1e-3)


def test_the_allocator_rounds_as_pytorch_does() -> None:
    assert allocated([1]) == 512
    assert allocated([3 * MIB + 1]) == 3 * MIB + 512
    assert allocated([31 * MIB + MIB // 2]) == 32 * MIB  # the rest is below 1 MiB
    assert allocated([24 * MIB + MIB // 2]) == 26 * MIB  # too big to be split
    assert allocated([12 * MIB + MIB // 4]) == 12 * MIB + MIB // 4  # split: the rest is free
    assert allocated([]) == allocated([0]) == 0


def test_the_vocabulary_is_padded_to_64() -> None:
    assert padded_vocab(152_064) == 152_064
    assert padded_vocab(32_001) == 32_064
    s = shape("qwen2.5-0.5b", vocab_size=32_001)
    padded = shape("qwen2.5-0.5b", vocab_size=32_064)
    assert plain(s) == plain(padded)


def test_adapters_take_the_formula_of_all_linear_layers() -> None:
    s = shape("qwen2.5-7b")
    h, q, kv, f = s.hidden, s.q_dim, s.kv_dim, s.intermediate
    formula = s.layers * 8 * ((h + q) + 2 * (h + kv) + (q + h) + 3 * (h + f))
    assert lora_bytes(s, slots=1, rank=8, each=2, tp=1, layers=28) == formula * 2
    assert lora_bytes(s, slots=4, rank=8, each=2, tp=1, layers=28) == formula * 8
    assert formula < lora_bytes(s, slots=1, rank=8, each=2, tp=2, layers=28) < formula * 2

"""Parameter counts and cache sizes against the published models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planner.planning import config, shape

from studio.core.settings import ROOT
from studio.planner.models import published_config
from studio.planner.shapes import CannotPlan, quantization_of, read_shape, shape_of
from studio.planner.tensors import parameters, tensors_of

GIB = 2**30

PUBLISHED = {
    # name: parameters, layers, hidden, FFN, heads, key heads, head dim, vocabulary, tied,
    #       bf16 GiB, KV KiB per token
    "qwen2.5-0.5b": (494_032_768, 24, 896, 4864, 14, 2, 64, 151_936, True, 0.92, 12),
    "qwen2.5-1.5b": (1_543_714_304, 28, 1536, 8960, 12, 2, 128, 151_936, True, 2.88, 28),
    "qwen2.5-3b": (3_085_938_688, 36, 2048, 11008, 16, 2, 128, 151_936, True, 5.75, 36),
    "qwen2.5-7b": (7_615_616_512, 28, 3584, 18944, 28, 4, 128, 152_064, False, 14.19, 56),
    "qwen2.5-14b": (14_770_033_664, 48, 5120, 13824, 40, 8, 128, 152_064, False, 27.51, 192),
    "qwen2.5-32b": (32_763_876_352, 64, 5120, 27648, 40, 8, 128, 152_064, False, 61.03, 256),
    "qwen2.5-72b": (72_706_203_648, 80, 8192, 29568, 64, 8, 128, 152_064, False, 135.43, 320),
    "qwen2-vl-7b": (8_291_375_616, 28, 3584, 18944, 28, 4, 128, 152_064, False, 15.44, 56),
    "qwen2.5-vl-7b": (8_292_166_656, 28, 3584, 18944, 28, 4, 128, 152_064, False, 15.45, 56),
}
OTHERS = {
    "qwen2-vl-2b": 2_208_985_600,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.1-8b": 8_030_261_248,
    "mistral-7b-v0.1": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_row_of_the_table_of_shapes(name: str) -> None:
    params, layers, hidden, ffn, heads, kv, dim, vocab, tied, gib, kib = PUBLISHED[name]
    s = shape(name)
    assert (s.layers, s.hidden, s.intermediate, s.heads, s.kv_heads, s.head_dim) == (
        layers, hidden, ffn, heads, kv, dim,
    )  # fmt: skip
    assert (s.vocab, s.tied) == (vocab, tied)
    assert sum(parameters(s).values()) == params
    assert sum(t.bytes for t in tensors_of(s)) == params * 2
    assert round(params * 2 / GIB, 2) == gib
    assert s.kv_bytes_per_token(2) == kib * 1024


@pytest.mark.parametrize("name", OTHERS)
def test_other_published_models_are_exact_too(name: str) -> None:
    assert sum(parameters(shape(name)).values()) == OTHERS[name]


def test_components_follow_the_formula_of_a_qwen2_layer() -> None:
    s = shape("qwen2.5-7b")
    h, q, kv, f, n = s.hidden, s.q_dim, s.kv_dim, s.intermediate, s.layers
    assert parameters(s) == {
        "embedding": s.vocab * h,
        "attention": n * (h * q + q + 2 * (h * kv + kv) + q * h),
        "mlp": n * 3 * h * f,
        "norms": n * 2 * h + h,
        "head": s.vocab * h,
        "vision": 0,
    }


def test_vision_towers() -> None:
    assert parameters(shape("qwen2-vl-7b"))["vision"] == 675_759_104
    assert parameters(shape("qwen2.5-vl-7b"))["vision"] == 676_550_144


def test_a_nested_config_is_the_same_model() -> None:
    flat = config("qwen2.5-vl-7b")
    keep = {"architectures", "model_type", "vision_config"}
    text = {k: v for k, v in flat.items() if k not in keep}
    nested = {k: flat[k] for k in keep} | {
        "text_config": {**text, "model_type": "qwen2_5_vl_text"},
    }
    assert shape_of(nested) == shape_of(flat)


def test_qwen3_has_a_head_size_of_its_own_and_norms_instead_of_biases() -> None:
    s = shape("qwen3-0.6b")
    assert (s.head_dim, s.q_dim, s.qkv_bias, s.qk_norm) == (128, 2048, False, True)
    names = {t.name for t in tensors_of(s)}
    assert "model.layers.0.self_attn.q_norm.weight" in names
    assert "model.layers.0.self_attn.q_proj.bias" not in names


def test_windows_count_only_when_every_layer_has_one() -> None:
    assert shape("mistral-7b-v0.1").sliding_window == 4096
    assert shape("qwen2.5-7b").sliding_window is None
    assert shape("qwen2.5-7b", use_sliding_window=True).sliding_window is None
    on = shape("qwen2.5-7b", use_sliding_window=True, max_window_layers=0, sliding_window=8192)
    assert on.sliding_window == 8192


def test_how_far_a_context_reaches() -> None:
    assert shape("qwen2.5-7b").max_positions == 32768
    linear = shape("qwen2.5-7b", rope_scaling={"type": "linear", "factor": 2.0})
    assert linear.max_positions == 65536
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    stretched = shape("qwen2.5-7b", rope_scaling=yarn)
    assert (stretched.max_positions, stretched.rope_rows) == (32768, 131072)
    assert shape("llama-3.1-8b").max_positions == 131072
    assert shape("qwen2-vl-7b").rope_rows == 4 * 32768


def test_the_tokenizer_may_be_shorter_than_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config("qwen2.5-7b")))
    assert read_shape(tmp_path).max_positions == 32768
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 8192}')
    assert read_shape(tmp_path).max_positions == 8192
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert read_shape(tmp_path).max_positions == 32768


def test_what_cannot_be_planned_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotPlan, match="no readable"):
        read_shape(tmp_path)
    with pytest.raises(CannotPlan, match="gemma3 model"):
        shape_of({"model_type": "gemma3"})
    with pytest.raises(CannotPlan, match="hidden_size"):
        shape_of({"model_type": "qwen2", "num_attention_heads": 4})
    with pytest.raises(CannotPlan, match="vision_config"):
        shape_of({**config("qwen2.5-7b"), "model_type": "qwen2_vl"})
    with pytest.raises(CannotPlan, match="hqq"):
        quantization_of({"quant_method": "hqq"})
    two = {"quant_method": "compressed-tensors", "config_groups": {"a": {}, "b": {}}}
    with pytest.raises(CannotPlan, match="several rules"):
        quantization_of(two)


def test_every_hub_id_of_the_index_has_a_shape() -> None:
    ids = json.loads((ROOT / "assets" / "shapes" / "index.json").read_text())
    assert len(ids) > 40
    for name in ids:
        published = published_config(name)
        assert published is not None
        packed = "AWQ" in name or "GPTQ" in name
        assert (shape_of(published).quantization is not None) == packed, name


PACKED = {
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4 + 16 / 128 + 4 / 128),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4 + 16 / 128 + 4 / 128),
    "gptq8": ({"quant_method": "gptq", "bits": 8, "group_size": 128}, 8 + 16 / 128 + 8 / 128),
    "fp8": ({"quant_method": "fp8", "activation_scheme": "dynamic"}, 8),
    "nf4": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5),
    "w4a16": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {
                "group_0": {
                    "weights": {"num_bits": 4, "strategy": "group", "group_size": 128},
                },
            },
        },
        4 + 16 / 128,
    ),
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_linear_layers_have_their_bits_and_the_rest_stays(kind: str) -> None:
    packing, bits = PACKED[kind]
    s = shape("qwen2.5-7b", quantization_config=packing)
    counts = parameters(s)
    biases = s.layers * (s.q_dim + 2 * s.kv_dim)
    linear = counts["attention"] + counts["mlp"] - biases
    rest = (counts["embedding"] + counts["head"] + counts["norms"] + biases) * 2
    total = sum(t.bytes for t in tensors_of(s))
    assert total == pytest.approx(linear * bits / 8 + rest, rel=1e-3)
    assert {t.name for t in tensors_of(s)} >= {"lm_head.weight", "model.norm.weight"}


@pytest.mark.parametrize(("size", "gigabytes"), [("7B", 5.57), ("32B", 19.33), ("72B", 41.6)])
def test_a_published_awq_checkpoint_has_its_size_on_the_hub(size: str, gigabytes: float) -> None:
    published = published_config(f"Qwen/Qwen2.5-{size}-Instruct-AWQ")
    assert published is not None
    bytes_ = sum(t.bytes for t in tensors_of(shape_of(published)))
    assert bytes_ / 1e9 == pytest.approx(gigabytes, rel=1e-3)


def test_block_fp8_has_a_scale_for_every_block() -> None:
    packing = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    tensors = {t.name: t for t in tensors_of(shape("qwen3-8b", quantization_config=packing))}
    scale = tensors["model.layers.0.mlp.down_proj.weight_scale_inv"]
    assert scale.shape == (4096 // 128, 12288 // 128)
    assert tensors["model.layers.0.mlp.down_proj.weight"].dtype == "F8_E4M3"
    assert tensors["lm_head.weight"].dtype == "BF16"

"""A model of a true shape with random weights: to try a machine before anything is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Command, Placement, Resources
from studio.engines.engine import Engine, EngineConfig, Room, engine_env, knob, resolve_path
from studio.envs.catalog import LLAMAFACTORY

OUTPUT = "artifacts/model"
"""The model folder it writes when no other is named, in the run folder."""
SHAPES = ROOT / "assets" / "shapes"
_WORKER = Path(__file__).with_name("workers") / "make_random_model.py"
_TOKENIZER = ROOT / "assets" / "models" / "tiny-qwen2.5"


class RandomModelConfig(EngineConfig):
    """Which shape, where, and whether the weights are written too."""

    shape: Literal[
        "qwen2.5-0.5b",
        "qwen2.5-1.5b",
        "qwen2.5-3b",
        "qwen2.5-7b",
        "qwen2.5-14b",
        "qwen2.5-32b",
        "qwen3-0.6b",
        "qwen3-1.7b",
        "qwen3-4b",
        "qwen3-8b",
        "qwen3-14b",
        "qwen3-32b",
        "llama-3-8b",
    ] = knob(
        "qwen2.5-1.5b",
        title="Shape",
        help="The published sizes of this model: layers, heads, vocabulary.",
        zh=("结构", "采用该模型公布的尺寸：层数、头数、词表。"),
    )
    out: str = knob(
        "",
        title="Folder",
        help="Where the model folder is written. Empty: artifacts/model of the run.",
        zh=("输出目录", "模型目录写到哪里。留空：该运行的 artifacts/model。"),
    )
    weights: bool = knob(
        True,
        title="Write the weights",
        help="Training and plain HF need them. vLLM with load_format = dummy needs none: "
        "configuration and tokenizer are enough then.",
        zh=(
            "写出权重",
            "训练和普通 HF 推理需要。vLLM 用 load_format = dummy 时不需要，"
            "有配置和 tokenizer 就够了。",
        ),
    )
    seed: int = knob(
        0,
        title="Seed",
        help="The same seed gives the same weights.",
        zh=("随机种子", "同一种子得到同样的权重。"),
        group="expert",
        ge=0,
    )


class RandomModel(Engine[RandomModelConfig]):
    """`workers/make_random_model.py`: bfloat16 safetensors, with the tiny model's tokenizer."""

    id = "random-model"
    title = "Random weights of a true shape"
    env = LLAMAFACTORY
    Config = RandomModelConfig

    def command(self, config: RandomModelConfig, place: Placement) -> Command:
        """Return the worker's command; it writes `out`."""
        out = resolve_path(config.out, place.root) if config.out else OUTPUT
        argv = (
            *(place.interpreter.python, str(_WORKER)),
            *("--config", str(SHAPES / f"{config.shape}.json"), "--tokenizer", str(_TOKENIZER)),
            *("--out", out, "--seed", str(config.seed)),
            *(() if config.weights else ("--no-weights",)),
        )
        env = engine_env(place, "assets/shapes", on_cpu=not place.has_gpu)
        return Command(argv=(*argv, *config.extra_args), env=env)

    def check(self, config: RandomModelConfig, root: Path) -> None:
        """Refuse a folder in which something else lies."""
        folder = Path(resolve_path(config.out, str(root))) if config.out else None
        if folder is None or not folder.exists():
            return
        if not folder.is_dir() or (any(folder.iterdir()) and not _is_ours(folder)):
            raise RecipeInvalid(
                f"out = {folder}: something else lies there.", hint="Name a new folder."
            )

    def resources(self, config: RandomModelConfig, has_gpu: bool) -> Resources:
        """One card draws the numbers in seconds; the CPU takes minutes."""
        return Resources(num_gpus=1 if has_gpu and config.weights else 0)

    def room(self, config: RandomModelConfig, root: Path, has_gpu: bool) -> Room | None:
        """Return the bytes of the weights, two for each parameter, on disk and before it."""
        if not config.weights:
            return None
        size = 2 * parameters(json.loads((SHAPES / f"{config.shape}.json").read_text()))
        return Room(disk_bytes=size, memory_bytes=0 if has_gpu else size)


def parameters(shape: dict[str, Any]) -> int:
    """Return how many parameters a Qwen2, Qwen3 or Llama model of this config.json has.

    Attention and the three matrices of the FFN in every layer, the embeddings once or twice; biases
    and norms are below a thousandth and left out.
    """
    hidden, heads = shape["hidden_size"], shape["num_attention_heads"]
    head = shape.get("head_dim") or hidden // heads
    key_value = shape["num_key_value_heads"] * head
    layer = 2 * hidden * heads * head + 2 * hidden * key_value
    layer += 3 * hidden * shape["intermediate_size"]
    tables = 1 if shape["tie_word_embeddings"] else 2
    return shape["num_hidden_layers"] * layer + tables * shape["vocab_size"] * hidden


def _is_ours(folder: Path) -> bool:
    """Tell whether this engine wrote a folder before, which it may then write again."""
    return (folder / "RANDOM_WEIGHTS.md").is_file()

"""vLLM's llm-compressor: a smaller copy of a model (GPTQ, AWQ, FP8, INT8) that vLLM serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from studio.core.errors import RecipeInvalid
from studio.core.spec import Command, Placement, Resources, StopStep
from studio.engines.adapters import lone_adapter
from studio.engines.bars import last_bar
from studio.engines.dataset_names import check_own_datasets, with_own_data
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Figure,
    Progress,
    Room,
    check_model_dir,
    engine_env,
    is_local,
    knob,
    resolve_path,
)
from studio.engines.shared_fields import dataset_dir_field, trust_remote_code_field
from studio.engines.weights import stored, weights_bytes
from studio.envs.catalog import LLM_COMPRESSOR
from studio.jobs.rundir import RunDir, read_rows

OUTPUT = "artifacts/output"
SUMMARY = "artifacts/quantized.json"

WORKER = Path(__file__).with_name("workers") / "quantize.py"
GROUPED = ("gptq-w4a16", "awq-w4a16")
"""Schemes whose weights share a scale in groups."""
GPTQ = ("gptq-w4a16", "int8-w8a8")
"""Schemes whose weights are rounded by GPTQ."""
DATA_FREE = ("fp8-dynamic",)
SHARE = {"gptq-w4a16": 0.3, "awq-w4a16": 0.3, "fp8-dynamic": 0.55, "int8-w8a8": 0.55}
"""Bytes of the result against bfloat16 weights; what is left out (head, embeddings) comes on top.
Linear weights take 4 or 8 bits of 16, and their scales a few percent."""
BESIDE_BYTES = 2**30
"""Memory besides the weights before and after. llm-compressor 0.14.0.1, 1.17 billion parameters in
bfloat16 to FP8 on a CPU, 2026-11-21: 3.81 GiB at the peak, of which weights 2.18, result 1.31."""
DISK_BESIDE_BYTES = 256 * 2**20
"""Tokenizer, logs, and some air."""


class LlmCompressorConfig(EngineConfig):
    """Settings of a quantization; names are llm-compressor's own where it has one."""

    model_name_or_path: str = knob(
        title="Model",
        help="A whole model: a folder or a hub id. Merge an adapter first.",
        zh=("模型", "完整的模型：目录或 hub 上的名字。适配器要先合并。"),
        min_length=1,
    )
    scheme: Literal["gptq-w4a16", "awq-w4a16", "fp8-dynamic", "int8-w8a8"] = knob(
        "gptq-w4a16",
        title="Scheme",
        help="w4a16: weights in 4 bits, a quarter of the memory, for most cards. "
        "fp8-dynamic: half the memory, needs no data, for Ada and Hopper cards on. int8-w8a8: "
        "half the memory and faster long prompts, for Turing cards on.",
        zh=(
            "量化方案",
            "w4a16：权重 4 bit，显存约为四分之一，多数显卡都能跑。fp8-dynamic：显存减半，"
            "不需要校准数据，用于 Ada、Hopper 及以后的卡。int8-w8a8：显存减半，长提示词更快，"
            "用于 Turing 及以后的卡。",
        ),
    )
    dataset: str = knob(
        "",
        title="Calibration data",
        help="A JSON or JSONL file, or a name from dataset_info.json. Take what the model will be "
        "asked; fp8-dynamic needs none.",
        zh=(
            "校准数据",
            "JSON 或 JSONL 文件，或 dataset_info.json 里的名字。选接近实际用途的数据；"
            "fp8-dynamic 不需要。",
        ),
        group="data",
    )
    dataset_dir: str = dataset_dir_field()
    num_calibration_samples: int = knob(
        512,
        title="Calibration samples",
        help="256 to 512 are usual. More takes longer and hardly changes the result.",
        zh=("校准样本数", "常用 256 到 512。更多只会更慢，效果几乎不变。"),
        group="data",
        ge=1,
    )
    max_seq_length: int = knob(
        2048,
        title="Length limit",
        help="Longer samples are cut to so many tokens.",
        zh=("截断长度", "超过的样本会被截断（token 数）。"),
        group="data",
        ge=16,
    )
    group_size: int = knob(
        128,
        title="Group size",
        help="w4a16: so many weights share a scale. Must divide the layers' input sizes; 128 is "
        "what vLLM's fastest kernels want.",
        zh=("分组大小", "w4a16：多少个权重共用一个缩放系数，要能整除各层输入维度；128 最通用。"),
        group="quant",
        ge=16,
    )
    dampening_frac: float = knob(
        0.01,
        title="Dampening",
        help="GPTQ: raise it to 0.1 when it complains about a Hessian that cannot be inverted.",
        zh=("阻尼", "GPTQ：报 Hessian 无法求逆时可提高到 0.1。"),
        group="quant",
        gt=0,
        le=1,
    )
    smoothing_strength: float = knob(
        0.8,
        title="Smoothing",
        help="int8-w8a8: how much of the activations' outliers moves into the weights.",
        zh=("平滑强度", "int8-w8a8：把激活中的离群值转移到权重里的比例。"),
        group="quant",
        ge=0,
        le=1,
    )
    ignore: list[str] = knob(
        ["lm_head"],
        title="Left as they are",
        help="Layers that keep their precision; re:... is a pattern. The head hardly pays.",
        zh=("不量化的层", "保持原精度的层；re:... 表示正则。lm_head 量化收益小、影响大。"),
        group="quant",
    )
    device: Literal["auto", "cpu"] = knob(
        "auto",
        title="Where",
        help="auto uses one card where there is one, layer by layer, so that a model larger than "
        "the card works; cpu is for tiny models.",
        zh=("设备", "有显卡时 auto 用一张卡，逐层处理，模型比显存大也行；cpu 只适合很小的模型。"),
    )
    trust_remote_code: bool = trust_remote_code_field("expert")
    seed: int = knob(
        42,
        title="Seed",
        help="Chooses the calibration samples.",
        zh=("随机种子", "决定抽到哪些校准样本。"),
        group="expert",
        ge=0,
    )


class LlmCompressor(Engine[LlmCompressorConfig]):
    """`workers/quantize.py` in llm-compressor's environment."""

    id = "llm-compressor"
    title = "llm-compressor"
    env = LLM_COMPRESSOR
    Config = LlmCompressorConfig

    def command(self, config: LlmCompressorConfig, place: Placement) -> Command:
        """Return `python quantize.py quantize.json`; the settings lie in the run folder."""
        settings = config.model_dump(exclude={"extra_args", "device"})
        settings["model_name_or_path"] = resolve_path(config.model_name_or_path, place.root)
        settings["dataset"], settings["dataset_dir"] = _data(config, place)
        settings["output"] = OUTPUT
        on_cpu = config.device == "cpu" or not place.has_gpu
        env = engine_env(place, config.model_name_or_path, on_cpu=on_cpu)
        if on_cpu:
            env["CUDA_VISIBLE_DEVICES"] = ""
        return Command(
            argv=(place.interpreter.python, str(WORKER), "quantize.json", *config.extra_args),
            env=env,
            files={"quantize.json": json.dumps(settings, indent=2, ensure_ascii=False) + "\n"},
        )

    def at_home(self, config: LlmCompressorConfig, home: Path) -> LlmCompressorConfig:
        """Return the settings with the studio's own data sets where no folder is named."""
        return with_own_data(config, home)

    def check(self, config: LlmCompressorConfig, root: Path) -> None:
        """Refuse adapters, quantized and vision models, missing data, groups that do not divide."""
        alone = lone_adapter(config.model_name_or_path, root)
        if alone:
            raise RecipeInvalid(
                f"{alone.folder} holds a LoRA adapter for {alone.base}, not a whole model.",
                hint="Merge it first (LLaMA-Factory export), then quantize the result.",
            )
        check_model_dir(config.model_name_or_path, root)
        self._check_data(config, root)
        if is_local(config.model_name_or_path):
            self._check_model(config, Path(resolve_path(config.model_name_or_path, str(root))))

    def _check_data(self, config: LlmCompressorConfig, root: Path) -> None:
        if config.scheme in DATA_FREE:
            return
        if not config.dataset:
            raise RecipeInvalid(
                f"{config.scheme} needs calibration data.",
                hint="Set dataset to texts like those the model will be asked, or scheme to "
                "fp8-dynamic, which needs none.",
            )
        if _is_file(config.dataset):
            path = Path(resolve_path(config.dataset, str(root)))
            if not path.is_file():
                raise RecipeInvalid(f"There is no file {path}.", hint="Check the path.")
        else:
            check_own_datasets(config.dataset, config.dataset_dir, root)

    def _check_model(self, config: LlmCompressorConfig, folder: Path) -> None:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if "quantization_config" in told:
            raise RecipeInvalid(
                f"{folder} is quantized already.", hint="Take the model it was made from."
            )
        if "vision_config" in told:
            raise RecipeInvalid(
                f"{folder} is a vision model, which cannot be quantized here.",
                hint="Serve it as it is, with --quantization fp8 in vLLM's settings.",
            )
        sides = {told.get("hidden_size"), told.get("intermediate_size")} - {None}
        odd = sorted(side for side in sides if side % config.group_size)
        if config.scheme in GROUPED and odd:
            fits = next((g for g in (128, 64, 32, 16) if not any(s % g for s in sides)), None)
            raise RecipeInvalid(
                f"group_size = {config.group_size} does not divide {odd[0]}, a size of this model.",
                hint=f"Set group_size to {fits}." if fits else "Set scheme to fp8-dynamic.",
            )

    def resources(self, config: LlmCompressorConfig, has_gpu: bool) -> Resources:
        """One card, or none on the CPU."""
        return Resources(num_gpus=1 if has_gpu and config.device != "cpu" else 0)

    def room(self, config: LlmCompressorConfig, root: Path, has_gpu: bool) -> Room | None:
        """The weights whole in memory (a card gets them layer by layer), the result beside them."""
        if not is_local(config.model_name_or_path):
            return None
        folder = Path(resolve_path(config.model_name_or_path, str(root)))
        weights = weights_bytes(folder)
        kept = sum(t.bytes for n, t in stored(folder).items() if "embed" in n or "lm_head" in n)
        result = int((weights - kept) * SHARE[config.scheme]) + kept
        memory = weights + result + BESIDE_BYTES
        if config.scheme in GPTQ and not (has_gpu and config.device == "auto"):
            memory += _hessian_bytes(folder)
        return Room(disk_bytes=result + DISK_BESIDE_BYTES, memory_bytes=memory)

    def stop(self, config: LlmCompressorConfig) -> tuple[StopStep, ...]:
        """Half a model is none."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the layers done while it calibrates, else the worker's own words."""
        rows = read_rows(run.artifacts / "progress.jsonl")
        if not rows:
            return None
        done, step = rows[-1]["done"], rows[-1]["step"]
        bar = last_bar(run.log, r"^\(\d+/\d+\): (Calibrating|Propagating)")
        if bar is None or step != "quantize":
            words = {
                "load": "loading the model",
                "calibrate": "preparing the calibration texts",
                "quantize": "quantizing",
                "save": "saving",
                "done": "finished",
            }
            return Progress(done, 100, words.get(step, ""))
        layer, of = (int(number) for number in bar.what[1:].partition(")")[0].split("/"))
        return Progress(done + (90 - done) * (layer - 1) / of, 100, f"layer {layer}/{of}")

    def results(self, run: RunDir) -> dict[str, Figure]:
        """Return the bytes before and after, and the seconds it took."""
        try:
            rows = json.loads((run.folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {name: Figure(value) for name, value in rows.items()}


def _hessian_bytes(folder: Path) -> int:
    """Return what GPTQ gathers for one layer: float32, inputs x inputs of each of its matrices.

    Six of them read the hidden state (o_proj its size), down_proj the feed-forward one.
    """
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner = told.get("hidden_size") or 0, told.get("intermediate_size") or 0
    return 4 * (6 * hidden**2 + inner**2)


def _is_file(dataset: str) -> bool:
    return dataset.endswith((".json", ".jsonl"))


def _data(config: LlmCompressorConfig, place: Placement) -> tuple[str, str]:
    """Return the data set as a file, or as a name and the folder that knows it."""
    if config.scheme in DATA_FREE:
        return "", ""
    if _is_file(config.dataset):
        return resolve_path(config.dataset, place.root), ""
    return config.dataset, resolve_path(config.dataset_dir, place.root) or place.data_dir

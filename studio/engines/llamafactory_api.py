"""LLaMA-Factory as a server: `llamafactory-cli api`, with the Hugging Face back end or vLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.spec import (
    Command,
    EndpointSpec,
    Interpreter,
    Placement,
    Probe,
    Resources,
    Serving,
    StopStep,
)
from studio.engines.adapters import check_adapter, check_whole_model
from studio.engines.engine import (
    Engine,
    ServerConfig,
    engine_env,
    knob,
    resolve_path,
    to_yaml,
)
from studio.engines.shared_fields import Bits, model_field, template_field, trust_remote_code_field
from studio.engines.templates import check_template
from studio.envs.catalog import LLAMAFACTORY
from studio.envs.packages import package_version


class LlamaFactoryApiConfig(ServerConfig):
    """Settings of the API server; names are those of LLaMA-Factory's YAML."""

    model_name_or_path: str = model_field()
    adapter_name_or_path: str = knob(
        "",
        title="Adapters",
        help="Folder of a LoRA adapter to put on the model; several, with commas between them, "
        "are merged in that order. Empty: the model alone.",
        zh=("适配器", "要挂到模型上的 LoRA 目录；多个用逗号分隔，按顺序合并。留空则只用原模型。"),
    )
    template: str = template_field()
    infer_backend: Literal["huggingface", "vllm", "sglang"] = knob(
        "huggingface",
        title="Back end",
        help="huggingface needs nothing more; vllm and sglang must be in the same environment.",
        zh=("推理后端", "huggingface 不需要额外安装；vllm、sglang 必须装在同一环境里。"),
    )
    infer_dtype: Literal["auto", "float16", "bfloat16", "float32"] = knob(
        "auto",
        title="Data type",
        help="Number format of the weights. V100 needs float16; a CPU is exact in float32.",
        zh=("数据类型", "权重的数值格式。V100 需用 float16；CPU 上 float32 最精确。"),
    )
    vllm_maxlen: int = knob(
        4096,
        title="Context length (vLLM)",
        help="Longest prompt plus answer, in tokens. Shorter leaves memory for more users.",
        zh=("上下文长度（vLLM）", "提示加回答的最大 token 数。越短，能同时服务的用户越多。"),
        group="memory",
        ge=16,
    )
    vllm_gpu_util: float = knob(
        0.7,
        title="GPU memory share (vLLM)",
        help="Share of each card that vLLM takes for weights and KV cache.",
        zh=("显存占用比例（vLLM）", "vLLM 在每张卡上占用的显存比例（权重 + KV cache）。"),
        group="memory",
        gt=0,
        le=1,
    )
    vllm_enforce_eager: bool = knob(
        False,
        title="Eager mode (vLLM)",
        help="No CUDA graphs and no compilation: starts sooner, answers slower.",
        zh=("Eager 模式（vLLM）", "不用 CUDA graph、不编译：启动更快，回答更慢。"),
        group="memory",
    )
    vllm_config: str = knob(
        "",
        title="More for vLLM (JSON)",
        help='Further settings of vLLM, such as {"max_num_seqs": 32}.',
        zh=("更多 vLLM 设置（JSON）", '其他 vLLM 设置，例如 {"max_num_seqs": 32}。'),
        group="memory",
    )
    quantization_bit: Bits = knob(
        None,
        title="Quantize while loading (bits)",
        help="bitsandbytes, huggingface only: 8 bits take about 1/2 of the memory of bfloat16, "
        "4 bits about 1/3; answers come slower.",
        zh=(
            "加载时量化（位数）",
            "bitsandbytes，仅 huggingface 后端：8 位约占 bfloat16 的 1/2，4 位约 1/3；回答变慢。",
        ),
        group="quant",
    )
    image_max_pixels: int | None = knob(
        None,
        title="Largest picture (pixels)",
        help="Bigger pictures are shrunk to this area: fewer tokens. Empty: 589824, 768 x 768.",
        zh=(
            "最大图片（像素）",
            "更大的图片会缩到这个面积，token 更少。留空为 589824，即 768 x 768。",
        ),
        group="vision",
        ge=1024,
    )
    vllm_max_lora_rank: int = knob(
        32,
        title="Largest rank (vLLM)",
        help="At least the rank the adapter was trained with. Higher reserves more memory.",
        zh=("最大秩（vLLM）", "不小于适配器训练时的 rank。越大预留显存越多。"),
        group="lora",
        ge=1,
        le=512,
    )
    served_model_name: str = knob(
        "",
        title="Served name",
        help="The name clients ask for. Empty: the folder's name.",
        zh=("对外名称", "客户端请求时使用的模型名。留空则用目录名。"),
        group="server",
    )
    trust_remote_code: bool = trust_remote_code_field("server")

    @property
    def adapters(self) -> list[str]:
        """The folders or hub ids of the adapters, in the order they are put on."""
        return [part.strip() for part in self.adapter_name_or_path.split(",") if part.strip()]

    @model_validator(mode="after")
    def _backend_can_do_it(self) -> Self:
        backend = self.infer_backend
        if backend != "huggingface" and self.quantization_bit is not None:
            raise RecipeInvalid(
                f"quantization_bit works with infer_backend = huggingface, not with {backend}.",
                hint="Serve an AWQ or GPTQ model, or leave quantization_bit empty.",
            )
        merges = backend == "huggingface" and self.quantization_bit is None
        if len(self.adapters) > 1 and not merges:
            raise RecipeInvalid(
                "A quantized model, or another back end than huggingface, takes one adapter.",
                hint="Merge the adapters into the model first, or name one.",
            )
        return self

    @model_validator(mode="after")
    def _json_is_an_object(self) -> Self:
        if self.vllm_config and not isinstance(_json(self.vllm_config), dict):
            raise RecipeInvalid(
                "vllm_config is not a JSON object.",
                hint="Write its settings between braces, with names in double quotes.",
            )
        return self


class LlamaFactoryApi(Engine[LlamaFactoryApiConfig]):
    """`llamafactory-cli api`: the baseline that needs no compiled kernels."""

    id = "llamafactory-api"
    title = "LLaMA-Factory API"
    env = LLAMAFACTORY
    Config = LlamaFactoryApiConfig
    serves = True

    def command(self, config: LlamaFactoryApiConfig, place: Placement) -> Command:
        """Return `llamafactory-cli api api.yaml`; the YAML is written into the run folder."""
        head = place.interpreter.program("llamafactory-cli", "llamafactory.cli")
        settings: dict[str, object] = {
            "model_name_or_path": resolve_path(config.model_name_or_path, place.root),
            "template": config.template,
            "infer_backend": config.infer_backend,
            "infer_dtype": config.infer_dtype,
        }
        if config.adapters:
            paths = [resolve_path(path, place.root) for path in config.adapters]
            settings["adapter_name_or_path"] = ",".join(paths)
        for name in _WHEN_CHANGED:
            value = getattr(config, name)
            if value != LlamaFactoryApiConfig.model_fields[name].default:
                settings[name] = value
        env = {
            "API_HOST": config.host,
            "API_PORT": str(place.port),
            "API_MODEL_NAME": self._name(config),
            "DO_NOT_TRACK": "1",
        }
        env |= engine_env(place, config.model_name_or_path, on_cpu=not place.has_gpu)
        if config.api_key:
            env |= {"API_KEY": config.api_key, "STUDIO_ENDPOINT_KEY": config.api_key}
        return Command(
            argv=(*head, "api", "api.yaml", *config.extra_args),
            env=env,
            files={"api.yaml": to_yaml(settings)},
        )

    def check(self, config: LlamaFactoryApiConfig, root: Path) -> None:
        """Refuse what is no model or no adapter, and a template that does not fit the model."""
        check_whole_model(config.model_name_or_path, root)
        check_template(config.template, config.model_name_or_path, root)
        most = config.vllm_max_lora_rank if config.infer_backend == "vllm" else None
        for path in config.adapters:
            name = path.rstrip("/").rpartition("/")[2]
            check_adapter(name, path, root, most, setting="vllm_max_lora_rank")

    def check_env(self, config: LlamaFactoryApiConfig, interpreter: Interpreter) -> None:
        """Refuse a back end that is not installed beside LLaMA-Factory."""
        backend = config.infer_backend
        if backend != "huggingface" and package_version(interpreter, backend) == "":
            raise EnvMissing(
                f"LLaMA-Factory's environment has no {backend}, which infer_backend needs.",
                hint="Choose huggingface, serve the model with that engine itself, or adopt an "
                "environment that has both.",
            )

    def resources(self, config: LlamaFactoryApiConfig, has_gpu: bool) -> Resources:
        """One card, or none on a CPU machine."""
        return Resources(num_gpus=1 if has_gpu else 0)

    def probe(self, config: LlamaFactoryApiConfig) -> Probe:
        """Ready when the server lists its models; a key makes it answer 401, so ask the docs."""
        return Probe(path="/docs" if config.api_key else "/v1/models")

    def stop(self, config: LlamaFactoryApiConfig) -> tuple[StopStep, ...]:
        """SIGTERM ends it within a second."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def endpoint(self, config: LlamaFactoryApiConfig) -> EndpointSpec:
        """An OpenAI-compatible chat endpoint."""
        return EndpointSpec(kind="chat", models=(self._name(config),))

    def serving(self, config: LlamaFactoryApiConfig) -> Serving:
        """Return the sizes that decide what a card has to hold."""
        backend = config.infer_backend
        vllm = backend == "vllm"
        return Serving(
            model=config.model_name_or_path,
            backend="hf" if backend == "huggingface" else backend,
            dtype=config.infer_dtype,
            quantization="bitsandbytes" if config.quantization_bit else None,
            max_model_len=config.vllm_maxlen if vllm else None,
            gpu_memory_utilization=config.vllm_gpu_util if vllm else 0.9,
            enforce_eager=config.vllm_enforce_eager,
            max_loras=len(config.adapters),
            max_lora_rank=config.vllm_max_lora_rank,
        )

    def _name(self, config: LlamaFactoryApiConfig) -> str:
        folder = config.model_name_or_path.rstrip("/").rpartition("/")[2]
        return config.served_model_name or folder


_WHEN_CHANGED = (
    "vllm_maxlen",
    "vllm_gpu_util",
    "vllm_enforce_eager",
    "vllm_max_lora_rank",
    "vllm_config",
    "quantization_bit",
    "image_max_pixels",
    "trust_remote_code",
)
"""Settings written only when they differ from LLaMA-Factory's own default."""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None

"""LLaMA-Factory as a server: `llamafactory-cli api`, with the Hugging Face back end."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from studio.core.spec import Command, EndpointSpec, Placement, Probe, Resources, StopStep
from studio.engines.engine import (
    Engine,
    ServerConfig,
    check_model_dir,
    engine_env,
    knob,
    resolve_path,
    to_yaml,
)
from studio.engines.templates import check_template
from studio.envs.catalog import LLAMAFACTORY


class LlamaFactoryApiConfig(ServerConfig):
    """Settings of the API server; names are those of LLaMA-Factory's YAML."""

    model_name_or_path: str = knob(
        title="Model",
        help="A model folder, or a hub id such as Qwen/Qwen2.5-7B-Instruct.",
        zh=("模型", "模型目录，或 hub 上的名字，例如 Qwen/Qwen2.5-7B-Instruct。"),
        min_length=1,
    )
    adapter_name_or_path: str = knob(
        "",
        title="Adapter",
        help="Folder of a LoRA adapter to put on the model. Empty: the model alone.",
        zh=("适配器", "要挂到模型上的 LoRA 目录。留空则只用原模型。"),
    )
    template: str = knob(
        title="Template",
        help="How a conversation becomes a prompt. The wrong one makes the model talk nonsense.",
        zh=("对话模板", "对话如何拼成提示词。选错模板，模型会答非所问。"),
    )
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
    served_model_name: str = knob(
        "",
        title="Served name",
        help="The name clients ask for. Empty: the folder's name.",
        zh=("对外名称", "客户端请求时使用的模型名。留空则用目录名。"),
    )
    trust_remote_code: bool = knob(
        False,
        title="Trust the model's code",
        help="Runs Python that comes with the model. Only for models you trust.",
        zh=("信任模型自带代码", "会执行模型目录里的 Python 代码，只对可信模型打开。"),
        group="expert",
    )


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
        if config.adapter_name_or_path:
            settings["adapter_name_or_path"] = resolve_path(config.adapter_name_or_path, place.root)
        if config.trust_remote_code:
            settings["trust_remote_code"] = True
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
        """Refuse a local path that is no model folder, and a template that does not fit it."""
        check_model_dir(config.model_name_or_path, root)
        check_template(config.template, config.model_name_or_path, root)

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

    def _name(self, config: LlamaFactoryApiConfig) -> str:
        folder = config.model_name_or_path.rstrip("/").rpartition("/")[2]
        return config.served_model_name or folder

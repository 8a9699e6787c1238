"""All settings of vLLM: those of vllm_fields.py, what a model can do, and what goes together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from studio.core.errors import RecipeInvalid
from studio.engines.adapters import by_name, check_names
from studio.engines.engine import knob
from studio.engines.shared_fields import served_model_name_field, trust_remote_code_field
from studio.engines.vllm_fields import VllmFields

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for `max_lora_rank`."""
WITH_DRAFT = ("draft_model", "eagle", "eagle3")
"""Speculative methods that load a second model."""


class VllmConfig(VllmFields):
    """The flags a chat server needs; names are those of `vllm serve`."""

    # speculative: the parts of --speculative-config ----------------------------------------------

    speculative_method: Literal["off", "ngram", "draft_model", "eagle", "eagle3", "mtp"] = knob(
        "off",
        title="Speculative decoding",
        help="Guesses several tokens and checks them in one step: same answers, faster for few "
        "users. ngram guesses from the prompt and needs no memory; a draft model guesses better.",
        zh=(
            "投机解码",
            "先猜几个 token，再一步验证：回答不变，用户少时更快。ngram 从提示里猜，不占显存；"
            "draft 模型猜得更准。",
        ),
        group="speculative",
    )
    speculative_model: str = knob(
        "",
        title="Draft model",
        help="A small model with the same tokenizer, such as the 0.5B beside the 14B. Loaded "
        "beside the main one, on the same cards.",
        zh=(
            "Draft 模型",
            "分词器相同的小模型，例如 14B 配 0.5B。与主模型放在同样的卡上，额外占显存。",
        ),
        group="speculative",
    )
    num_speculative_tokens: int = knob(
        4,
        title="Tokens guessed",
        help="More help predictable text such as code, and are wasted on the rest.",
        zh=("猜测 token 数", "代码等规律性强的文本可调大，其他文本猜多了反而浪费。"),
        group="speculative",
        ge=1,
        le=32,
    )
    prompt_lookup_max: int | None = knob(
        None,
        title="Longest n-gram",
        help="ngram only: how many tokens back it compares. Empty: 5.",
        zh=("最长 n-gram", "仅 ngram：向前比较多少个 token。留空为 5。"),
        group="speculative",
        ge=1,
        le=64,
    )

    # vision: --limit-mm-per-prompt and --mm-processor-kwargs -------------------------------------

    limit_images: int | None = knob(
        None,
        title="Pictures per request",
        help="Most pictures in one request. Fewer leave more KV cache; 0 drops the vision part "
        "from memory.",
        zh=("每次请求图片数", "一次请求最多几张图。越少，KV cache 越大；0 则不加载视觉部分。"),
        group="vision",
        ge=0,
    )
    limit_videos: int | None = knob(
        None,
        title="Videos per request",
        help="Most videos in one request. 0 saves the memory set aside for them.",
        zh=("每次请求视频数", "一次请求最多几段视频。0 可省下为视频预留的显存。"),
        group="vision",
        ge=0,
    )
    min_pixels: int | None = knob(
        None,
        title="Smallest picture (pixels)",
        help="Smaller pictures are enlarged to this area. Qwen-VL models only.",
        zh=("最小图片（像素）", "更小的图片会放大到这个面积。仅 Qwen-VL 系列。"),
        group="vision",
        ge=1,
    )
    max_pixels: int | None = knob(
        None,
        title="Largest picture (pixels)",
        help="Bigger pictures are shrunk to this area: fewer tokens and less memory per picture. "
        "Qwen-VL models only; 28 x 28 pixels are one token.",
        zh=(
            "最大图片（像素）",
            "更大的图片会缩到这个面积：每张图的 token 和显存更少。仅 Qwen-VL 系列，"
            "每 28 x 28 像素一个 token。",
        ),
        group="vision",
        ge=1,
    )

    # lora ---------------------------------------------------------------------------------------

    enable_lora: bool = knob(
        False,
        title="LoRA",
        help="Makes room for adapters beside the model; slows answers a little.",
        zh=("LoRA", "为适配器预留空间；回答略微变慢。"),
        group="lora",
    )
    lora_modules: list[str] = knob(
        [],
        title="Adapters",
        help="One name=folder per line, such as law=/data/law-lora. Clients ask for the name as "
        "if it were a model.",
        zh=("适配器", "每行一个 名称=目录，例如 law=/data/law-lora。客户端把名称当模型名来请求。"),
        group="lora",
    )
    hot_lora: bool = knob(
        False,
        title="Load adapters while running",
        help="Adapters can be put on and taken off without a restart. Whoever may ask the server "
        "may do it, so keep it to trusted networks.",
        zh=(
            "运行时加载适配器",
            "不重启就能挂上或卸下适配器。能访问服务的人都能这样做，只在可信网络里打开。",
        ),
        group="lora",
    )
    max_loras: int = knob(
        1,
        title="Adapters at once",
        help="Adapters used in the same batch; each reserves memory on every card.",
        zh=("同时使用的适配器数", "同一批次里可用的适配器数，每个都在每张卡上预留显存。"),
        group="lora",
        ge=1,
    )
    max_lora_rank: int = knob(
        16,
        title="Largest rank",
        help="At least the rank the adapters were trained with: 1, 8, 16, 32, 64, 128, 256, 320 "
        "or 512. Higher reserves more memory.",
        zh=(
            "最大秩",
            "不小于适配器训练时的 rank：1、8、16、32、64、128、256、320 或 512。越大预留越多。",
        ),
        group="lora",
        ge=1,
        le=512,
    )
    max_cpu_loras: int | None = knob(
        None,
        title="Adapters in host memory",
        help="Adapters kept ready in host memory, to be swapped in fast. At least max_loras.",
        zh=("内存中的适配器数", "放在内存里随时换上的适配器数，不小于 max_loras。"),
        group="lora",
        ge=1,
    )

    # output -------------------------------------------------------------------------------------

    structured_outputs_backend: Literal[
        "auto", "xgrammar", "guidance", "outlines", "lm-format-enforcer"
    ] = knob(
        "auto",
        title="Structured output by",
        help="What keeps an answer to a JSON schema, a choice or a pattern. auto picks per "
        "request; no memory is needed.",
        zh=(
            "结构化输出后端",
            "用什么保证回答符合 JSON schema、选项或正则。auto 按请求自动选择，不占显存。",
        ),
        group="output",
    )
    enable_auto_tool_choice: bool = knob(
        False,
        title="Tool calls",
        help="Lets the model decide to call a tool. Needs the parser for its way of saying so.",
        zh=("工具调用", "让模型自行决定调用工具。需要选对应的解析器。"),
        group="output",
    )
    tool_call_parser: str = knob(
        "",
        title="Tool call parser",
        help="hermes for Qwen2.5 and Qwen3, qwen3_xml for Qwen3-Coder, llama3_json for Llama 3, "
        "mistral, deepseek_v3.",
        zh=(
            "工具调用解析器",
            "Qwen2.5、Qwen3 用 hermes，Qwen3-Coder 用 qwen3_xml，Llama 3 用 llama3_json，"
            "另有 mistral、deepseek_v3。",
        ),
        group="output",
    )
    reasoning_parser: str = knob(
        "",
        title="Reasoning parser",
        help="Tells the thinking from the answer: qwen3, deepseek_r1. Empty: all is answer.",
        zh=("思考解析器", "把思考过程与回答分开：qwen3、deepseek_r1。留空则全部算回答。"),
        group="output",
    )
    chat_template: str = knob(
        "",
        title="Chat template",
        help="A Jinja file that turns a conversation into a prompt. Empty: the model's own.",
        zh=("对话模板", "把对话拼成提示的 Jinja 文件。留空用模型自带的。"),
        group="output",
    )
    generation_config: str = knob(
        "auto",
        title="Default sampling",
        help="auto takes temperature and the like from the model's generation_config.json; vllm "
        "ignores that file; a folder takes another one.",
        zh=(
            "默认采样参数",
            "auto 用模型 generation_config.json 里的 temperature 等；vllm 忽略该文件；"
            "也可填另一个目录。",
        ),
        group="output",
        min_length=1,
    )

    # server -------------------------------------------------------------------------------------

    served_model_name: str = served_model_name_field()
    trust_remote_code: bool = trust_remote_code_field("server")
    revision: str = knob(
        "",
        title="Revision",
        help="Branch, tag or commit of a model on the hub. Empty: the newest.",
        zh=("版本", "hub 上模型的分支、标签或 commit。留空为最新。"),
        group="server",
    )
    tokenizer: str = knob(
        "",
        title="Tokenizer",
        help="Folder or hub id, when the tokenizer is not with the model.",
        zh=("分词器", "分词器不在模型目录里时，填目录或 hub 名字。"),
        group="server",
    )
    seed: int = knob(
        0,
        title="Seed",
        help="Start of the random numbers for requests that bring none of their own.",
        zh=("随机种子", "请求没有自带种子时使用。"),
        group="server",
        ge=0,
    )
    enable_log_requests: bool = knob(
        False,
        title="Log requests",
        help="Writes every request into the log: useful to find a fault, slow under load.",
        zh=("记录请求", "把每个请求写进日志：排查问题时有用，高负载下会变慢。"),
        group="server",
    )
    disable_uvicorn_access_log: bool = knob(
        False,
        title="No access log",
        help="Leaves out the line per HTTP request; the log stays short and the server is a "
        "little faster.",
        zh=("不记访问日志", "不再为每个 HTTP 请求写一行；日志更短，服务略快。"),
        group="server",
    )
    disable_log_stats: bool = knob(
        False,
        title="No statistics",
        help="Turns the engine's figures off: the live view stays empty, a little faster.",
        zh=("不统计", "关闭引擎的统计数据：实时视图没有内容，略快。"),
        group="server",
    )

    @property
    def name(self) -> str:
        """The name clients ask for."""
        return self.served_model_name or self.model.rstrip("/").rpartition("/")[2]

    @property
    def adapters(self) -> dict[str, str]:
        """Folder or hub id of every adapter, by its name."""
        return by_name(self.lora_modules)

    @property
    def draft(self) -> str:
        """The second model that is loaded; empty when there is none."""
        return self.speculative_model if self.speculative_method in WITH_DRAFT else ""

    @model_validator(mode="after")
    def _speculation_is_whole(self) -> Self:
        method = self.speculative_method
        if method in WITH_DRAFT and not self.speculative_model:
            raise RecipeInvalid(
                f"speculative_method = {method} needs a second model.",
                hint="Name it in speculative_model, or choose ngram, which needs none.",
            )
        if self.speculative_model and method not in WITH_DRAFT:
            raise RecipeInvalid(
                f"speculative_model is not used with speculative_method = {method}.",
                hint="Set speculative_method to draft_model, or leave speculative_model empty.",
            )
        if self.prompt_lookup_max is not None and method != "ngram":
            raise RecipeInvalid(
                f"prompt_lookup_max is not used with speculative_method = {method}.",
                hint="Set speculative_method to ngram, or leave prompt_lookup_max empty.",
            )
        return self

    @model_validator(mode="after")
    def _pixels_are_a_range(self) -> Self:
        low, high = self.min_pixels, self.max_pixels
        if low is not None and high is not None and low > high:
            raise RecipeInvalid(
                f"min_pixels = {low} is more than max_pixels = {high}.",
                hint="Lower the first or raise the second.",
            )
        return self

    @model_validator(mode="after")
    def _adapters_can_be_hung(self) -> Self:
        for used in ("lora_modules", "hot_lora"):
            if getattr(self, used) and not self.enable_lora:
                raise RecipeInvalid(
                    f"{used} needs enable_lora.",
                    hint=f"Set enable_lora to true, or leave {used} out.",
                )
        if self.hot_lora and (self.api_server_count or self.data_parallel_size) > 1:
            raise RecipeInvalid(
                "hot_lora needs a single API process: an adapter is loaded in the one that is "
                "asked.",
                hint="Set api_server_count to 1, or name the adapters in lora_modules.",
            )
        check_names("lora_modules", self.lora_modules, self.name)
        if self.max_lora_rank not in LORA_RANKS:
            wider = next(rank for rank in LORA_RANKS if rank > self.max_lora_rank)
            raise RecipeInvalid(
                f"max_lora_rank = {self.max_lora_rank} is no rank vLLM takes.",
                hint=f"The next higher one is {wider}.",
            )
        if self.max_cpu_loras is not None and self.max_cpu_loras < self.max_loras:
            raise RecipeInvalid(
                f"max_cpu_loras = {self.max_cpu_loras} is less than max_loras = {self.max_loras}.",
                hint="Adapters in use are in host memory as well: raise it, or leave it empty.",
            )
        return self

    @model_validator(mode="after")
    def _tools_have_a_parser(self) -> Self:
        if self.tool_call_parser and not self.enable_auto_tool_choice:
            raise RecipeInvalid(
                f"tool_call_parser = {self.tool_call_parser} needs enable_auto_tool_choice.",
                hint="Set enable_auto_tool_choice to true, or leave tool_call_parser empty.",
            )
        if self.enable_auto_tool_choice and not self.tool_call_parser:
            raise RecipeInvalid(
                "enable_auto_tool_choice needs a tool_call_parser.",
                hint="For Qwen2.5 and Qwen3 it is hermes.",
            )
        return self

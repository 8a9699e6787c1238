"""Settings that the engine, the model or the card refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec
from studio.engines.causes.cause import cause
from studio.engines.causes.fix import LORA_RANKS, Fix, cards_for, key_of


def for_context(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take the length the model was made for."""
    own = re.search(r"derived max_model_len \(\w+=(\d+)", log)
    key = key_of(spec, "max_model_len")
    if key:
        says = Bilingual(en="Take the model's own length.", zh="用模型自己的上限。")
        yield Fix(says=says, changes={key: int(own[1]) if own else None})


def for_heads(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Offer the numbers of cards that divide the heads, the nearest below and above.

    Powers of two alone: the fewer heads of the KV cache have to be divided as well.
    """
    key = key_of(spec, "tensor_parallel_size")
    if not key:
        return
    heads, asked = int(found["heads"]), int(found["tp"])
    fitting = [size for size in (1, 2, 4, 8, 16, 32, 64) if heads % size == 0]
    below = [size for size in fitting if size < asked][-1:]
    above = [size for size in fitting if asked < size <= 2 * asked][:1]
    for size in below + above:
        says = Bilingual(
            en=f"{size} divides the {heads} heads.", zh=f"{size} 能整除 {heads} 个注意力头。"
        )
        yield Fix(says=says, changes={key: size, **cards_for(spec, size)})


def for_few_cards(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Give it the cards it wants, or split it over those it has."""
    world, have = int(found["world"]), int(found["have"])
    if spec.resources.num_gpus:
        says = Bilingual(en=f"Give it {world} cards.", zh=f"给它 {world} 张卡。")
        yield Fix(says=says, changes={"cards": world})
    key = key_of(spec, "tensor_parallel_size")
    if key and spec.config[key] * have // world >= 1 and spec.config[key] * have % world == 0:
        says = Bilingual(en="Split it over the cards it has.", zh="按现有的卡数切分。")
        yield Fix(says=says, changes={key: spec.config[key] * have // world})


def for_port(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take the next free port."""
    if "port" in spec.config:
        says = Bilingual(en="Take the next free port.", zh="自动取下一个空闲端口。")
        yield Fix(says=says, changes={"port": None})


def for_flags(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Leave the extra arguments out that this version does not know."""
    words = re.findall(r"[^\s'\",]+", found["words"] or found["flag"] or found["keys"] or "")
    unknown = {_name(part) for word in words for part in word.split("/")}
    given, kept, dropping = spec.config.get("extra_args") or [], [], False
    for word in given:
        if word.startswith("-") or "=" in word:
            dropping = _name(word) in unknown
        if not dropping:
            kept.append(word)
    if kept != given:
        says = Bilingual(en="Leave the unknown arguments out.", zh="去掉不认识的参数。")
        yield Fix(says=says, changes={"extra_args": kept})


def for_quantization(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take what the model's own config says, or the number format its method wants."""
    named = re.search(r"Supported dtypes: \[torch\.(\w+)", log)
    wanted = named[1] if named else "bfloat16" if "cpu_gemm" in found[0] else ""
    key = key_of(spec, "dtype")
    if wanted and key:
        says = Bilingual(
            en=f"{wanted} is what this method works in.", zh=f"这种量化方法要用 {wanted}。"
        )
        yield Fix(says=says, changes={key: wanted})
    if spec.config.get("quantization"):
        says = Bilingual(en="Take what the model itself says.", zh="按模型自带的设置。")
        yield Fix(says=says, changes={"quantization": None})


def for_lora_rank(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Make room for the adapter's rank."""
    key = key_of(spec, "max_lora_rank")
    fitting = [rank for rank in LORA_RANKS if rank >= int(found["rank"])]
    if key and fitting:
        says = Bilingual(en="Make room for this rank.", zh="为这个 rank 留出空间。")
        yield Fix(says=says, changes={key: fitting[0]})


def for_draft(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Guess from the prompt, which needs no second model; or do not guess at all."""
    if spec.config.get("speculative_model"):
        says = Bilingual(
            en="Guess from the prompt (ngram), which needs no second model.",
            zh="改用 ngram：从提示里猜，不需要第二个模型。",
        )
        yield Fix(says=says, changes={"speculative_method": "ngram", "speculative_model": ""})
        says = Bilingual(en="Go without speculative decoding.", zh="不用投机解码。")
        yield Fix(says=says, changes={"speculative_method": "off", "speculative_model": ""})


def for_remote_code(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Run the code that comes with the model."""
    if "trust_remote_code" in spec.config:
        says = Bilingual(
            en="Run the Python code in the model's folder. Only if you trust where it comes from.",
            zh="执行模型目录里的 Python 代码。仅在信任其来源时使用。",
        )
        yield Fix(says=says, changes={"trust_remote_code": True})


def for_template(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take the template that comes with the model."""
    if spec.config.get("chat_template"):
        empty = "" if isinstance(spec.config["chat_template"], str) else None
        says = Bilingual(en="Take the model's own template.", zh="用模型自带的模板。")
        yield Fix(says=says, changes={"chat_template": empty})


def for_bf16(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take half precision, which every card knows."""
    key = key_of(spec, "dtype")
    says = Bilingual(en="float16 works on every card.", zh="float16 每种卡都支持。")
    if key:
        yield Fix(says=says, changes={key: "float16"})
    if spec.config.get("bf16"):
        if spec.resources.num_gpus and "fp16" in spec.config:
            yield Fix(says=says, changes={"bf16": False, "fp16": True})
        elif "use_cpu" in spec.config:
            says = Bilingual(en="Train on the CPU in float32.", zh="在 CPU 上用 float32 训练。")
            yield Fix(says=says, changes={"bf16": False, "use_cpu": True})


def _name(word: str) -> str:
    """Return the name in `--name`, `--name=value` or `name=value`."""
    return word.partition("=")[0]


SETTINGS = (
    cause(
        "context",
        r"User-specified max_model_len .* is greater than the derived max_model_len",
        (
            "The context length is larger than the model allows.",
            "上下文长度超过了模型的上限。",
        ),
        (
            "Lower max_model_len, or leave it empty to take the model's own.",
            "减小 max_model_len，或留空使用模型自己的上限。",
        ),
        for_context,
    ),
    cause(
        "heads",
        r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
        r"\((?P<tp>\d+)\)",
        (
            "The attention heads cannot be divided by the number of cards.",
            "注意力头数不能被卡数整除。",
        ),
        (
            "Set tensor_parallel_size to a divisor of the number of heads.",
            "把 tensor_parallel_size 设成注意力头数的约数。",
        ),
        for_heads,
    ),
    cause(
        "too-few-cards",
        r"World size \((?P<world>\d+)\) is larger than the number of available GPUs "
        r"\((?P<have>\d+)\)[^\n]*",
        (
            "The settings split the model over more cards than the run was given.",
            "设置要求的卡数多于分配给这次运行的卡数。",
        ),
        (
            "Give the run as many cards as tensor x pipeline parallel size, or lower these.",
            "给足“张量并行 × 流水线并行”所需的卡数，或减小并行数。",
        ),
        for_few_cards,
    ),
    cause(
        "port",
        r"Address already in use|Errno 98|error while attempting to bind on address",
        ("Another program listens on the port.", "端口被别的程序占用。"),
        (
            "Leave the port empty to take the next free one, and launch again.",
            "端口留空（自动取空闲端口），再启动一次。",
        ),
        for_port,
    ),
    cause(
        "unknown-flag",
        r"error: unrecognized arguments: (?P<words>[^\n]+)|"
        r"error: argument (?P<flag>\S+?)(/\S+)?: (invalid|expected)[^\n]*|"
        r"Some keys are not used by the HfArgumentParser: \[(?P<keys>[^\]]*)\]",
        (
            "The engine does not know an argument, or not this value of it.",
            "引擎不认识某个参数，或不接受它的取值。",
        ),
        (
            "Versions differ: look it up in the engine's --help, or leave it out.",
            "不同版本的参数不一样：查看引擎的 --help，或去掉它。",
        ),
        for_flags,
    ),
    cause(
        "quantization-mismatch",
        r"Quantization method specified in the model config [^\n]*does not match[^\n]*",
        (
            "The model is quantized in another way than the settings say.",
            "模型的量化方法与设置不一致。",
        ),
        (
            "Leave the quantization empty: the engine reads it from the model's config.json.",
            "量化方法留空，引擎会从模型的 config.json 里读取。",
        ),
        for_quantization,
    ),
    cause(
        "quantization",
        r"is not supported for quantization method|Unknown quantization method|"
        r"[Qq]uantization (method|scheme)[^\n]* is not supported|"
        r"Cannot find the config file for \w+|quantization is currently not supported|"
        r"\"cpu_gemm_wna16\" not implemented for",
        (
            "This quantization does not work with this model, card or number format.",
            "这种量化方法不适用于这个模型、这张卡或这种数据类型。",
        ),
        (
            "AWQ and GPTQ need a model that was saved that way, fp8 a card from Ampere on, and "
            "AWQ and GPTQ compute in float16.",
            "AWQ、GPTQ 需要用该方法保存的模型并用 float16 计算；fp8 需要 Ampere 及以后的卡。",
        ),
        for_quantization,
    ),
    cause(
        "lora-rank",
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank",
        (
            "The adapter's rank is larger than the server has room for.",
            "LoRA 的 rank 超过了服务预留的上限。",
        ),
        (
            "Raise max_lora_rank to the adapter's rank; it costs a little memory.",
            "把 max_lora_rank 提高到 LoRA 的 rank，会多占一点显存。",
        ),
        for_lora_rank,
    ),
    cause(
        "draft-model",
        r"Target and draft model should have the same vocabulary size[^\n]*|"
        r"draft[ _]model[^\n]*(must|should) (have the )?(same|match)[^\n]*",
        (
            "The draft model of speculative decoding does not fit the main model.",
            "投机解码的草稿模型与主模型不匹配。",
        ),
        (
            "Take a small model of the same family (same tokenizer), or ngram, which needs none.",
            "换成同一系列（同一 tokenizer）的小模型，或用不需要草稿模型的 ngram。",
        ),
        for_draft,
    ),
    cause(
        "remote-code",
        r"Please pass the argument `trust_remote_code|setting `trust_remote_code|"
        r"requires you to execute",
        (
            "The model brings Python code of its own, which nobody has allowed to run.",
            "模型自带 Python 代码，还没有允许执行。",
        ),
        (
            "Allow it only if you trust where the model comes from.",
            "只有信任模型来源时才允许执行。",
        ),
        for_remote_code,
    ),
    cause(
        "template",
        r"The supplied chat template[^\n]*|default chat template is no longer allowed|"
        r"[Cc]annot use chat template functions because[^\n]*",
        (
            "The chat template is missing, so a conversation cannot become a prompt.",
            "缺少对话模板，无法把对话拼成提示词。",
        ),
        (
            "Base models have none: take the Instruct or Chat model, or give a template file "
            "(.jinja).",
            "base 模型没有模板：换成 Instruct 或 Chat 模型，或指定模板文件（.jinja）。",
        ),
        for_template,
    ),
    cause(
        "bf16",
        r"Bfloat16 is only supported on GPUs[^\n]*|Your setup doesn't support bf16[^\n]*|"
        r"device does not support (pure_)?bf16",
        (
            "The card cannot compute in bfloat16 (V100 and older, T4), or there is no card.",
            "这张卡不支持 bfloat16（V100 及更老的卡、T4），或者没有卡。",
        ),
        (
            "Use float16; without a card, train on the CPU in float32.",
            "改用 float16；没有卡时用 CPU 以 float32 训练。",
        ),
        for_bf16,
    ),
)

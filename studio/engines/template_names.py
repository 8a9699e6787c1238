"""Which conversation template fits a model, by its name or by its config.json.

    templates_for("Qwen/Qwen2.5-7B-Instruct", root)          ("qwen",)
    templates_for("assets/models/tiny-qwen2.5", root)        ("qwen", "deepseekr1", ...)

The names follow the model groups of LLaMA-Factory 0.9.5 (`extras/constants.py`). An unknown name
has no template here, which is no judgement about it.
"""

from __future__ import annotations

import re
from pathlib import Path

from studio.engines.engine import is_local, model_type, resolve_path
from studio.engines.templates import BY_MODEL_TYPE

BY_NAME = (
    (r"deepseek-r1-distill", "deepseekr1"),
    (r"deepseek-(r1|v3\.1)", "deepseekr1"),
    (r"deepseek-coder-v2", "deepseek"),
    (r"deepseek-(v2\.5|v3)|deepseek-v2-chat-0628", "deepseek3"),
    (r"deepseek-coder", "deepseekcoder"),
    (r"deepseek", "deepseek"),
    (r"mimo-vl-.*sft", "qwen2_vl"),
    (r"mimo-vl", "mimo_vl"),
    (r"mimo-v2", "mimo_v2"),
    (r"mimo", "mimo"),
    (r"qwen3[._]5", "qwen3_5"),
    (r"qwen3[._]6", "qwen3_6"),
    (r"qwen3-omni.*thinking", "qwen3_omni"),
    (r"qwen3-omni", "qwen3_omni_nothink"),
    (r"qwen3-vl.*thinking", "qwen3_vl"),
    (r"qwen3-vl", "qwen3_vl_nothink"),
    (r"qwen3-.*instruct-2507|qwen3-.*next.*instruct|qwen3-coder", "qwen3_nothink"),
    (r"qwen3", "qwen3"),
    (r"qwen2\.5-omni", "qwen2_omni"),
    (r"qwen2-audio", "qwen2_audio"),
    (r"qwen2(\.5)?-vl|qvq|opencua", "qwen2_vl"),
    (r"openchat-3\.6", "openchat-3.6"),
    (r"openchat", "openchat"),
    (r"opencoder", "opencoder"),
    (r"qwen|qwq|kimi-dev", "qwen"),
    (r"llava-next-video.*32k", "llava_next_video_mistral"),
    (r"llava-next-video.*34b", "llava_next_video_yi"),
    (r"video-llava", "video_llava"),
    (r"llava-next-video", "llava_next_video"),
    (r"llama3-llava", "llava_next_llama3"),
    (r"llava-v1\.6-mistral", "llava_next_mistral"),
    (r"llava-v1\.6-34b", "llava_next_yi"),
    (r"llava-next", "llava_next_qwen"),
    (r"llava-v1\.6", "llava_next"),
    (r"llava", "llava"),
    (r"llama-3\.2-.*vision", "mllama"),
    (r"llama-?4", "llama4"),
    (r"chinese-(llama|alpaca)-2", "llama2_zh"),
    (r"llama-?3(?!\d)", "llama3"),
    (r"llama-?2", "llama2"),
    (r"vicuna", "vicuna"),
    (r"paligemma", "paligemma"),
    (r"gemma-4-e\d", "gemma4n"),
    (r"gemma-4-", "gemma4"),
    (r"gemma-3n", "gemma3n"),
    (r"gemma-3-(1b|270m)|gemma-2-|gemma2", "gemma2"),
    (r"gemma-3|medgemma", "gemma3"),
    (r"gemma", "gemma"),
    (r"glm-ocr", "glm_ocr"),
    (r"glm-4\.[56]v", "glm4_5v"),
    (r"glm-4\.7", "glm4_7"),
    (r"glm-4\.[56]", "glm4_moe"),
    (r"glm-4\.1v", "glm4v"),
    (r"glm-4", "glm4"),
    (r"glm-z1", "glmz1"),
    (r"chatglm3", "chatglm3"),
    (r"gpt-oss", "gpt_oss"),
    (r"granite-vision", "granite3_vision"),
    (r"granite-4", "granite4"),
    (r"granite", "granite3"),
    (r"hy-mt1\.5-1\.8b", "hunyuan_small"),
    (r"hunyuan|hy-mt", "hunyuan"),
    (r"intern-s1", "intern_s1"),
    (r"internvl", "intern_vl"),
    (r"internlm[23]", "intern2"),
    (r"kimi-vl", "kimi_vl"),
    (r"moonlight", "moonlight"),
    (r"ministral-3", "ministral3"),
    (r"ministral|mistral-nemo", "ministral"),
    (r"devstral|mistral-small", "mistral_small"),
    (r"pixtral", "pixtral"),
    (r"zephyr", "zephyr"),
    (r"mistral|mixtral|codestral", "mistral"),
    (r"minicpm-v-4_6", "minicpm_v_4_6"),
    (r"minicpm-v", "minicpm_v"),
    (r"minicpm-o", "minicpm_o"),
    (r"minicpm4", "cpm4"),
    (r"minimax-m2", "minimax2"),
    (r"minimax", "minimax1"),
    (r"phi-4-mini", "phi4_mini"),
    (r"phi-4", "phi4"),
    (r"phi-3-small", "phi_small"),
    (r"phi-3", "phi"),
    (r"yi-vl", "yi_vl"),
    (r"^yi-", "yi"),
    (r"ernie-4\.5-vl", "ernie_vl"),
    (r"ernie.*thinking", "ernie"),
    (r"ernie", "ernie_nothink"),
    (r"exaone", "exaone"),
    (r"falcon-h1", "falcon_h1"),
    (r"falcon", "falcon"),
    (r"command-r|aya-", "cohere"),
    (r"seed-coder", "seed_coder"),
    (r"seed-oss", "seed_oss"),
    (r"smollm2", "smollm2"),
    (r"smollm", "smollm"),
    (r"solar", "solar"),
    (r"telechat2", "telechat2"),
    (r"xuanyuan", "xuanyuan"),
    (r"youtu-vl", "youtu_vl"),
    (r"youtu", "youtu"),
    (r"yuan2", "yuan"),
)
"""Part of a model's name (lower case) -> template; the first that is found counts."""

_PATTERNS = tuple((re.compile(pattern), template) for pattern, template in BY_NAME)


def templates_for(model: str, root: Path) -> tuple[str, ...]:
    """Return the templates that fit, the best first; empty when nothing is known about a model."""
    if not model:
        return ()
    if is_local(model):
        kind = model_type(Path(resolve_path(model, str(root))))
        named = template_by_name(model)
        fitting = BY_MODEL_TYPE.get(kind, ())
        if named and (not fitting or named in fitting):
            return (named, *(name for name in fitting if name != named))
        return fitting
    found = template_by_name(model)
    return (found,) if found else ()


def template_by_name(name: str) -> str:
    """Return the template of a model by its name alone; empty for an unknown one."""
    told = name.rstrip("/").rpartition("/")[2].lower()
    return next((template for pattern, template in _PATTERNS if pattern.search(told)), "")

"""Settings that several engines have with one meaning, each declared once; an engine places them.

A flag that only looks like another engine's (its own choices, its own default, its own effect)
stays in that engine's file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from studio.engines.engine import knob


def as_number(value: Any) -> Any:
    """Take "4" for 4: a list of choices in a form sends words."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


Bits = Annotated[Literal[4, 8] | None, BeforeValidator(as_number)]
"""Bits of weights that are quantized while they load; None leaves them as they are."""


def model_field() -> Any:
    """Declare the language model an engine loads."""
    return knob(
        title="Model",
        help="A model folder, or a hub id such as Qwen/Qwen2.5-7B-Instruct.",
        zh=("模型", "模型目录，或 hub 上的名字，例如 Qwen/Qwen2.5-7B-Instruct。"),
        min_length=1,
    )


def template_field() -> Any:
    """Declare LLaMA-Factory's template of a conversation."""
    return knob(
        title="Template",
        help="How a conversation becomes a prompt. The wrong one makes the model talk nonsense.",
        zh=("对话模板", "对话如何拼成提示词。选错模板，模型会答非所问。"),
    )


def dataset_dir_field() -> Any:
    """Declare the folder whose dataset_info.json names the data sets."""
    return knob(
        "",
        title="Data folder",
        help="A folder with a dataset_info.json of your own. Empty: the studio's data sets.",
        zh=("数据目录", "自己的 dataset_info.json 所在目录。留空则使用“数据”页里的数据集。"),
        group="data",
    )


def any_base_field() -> Any:
    """Declare that an adapter may be put on a model of another name than its base."""
    return knob(
        False,
        title="Trust the base",
        help="Takes the adapter although it names another base: the same weights elsewhere.",
        zh=("不核对基座名称", "适配器记录的基座名称不同也照样使用：同一份权重换了位置时用。"),
        group="expert",
    )


def trust_remote_code_field(group: Literal["server", "expert"]) -> Any:
    """Declare that Python of the model's folder may run."""
    return knob(
        False,
        title="Trust the model's code",
        help="Runs Python that comes with the model. Only for models you trust.",
        zh=("信任模型自带代码", "会执行模型目录里的 Python 代码，只对可信模型打开。"),
        group=group,
    )


def served_model_name_field() -> Any:
    """Declare what a server calls its model."""
    return knob(
        "",
        title="Served name",
        help="The name clients ask for. Empty: the model's own name.",
        zh=("对外名称", "客户端请求时使用的模型名。留空则用模型自己的名字。"),
        group="server",
    )


def base_url_field(*default: str, **limits: Any) -> Any:
    """Declare the server that is asked; required where no default is given."""
    return knob(
        *default,
        title="Server",
        help="Address of the server up to /v1, such as http://127.0.0.1:8000/v1.",
        zh=("服务地址", "服务地址，写到 /v1，例如 http://127.0.0.1:8000/v1。"),
        **limits,
    )


def is_address(text: str) -> bool:
    """Tell whether a text is an address that HTTP can be spoken with."""
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def asked_api_key_field() -> Any:
    """Declare the key of the server that is asked."""
    return knob(
        "",
        title="API key",
        help="The server's key. Empty: none.",
        zh=("API key", "服务的 API key。没有就留空。"),
        group="server",
        repr=False,
    )

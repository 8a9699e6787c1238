"""Why a load test could not measure: told by the worker's own sentences (workers/bench)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec
from studio.engines.causes.cause import cause
from studio.engines.causes.fix import Fix


def for_model(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take a model that the server has."""
    for name in found["names"].split(", ")[:3]:
        if name and name != "none":
            says = Bilingual(en=f"Ask for {name}.", zh=f"改测 {name}。")
            yield Fix(says=says, changes={"model": name})


def for_api(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Ask the other path."""
    says = Bilingual(en="Ask the other path.", zh="改用另一个接口。")
    yield Fix(says=says, changes={"backend": found["backend"]})


def go_on(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Go on with the points that are missing."""
    where = re.findall(r"^\d\d:\d\d:\d\d results in (.+)$", log, re.M)
    if where:
        says = Bilingual(
            en="Go on where it ended: points that are done are kept.",
            zh="接着测：已完成的测点保留。",
        )
        yield Fix(says=says, changes={"results": PurePath(where[-1].strip()).name})


LOAD = (
    cause(
        "load-unreachable",
        r"ERROR: cannot reach \S+: [^\n]*",
        ("No server answers at this address.", "这个地址没有服务应答。"),
        (
            "Start the server, or correct base_url: address and port as its own page says them.",
            "先启动服务，或改正 base_url（地址和端口以服务自己显示的为准）。",
        ),
    ),
    cause(
        "load-key",
        r"ERROR: \S+ wants another API key: 40[13][^\n]*",
        ("The server refuses the API key, or wants one.", "服务拒绝了 API key，或需要 API key。"),
        ("Set api_key to the key the server was started with.", "把 api_key 设成服务的密钥。"),
    ),
    cause(
        "load-model",
        r"ERROR: \S+ does not serve the model [^\n]*; it serves: (?P<names>[^\n]*)",
        ("The server has no model of this name.", "服务上没有这个名称的模型。"),
        (
            "Leave model empty to take the first, or write a name that the server lists.",
            "model 留空取第一个，或填写服务列出的名称。",
        ),
        for_model,
    ),
    cause(
        "load-not-openai",
        r"ERROR: \S+ is no OpenAI-compatible server: [^\n]*",
        (
            "Something answers at this address, but it is no OpenAI-compatible server.",
            "这个地址有程序应答，但不是 OpenAI 兼容的服务。",
        ),
        (
            "Check the port, and that the address ends in /v1 as the server's own page says.",
            "检查端口，并确认地址按服务的说明以 /v1 结尾。",
        ),
    ),
    cause(
        "load-path",
        r"ERROR: \S+ has no \S+ \(40[45]\); backend = (?P<backend>[\w-]+) asks another path",
        ("The server does not have this API.", "服务没有这个接口。"),
        (
            "Many servers have chat alone: set backend to openai-chat.",
            "很多服务只有对话接口：把 backend 设为 openai-chat。",
        ),
        for_api,
    ),
    cause(
        "load-refused",
        r"ERROR: \S+ (refused|did not answer) a request of one token: [^\n]*",
        ("The server would not answer a single request.", "服务连一个请求都不肯回答。"),
        (
            "Its own words are below; try the model in the Chat tab first.",
            "下面是服务的原话；可以先在“对话”页试试这个模型。",
        ),
    ),
    cause(
        "load-tokenizer",
        r"ERROR: there is no tokenizer [^\n]*",
        ("The model's tokenizer cannot be loaded here.", "在本机加载不了模型的 tokenizer。"),
        (
            "Set tokenizer to the model's folder, or to a hub id that can be downloaded.",
            "把 tokenizer 设成模型目录，或能下载到的 hub 名。",
        ),
    ),
    cause(
        "load-busy",
        r"ERROR: another sweep is writing [^\n]*",
        ("Another load test is writing the same results.", "另一个压测正在写同一份结果。"),
        ("Wait for it, or stop it.", "等它结束，或先停掉它。"),
    ),
    cause(
        "load-server-died",
        r"ERROR: \S+ stopped answering; the points that are done are kept",
        ("The server went away in the middle of the load test.", "压测中途服务没有了应答。"),
        (
            "Look why it ended, start it again, and go on: nothing measured is lost.",
            "查明它为何结束，重新启动后接着测，已测的不会丢。",
        ),
        go_on,
    ),
    cause(
        "load-nothing",
        r"^\d\d:\d\d:\d\d 0 of \d+ points are done, \d+ failed",
        ("No point of the load test could be measured.", "没有一个测点测成。"),
        (
            "Each failed point says why in the results; the lengths may be more than the server "
            "takes.",
            "结果里每个失败的测点都写有原因；可能是长度超过了服务的上限。",
        ),
    ),
)

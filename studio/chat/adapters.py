"""LoRA adapters of a running server: which hang on it, one more, and off again.

By vLLM's `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`, which exist when the server was
started with `hot_lora`. What lies in an adapter's folder is `studio.engines.adapters`' to check.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from studio.chat.client import CHECK_TIMEOUTS
from studio.chat.errors import EndpointFailed
from studio.chat.refusals import refusal, sentence
from studio.chat.wire import Timeouts, Wire, read_json
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.spec import Endpoint
from studio.jobs.rundir import RunDir

LOAD_TIMEOUTS = Timeouts(connect_s=5.0, first_s=300.0, gap_s=60.0)
"""A big adapter on a slow disk, while the server is busy, takes its time."""

_NAME = re.compile(r"[\w][\w.:-]{0,63}")
_RANK = re.compile(r"rank (\d+) is greater than max_lora_rank (\d+)")


class Adapter(NamedTuple):
    """An adapter that a server knows: the model name it answers to, and where it came from."""

    name: str
    folder: str
    base: str
    """Model it was put upon; empty when the server does not say."""


def list_adapters(endpoint: Endpoint) -> list[Adapter]:
    """Ask a server for its adapters; raise EndpointFailed."""
    found = _call(endpoint, "models", None, CHECK_TIMEOUTS)
    rows = found.get("data") if isinstance(found, dict) else None
    return [
        Adapter(str(row["id"]), str(row.get("root") or ""), str(row["parent"]))
        for row in rows or []
        if isinstance(row, dict) and row.get("parent") and row.get("id")
    ]


def load(endpoint: Endpoint, name: str, folder: str) -> None:
    """Hang an adapter on a server as the model `name`; `folder` is absolute, or a hub id.

    Raise RecipeInvalid for a name that cannot be used, StudioError for what the server refuses.
    """
    if not _NAME.fullmatch(name):
        raise RecipeInvalid(
            f"{name!r} cannot be the name of an adapter.",
            hint="Use letters, digits and . _ - without spaces, for example my-lora.",
        )
    taken = {*endpoint.models, *(adapter.name for adapter in list_adapters(endpoint))}
    if name in taken:
        raise RecipeInvalid(
            f"{endpoint.name} already serves a model named {name}.",
            hint="Choose another name, or take that adapter off first.",
        )
    _change(endpoint, "load_lora_adapter", {"lora_name": name, "lora_path": folder})


def unload(endpoint: Endpoint, name: str) -> None:
    """Take an adapter off a server; one that is not there is no error."""
    if any(adapter.name == name for adapter in list_adapters(endpoint)):
        _change(endpoint, "unload_lora_adapter", {"lora_name": name})


def note(run_dir: RunDir, op: Literal["load", "unload"], name: str, folder: str = "") -> None:
    """Put on record what was hung on or taken off, for `RunDir.hung_on`."""
    row = {"at": time.time(), "op": op, "name": name, "folder": folder}
    with open(run_dir.folder / "adapters.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _change(endpoint: Endpoint, path: str, body: dict[str, str]) -> None:
    try:
        _call(endpoint, path, body, LOAD_TIMEOUTS)
    except EndpointFailed as error:
        reason = str(error.facts.get("reason", ""))
        if error.code == "path":
            raise StudioError(
                f"{endpoint.name} was started without adapters at run time.",
                hint="Launch it again with hot_lora on.",
            ) from error
        if too_wide := _RANK.search(reason):
            raise RecipeInvalid(
                f"The adapter has rank {too_wide[1]}, and this server takes at most {too_wide[2]}.",
                hint=f"Launch it again with max_lora_rank {too_wide[1]} or more.",
            ) from error
        if error.code in ("rejected", "server"):
            raise StudioError(
                f"{endpoint.name} refuses the adapter: {reason}",
                hint="The adapter must be made for this very model; the server's log tells more.",
            ) from error
        raise


def _call(endpoint: Endpoint, path: str, body: Any, timeouts: Timeouts) -> Any:
    """Ask one address below the endpoint's; return what JSON it says, or None."""
    url = f"{endpoint.base_url.rstrip('/')}/{path}"
    wire = Wire(url, timeouts)
    try:
        response = wire.send("POST" if body is not None else "GET", body, endpoint.api_key)
        said = read_json(wire, response)
        if response.status == 200:
            return said
        if response.status == 404 and body is not None and sentence(said) not in ("", "Not Found."):
            where = urlsplit(url).netloc  # the address is known, what it was given is not
            raise EndpointFailed("rejected", where=where, reason=sentence(said))
        raise refusal(wire.where, url, response.status, said, "")
    finally:
        wire.close()

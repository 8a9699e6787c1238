"""Files of the hub, by name: found in its cache, or downloaded, before anything is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download

LOG = logging.getLogger("image_edit")
WEIGHTS = "*.safetensors*"


class NotFetched(Exception):
    """A model or a file of the hub cannot be had; the sentence says which and why."""


def fetched(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with every model and file as a path of this machine.

    What exists as a path stays as it is. A model is `owner/repository`, a file
    `owner/repository/file`. Weights that are not read are not downloaded: the transformer's beside
    a GGUF file, all of them with `load_format: dummy`. Raises NotFetched.
    """
    told = dict(config)
    told["model"] = str(_model(str(config["model"]), _unread(config)))
    for key in ("gguf", "lightning"):
        if config.get(key):
            told[key] = str(_file(str(config[key])))
    told["loras"] = [_lora(str(text)) for text in config.get("loras") or ()]
    return told


def _unread(config: Mapping[str, Any]) -> list[str]:
    if config.get("load_format") == "dummy":
        return [WEIGHTS]
    return [f"transformer/{WEIGHTS}"] if config.get("gguf") else []


def _model(name: str, without: list[str]) -> Path:
    if Path(name).is_dir() or name.startswith("/"):
        return Path(name)
    return _fetch(name, lambda: snapshot_download(name, ignore_patterns=without or None))


def _file(name: str) -> Path:
    if Path(name).exists() or name.startswith("/") or name.count("/") < 2:
        return Path(name)
    owner, repository, path = name.split("/", 2)
    return _fetch(name, lambda: hf_hub_download(f"{owner}/{repository}", path))


def _lora(text: str) -> str:
    """Fetch the file inside `name=path@0.8`."""
    name, _, rest = text.partition("=")
    path, at, scale = rest.rpartition("@")
    if not at:
        path, scale = rest, ""
    return f"{name}={_file(path)}{at}{scale}"


def _fetch(name: str, download: Callable[[], str]) -> Path:
    LOG.info("%s comes from the hub, or from its cache here.", name)
    try:
        return Path(download())
    except Exception as error:  # the hub's errors have no common root
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NotFetched(f"{name} cannot be fetched from the hub: {lines[0]}") from error

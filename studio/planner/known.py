"""What is known about a launch before it happens: command, cards, environment, sizes, disk."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

from studio.core.spec import RunSpec
from studio.engines.engine import is_local, resolve_path

MODEL_KEYS = ("pretrained", "model", "model_name_or_path")


def known(spec: RunSpec, *, root: Path, home: Path, env_state: str, cards: int) -> dict[str, Any]:
    """Return plain facts about a launch; sizes in bytes. Only disk and spec are looked at."""
    need = spec.resources
    facts: dict[str, Any] = {
        "engine": spec.engine,
        "command": shlex.join(spec.command.argv),
        "cards_needed": list(need.gpu_ids) if need.gpu_ids is not None else need.num_gpus,
        "cards_here": cards,
        "environment": f"{spec.env_name}: {env_state}" if spec.env_name else "the studio's own",
        "port": spec.port,
        "disk_free": shutil.disk_usage(home).free,
    }
    model = next((spec.config[key] for key in MODEL_KEYS if spec.config.get(key)), None)
    if model is not None:
        facts["model"] = model
        facts["weights_bytes"] = weights_bytes(resolve_path(model, str(root)))
        facts["model_is"] = "local folder" if is_local(model) else "hub id, downloaded on first use"
    return facts


def weights_bytes(folder: str) -> int | None:
    """Return the bytes of a model folder's weight files; None when there is no such folder."""
    path = Path(folder)
    if not path.is_dir():
        return None
    whole = "*/*.safetensors" if (path / "model_index.json").is_file() else "*.safetensors"
    files = [*path.glob(whole)] or [*path.glob("*.bin")] or [*path.glob("*.gguf")]
    return sum(file.stat().st_size for file in files)

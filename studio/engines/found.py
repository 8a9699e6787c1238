"""Models and adapters that are on this machine already, offered while a person types a name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 200
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM has room for (`--max-lora-rank`)."""


def local_models(root: Path, home: Path) -> list[str]:
    """Return model folders of the studio, of its runs, and hub ids in the Hugging Face cache.

    Folders below `root` are said relative to it, as recipes say them.
    """
    found = [str(path.relative_to(root)) for path in _folders(root / "assets/models")]
    found += map(str, _folders(home / "models"))
    found += [str(path) for path in _made(home) if (path / "config.json").is_file()]
    found += _cached()
    return list(dict.fromkeys(found))[:MOST]


def local_adapters(home: Path) -> list[str]:
    """Return the adapter folders that runs of this home made, the newest first."""
    made = [path for path in _made(home) if (path / "adapter_config.json").is_file()]
    own = [p.parent for p in sorted((home / "models").glob("*/adapter_config.json"))]
    return [str(path) for path in (*made, *own)][:MOST]


def served_from(folder: Path) -> dict[str, Any] | None:
    """Return vLLM settings that serve what a training left in a folder; None when nothing can be.

    A whole model is served as it is; an adapter hangs on the base model it names.
    """
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return {"model": str(folder)}
    try:
        told = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    base = told.get("base_model_name_or_path")
    if not base:
        return None
    rank = next((r for r in LORA_RANKS if r >= int(told.get("r") or 8)), LORA_RANKS[-1])
    return {
        "model": base,
        "enable_lora": True,
        "hot_lora": True,
        "max_lora_rank": rank,
        "lora_modules": [f"tuned={folder}"],
    }


def _folders(folder: Path) -> list[Path]:
    return [path.parent for path in sorted(folder.glob("*/config.json"))]


def _made(home: Path) -> Iterator[Path]:
    """Yield the output folders of runs, the newest run first; a run's id sorts by its time."""
    runs = home / "runs"
    if not runs.is_dir():
        return
    for run in sorted(runs.iterdir(), reverse=True)[:MOST]:
        yield from sorted((run / "artifacts").glob("output*"))


def _cached() -> list[str]:
    """Return the hub ids whose files lie in the Hugging Face cache."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    if not hub.is_dir():
        return []
    names = sorted(path.name for path in hub.glob("models--*--*") if (path / "snapshots").is_dir())
    return ["/".join(name.split("--")[1:3]) for name in names]

"""LoRA adapters as folders: what lies in one, and whether a server can take it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from studio.core.errors import RecipeInvalid
from studio.engines.engine import check_model_dir, is_local, resolve_path

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model*.safetensors", "adapter_model*.bin")


class LoneAdapter(NamedTuple):
    """An adapter where a whole model was asked for, as a LoRA training leaves it."""

    folder: Path
    base: str
    """The model it was trained on; a question mark when it does not say."""

    @property
    def name(self) -> str:
        """A name to hang it on by."""
        return "mine" if self.folder.name == "output" else self.folder.name


def lone_adapter(model: str, root: Path) -> LoneAdapter | None:
    """Return the adapter in a model's folder when there is nothing else in it."""
    folder = Path(resolve_path(model, str(root)))
    if not is_local(model) or (folder / "config.json").exists() or not (folder / CONFIG).exists():
        return None
    return LoneAdapter(folder, str(_config(folder).get("base_model_name_or_path") or "?"))


def check_whole_model(model: str, root: Path) -> None:
    """Raise RecipeInvalid unless LLaMA-Factory can load it as a model; tell an adapter apart."""
    alone = lone_adapter(model, root)
    if alone:
        raise RecipeInvalid(
            f"{alone.folder} holds a LoRA adapter for {alone.base}, not a whole model.",
            hint=f"Set model_name_or_path to {alone.base}, and adapter_name_or_path to "
            f"{alone.folder}.",
        )
    check_model_dir(model, root)


def by_name(entries: Sequence[str]) -> dict[str, str]:
    """Return the folder or hub id of every adapter, which a setting lists as `name=folder`."""
    pairs = (entry.partition("=") for entry in entries)
    return {name.strip(): path.strip() for name, _, path in pairs}


def check_names(setting: str, entries: Sequence[str], model: str) -> None:
    """Raise RecipeInvalid unless every entry is `name=folder` and no name is taken.

    `model` is what the server calls the model itself: clients ask for all of them alike.
    """
    names = [model]
    for entry in entries:
        name, _, path = (part.strip() for part in entry.partition("="))
        if not (name and path):
            raise RecipeInvalid(
                f"{setting}: {entry} is not of the form name=folder.",
                hint="Example: law=/data/law-lora",
            )
        if name in names:
            raise RecipeInvalid(
                f"{setting}: the name {name} is used twice.",
                hint="Each adapter, and the model itself, needs a name of its own.",
            )
        names.append(name)


def check_adapter(
    name: str,
    path: str,
    root: Path,
    most: int | None = None,
    *,
    ranks: Sequence[int] = (),
    setting: str = "max_lora_rank",
) -> None:
    """Raise RecipeInvalid unless a local folder holds an adapter of at most rank `most`.

    `ranks` are those that `setting` takes; empty means any. A hub id is not looked up.
    """
    folder = Path(resolve_path(path, str(root)))
    if not folder.is_absolute():
        if Path(root, path).is_dir():
            raise RecipeInvalid(
                f"{path} would be looked for on the hub, but it is also a folder here.",
                hint=f"Write ./{path} for the folder.",
            )
        return
    if not folder.is_dir():
        raise RecipeInvalid(f"Adapter {name}: there is no folder {folder}.", hint="Check the path.")
    if not (folder / CONFIG).is_file():
        raise RecipeInvalid(
            f"Adapter {name}: {folder} has no {CONFIG}.",
            hint="A LoRA training leaves one in its output; a merged model is given as model.",
        )
    if not any(path for kind in WEIGHTS for path in folder.glob(kind)):
        raise RecipeInvalid(
            f"Adapter {name}: {folder} has no weights ({WEIGHTS[0]}).",
            hint="The training may have been stopped before it saved; take another checkpoint.",
        )
    rank = _config(folder).get("r")
    if most is not None and isinstance(rank, int) and rank > most:
        wide = next((allowed for allowed in ranks if allowed >= rank), rank)
        raise RecipeInvalid(
            f"Adapter {name} has rank {rank}, which is more than {most}.",
            hint=f"Set {setting} to {wide}.",
        )


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

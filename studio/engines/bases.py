"""Does an adapter belong to a model: by the base it names, and by the shapes of its matrices."""

from __future__ import annotations

import json
from pathlib import Path

from studio.core.errors import RecipeInvalid
from studio.engines.adapters import CONFIG
from studio.engines.engine import is_local, resolve_path
from studio.engines.weights import Stored, stored

PREFIX = "base_model.model."
"""What PEFT writes in front of the name of a module."""


def base_of(adapter: str, root: Path) -> str:
    """Return the model an adapter folder says it was trained on; empty when it does not say."""
    try:
        text = (Path(resolve_path(adapter, str(root))) / CONFIG).read_text(encoding="utf-8")
        return str(json.loads(text).get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def check_base(adapter: str, model: str, root: Path, *, any_base: bool = False) -> None:
    """Raise RecipeInvalid when a local adapter was trained on another model than this one.

    The same folder, hub id or last name is the same model; `any_base` believes the user for other
    names. Matrices that do not fit are refused in any case.
    """
    folder = Path(resolve_path(adapter, str(root)))
    if not (folder / CONFIG).is_file():
        return
    base = base_of(adapter, root)
    if base and not any_base and not _same(base, model, root):
        raise RecipeInvalid(
            f"The adapter {folder} was trained on {base}, not on {model}.",
            hint=f"Set model_name_or_path to {base}, or any_base to true if they are the same "
            "weights in another place.",
        )
    if is_local(model):
        _check_shapes(folder, Path(resolve_path(model, str(root))))


def _same(base: str, model: str, root: Path) -> bool:
    """Compare two model names; a hub id and a folder of its name are taken for the same."""
    ours, theirs = (resolve_path(text.rstrip("/"), str(root)) for text in (model, base))
    if ours == theirs or Path(ours).name == Path(theirs).name:
        return True
    cached = "models--" + theirs.replace("/", "--")
    return cached in Path(ours).parts


def _check_shapes(adapter: Path, model: Path) -> None:
    """Refuse an adapter whose matrices have another size than the layers they hang on.

    Layers the model's files name differently are not judged, as long as some are found.
    """
    layers = {_plain(name): tensor for name, tensor in stored(model).items()}
    matrices = {}
    for name, tensor in stored(adapter, "adapter_model*.safetensors").items():
        module, _, side = name.partition(".lora_")
        if side.startswith(("A.", "B.")) and len(tensor.shape) == 2:
            matrices[module.removeprefix(PREFIX), side[0]] = tensor
    fitting = 0
    for (module, side), tensor in matrices.items():
        layer = layers.get(_plain(module) + ".weight")
        size = tensor.shape[1] if side == "A" else tensor.shape[0]
        if layer and size not in layer.shape:
            raise RecipeInvalid(
                f"The adapter {adapter} does not fit {model}: {module} has {_sides(layer)} there, "
                f"and the adapter wants {size}.",
                hint="Give the model the adapter was trained on.",
            )
        fitting += layer is not None
    if layers and matrices and not fitting:
        raise RecipeInvalid(
            f"The adapter {adapter} does not fit {model}: none of its layers is there.",
            hint="Give the model the adapter was trained on.",
        )


def _sides(layer: Stored) -> str:
    return " x ".join(map(str, layer.shape))


def _plain(name: str) -> str:
    """Return a layer's name as files of different transformers releases agree on it.

    Vision models keep their language model in `model.`, `language_model.` or both.
    """
    parts = [part for part in name.split(".") if part not in ("model", "language_model")]
    return ".".join(parts)

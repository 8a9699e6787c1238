"""Files of an image editor on the disk: the model folder, a GGUF transformer, LoRAs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.engines.engine import is_local, resolve_path
from studio.engines.workers.image_edit.sizes import PARTS, PIPELINES

INDEX = "model_index.json"
RESUME = "The download may be incomplete: repeat it, it resumes."
TEXT_TO_IMAGE = "QwenImagePipeline"


def check_image_model(
    model: str, root: Path, *, dummy: bool = False, without_transformer: bool = False
) -> None:
    """Raise RecipeInvalid unless a local name is a Qwen-Image-Edit folder with all its weights.

    With `dummy` configs and tokenizer are enough; `without_transformer` when a GGUF file has it.
    """
    if not is_local(model):
        if Path(root, model).is_dir():
            raise RecipeInvalid(
                f"{model} would be looked for on the hub, but it is also a folder here.",
                hint=f"Write ./{model} for the folder.",
            )
        return
    folder = Path(resolve_path(model, str(root)))
    if not folder.is_dir():
        raise RecipeInvalid(
            f"There is no model folder {folder}.",
            hint="Check the path, or give a hub id such as Qwen/Qwen-Image-Edit-2511.",
        )
    _check_pipeline(folder)
    for part in PARTS:
        if not (folder / part / "config.json").is_file():
            raise RecipeInvalid(f"{folder / part} has no config.json.", hint=RESUME)
    for part in PARTS:
        if not (dummy or (part == "transformer" and without_transformer)):
            _check_weights(folder / part)


def check_gguf(path: str, root: Path) -> None:
    """Raise RecipeInvalid unless a local path is a GGUF file; the hub is not looked up."""
    if not path.endswith(".gguf"):
        raise RecipeInvalid(
            f"gguf = {path} is no .gguf file.",
            hint="Give the file itself, such as /models/qwen-image-edit-2511-Q8_0.gguf.",
        )
    if not is_local(path):
        return
    file = Path(resolve_path(path, str(root)))
    if not file.is_file():
        raise RecipeInvalid(f"There is no file {file}.", hint="Check the path.")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise RecipeInvalid(f"{file} is not a GGUF file.", hint=RESUME)


def check_lora(name: str, path: str, root: Path) -> None:
    """Raise RecipeInvalid unless a local path is a LoRA file, or a folder that holds one."""
    if not is_local(path):
        return
    place = Path(resolve_path(path, str(root)))
    if place.is_dir():
        if not any(place.glob("*.safetensors")):
            raise RecipeInvalid(
                f"LoRA {name}: {place} holds no .safetensors file.", hint="Check the path."
            )
    elif not place.is_file():
        raise RecipeInvalid(f"LoRA {name}: there is no file {place}.", hint="Check the path.")


def _check_pipeline(folder: Path) -> None:
    if not (folder / INDEX).is_file():
        raise _no_pipeline(folder)
    told = _read(folder / INDEX)
    name = str(told.get("_class_name", ""))
    if name in PIPELINES:
        return
    if name == TEXT_TO_IMAGE:
        raise RecipeInvalid(
            f"{folder} is Qwen-Image, which makes pictures from text and edits none.",
            hint="Take Qwen-Image-Edit, such as Qwen/Qwen-Image-Edit-2511.",
        )
    raise RecipeInvalid(
        f"{folder} is a {name or 'nameless'} and not a Qwen-Image-Edit model.",
        hint="Take Qwen-Image-Edit, such as Qwen/Qwen-Image-Edit-2511.",
    )


def _no_pipeline(folder: Path) -> RecipeInvalid:
    """Say what a folder without model_index.json is instead."""
    weights = sorted(folder.glob("*.safetensors"))
    if (folder / "adapter_config.json").is_file() or any("lora" in p.name.lower() for p in weights):
        return RecipeInvalid(
            f"{folder} holds a LoRA, not a whole model.",
            hint="Set model to Qwen/Qwen-Image-Edit-2511 and add the LoRA to loras, as name=path.",
        )
    if any(folder.glob("*.gguf")):
        return RecipeInvalid(
            f"{folder} holds GGUF files, not a whole model.",
            hint="Set model to Qwen/Qwen-Image-Edit-2511 and gguf to one of the files.",
        )
    if (folder / "config.json").is_file():
        return RecipeInvalid(
            f"{folder} is one part of a model: it has a config.json and no {INDEX}.",
            hint="Point to the folder above it, the one with model_index.json.",
        )
    inside = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
    return RecipeInvalid(
        f"{folder} is not a Qwen-Image-Edit folder: it has no {INDEX} (it holds {inside}).",
        hint="Point to the folder with model_index.json, transformer, text_encoder and vae.",
    )


def _check_weights(folder: Path) -> None:
    """Raise RecipeInvalid when weight files are missing or are pointers that were never fetched."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        names = sorted(set(_read(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise RecipeInvalid(
                f"{len(missing)} of {len(names)} weight files are missing in {folder}: "
                f"{missing[0]}.",
                hint=RESUME,
            )
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise RecipeInvalid(
            f"{folder} has no weights (*.safetensors).",
            hint="Set load_format to dummy for random ones, or repeat the download.",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RecipeInvalid(f"{path} cannot be read.", hint=RESUME) from None
    return told if isinstance(told, dict) else {}

"""Names of data sets, looked up in a folder's dataset_info.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from studio.core.errors import RecipeInvalid
from studio.core.recipes import did_you_mean
from studio.engines.engine import EngineConfig, resolve_path

INFO = "dataset_info.json"

Config = TypeVar("Config", bound=EngineConfig)


def with_own_data(config: Config, home: Path) -> Config:
    """Return settings whose empty `dataset_dir` is the folder of the studio's own data sets."""
    if getattr(config, "dataset_dir"):  # noqa: B009 - only configs that have it come here
        return config
    return config.model_copy(update={"dataset_dir": str(home / "data")})


def check_own_datasets(names: str, dataset_dir: str, root: Path) -> None:
    """Check names against a recipe's own folder; those of the studio are its own business."""
    if dataset_dir:
        check_datasets(names, Path(resolve_path(dataset_dir, str(root))))


def check_datasets(names: str, folder: Path) -> None:
    """Raise RecipeInvalid unless every name, separated by commas, is in the folder's table."""
    known = list(table(folder))
    for name in (part.strip() for part in names.split(",")):
        if name not in known:
            raise RecipeInvalid(
                f"{folder / INFO} has no data set {name!r}.",
                hint=did_you_mean(name, known) or f"It has: {', '.join(known)}.",
            )


def table(folder: Path) -> dict[str, Any]:
    """Return a folder's dataset_info.json; raise RecipeInvalid when there is none."""
    info = folder / INFO
    try:
        return json.loads(info.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeInvalid(
            f"{folder} has no dataset_info.json.", hint="Set dataset_dir to the folder that has it."
        ) from error
    except ValueError as error:
        raise RecipeInvalid(f"{info} is not JSON: {error}.") from error

"""A training as a YAML that `llamafactory-cli train` runs as it is."""

from __future__ import annotations

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.engines.engine import Engine, EngineConfig
from studio.engines.launchers import decide
from studio.engines.training_config import LlamaFactoryTrainConfig
from studio.engines.training_yaml import to_yaml


def training_yaml(
    engine: Engine,
    config: EngineConfig,
    *,
    cards: int | list[int] | None,
    has_gpu: bool,
    data_dir: str,
) -> str:
    """Return a launch as a YAML; raise RecipeInvalid for one of another engine."""
    if not isinstance(config, LlamaFactoryTrainConfig):
        raise RecipeInvalid(
            f"{engine.title} is not written as a YAML of LLaMA-Factory.",
            hint="Choose a training of LLaMA-Factory.",
        )
    if cards is None:
        cards = engine.resources(config, has_gpu).num_gpus
    way = decide(config.ask(str(ROOT)), len(cards) if isinstance(cards, list) else cards)
    return to_yaml(config, way, str(ROOT), data_dir)

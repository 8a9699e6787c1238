"""Which engines the Serve tab offers, and what it knows about their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from studio.core.settings import ROOT
from studio.engines.found import local_models
from studio.ui.forms.form import Extras

if TYPE_CHECKING:
    from studio.engines.engine import Engine
    from studio.studio import Studio

MODEL_FIELDS = ("model", "model_name_or_path", "model_path")
ELSEWHERE = ("image-edit",)
"""Engines that serve and have a tab of their own."""


def offers(engine: Engine) -> bool:
    """Tell whether an engine serves something one can talk to."""
    serves = engine.serves and "host" in engine.Config.model_fields
    return serves and engine.id not in ELSEWHERE


def serving_extras(studio: Studio) -> Callable[[Engine], Extras]:
    """Return what is offered while a model is typed: what is here, and what recipes name."""

    def extras(engine: Engine) -> Extras:
        named = (
            str(recipe.settings[key])
            for recipe in studio.recipes.list()
            for key in MODEL_FIELDS
            if key in recipe.settings
        )
        models = list(dict.fromkeys([*local_models(ROOT, studio.settings.home), *named]))
        return Extras(suggestions=dict.fromkeys(MODEL_FIELDS, models))

    return extras

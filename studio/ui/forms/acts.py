"""What the two buttons under a work form do: launch what it says, or keep it as a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gradio as gr

from studio.ui import widgets as w
from studio.ui.door.gate import require_operator
from studio.ui.forms.work import Asked, save_recipe
from studio.ui.i18n import lang_of, say

if TYPE_CHECKING:
    from studio.studio import Studio


def form_act(
    studio: Studio,
    selected: str,
    event: gr.EventData,
    request: gr.Request,
    *,
    launch: Callable[[Asked], str],
) -> str:
    """Do what a button of the form says; return the id of the run to show.

    `launch` launches an ask and returns its run; any other act leaves `selected` as it is.
    """
    require_operator(request)
    if event.act == "launch":
        return launch(Asked.read(event.value))
    if event.act == "save":
        keep_recipe(studio, event.value, lang_of(request))
    return selected


def keep_recipe(studio: Studio, text: str, lang: str) -> None:
    """Keep what a form says as a recipe, and tell its name; raise RecipeInvalid."""
    recipe = save_recipe(studio, text)
    gr.Info(say(lang, "form.saved", name=w.esc(recipe.name)), duration=4)

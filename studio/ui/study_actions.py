"""What the Studies view can do: begin a study, stop it, go on with it, delete its results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import Bilingual, Recipe
from studio.engines.study_config import StudyConfig
from studio.studies.record import Record
from studio.ui.study_look import Seen, StudyLooks
from studio.ui.study_settings import ENGINE, settings_of, study_launch
from studio.ui.study_verdict import verdict_rows
from studio.ui.workform import Asked

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio


class StudyActions:
    """The verbs of the view, with plain values."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._looks = StudyLooks(studio)

    def launch_form(self, text: str) -> Run:
        """Begin what the form says; raise RecipeInvalid."""
        asked = Asked.read(text)
        recipe = self._studio.recipes.get(asked.recipe)
        return self._studio.launch(study_launch(recipe, settings_of(recipe, asked.settings)))

    def launch(self, study: str, changes: dict[str, Any]) -> Run:
        """Begin a study by its name with some settings changed, as the command line does."""
        recipe = self._studio.recipes.get(study if "/" in study else f"studies/{study}")
        if recipe.engine != ENGINE:
            raise RecipeInvalid(f"{recipe.name} is not a study.", hint="`study ls` lists them.")
        own = {key: value for key, value in changes.items() if key in StudyConfig.model_fields}
        others = {key: value for key, value in changes.items() if key not in own}
        if isinstance(own.get("cases"), list):
            own["cases"] = ",".join(map(str, own["cases"]))
        own["common"] = {**recipe.settings.get("common", {}), **own.get("common", {}), **others}
        settings = settings_of(recipe, {**_shown(recipe), **own})
        return self._studio.launch(study_launch(recipe, settings))

    def save(self, text: str) -> Recipe:
        """Keep what the form says as a study of the user's own; raise RecipeInvalid."""
        asked, name = Asked.read(text), str(json.loads(text).get("name", "")).strip()
        base = self._studio.recipes.get(asked.recipe)
        settings = settings_of(base, asked.settings)
        self._studio.validate(ENGINE, settings)
        kept = {
            "engine": ENGINE,
            "title": Bilingual(en=name, zh=name),
            "about": base.about,
            "settings": settings,
        }
        return self._studio.recipes.save(name, Recipe.model_validate(kept))

    def stop(self, name: str, *, now: bool = False) -> None:
        """Stop the runner, which stops the runs it launched first."""
        run = self._found(name).run
        if run is not None:
            self._studio.jobs.stop(run.id, now=now)

    def resume(self, name: str) -> Run:
        """Go on where a study ended: rows that are done are kept."""
        seen = self._found(name)
        if seen.results is None:
            raise NotFound(f"{name} has no results to go on with.", hint="Begin it anew.")
        study = Record(seen.results.folder).study()
        recipe = str(study.get("recipe") or "")
        ask = study_launch(self._recipe(recipe, seen), {**study["settings"], "results": seen.name})
        return self._studio.launch(ask)

    def delete(self, name: str) -> str:
        """Delete a study's results with those of its load tests; return the study's recipe."""
        seen = self._found(name)
        for folder in (*seen.load_folders, seen.name):
            if folder:
                self._studio.saved.delete(folder)
        return seen.recipe

    def state(self, name: str) -> dict[str, Any]:
        """Return what a study is doing as plain values."""
        seen = self._found(name)
        told: dict[str, Any] = {
            "name": seen.name,
            "recipe": seen.recipe,
            "run": seen.run.id if seen.run else "",
            "state": str(seen.state),
            "points": len(seen.points),
        }
        return {**(seen.look.as_dict() if seen.look else {}), **told}

    def verdicts(self, name: str, lang: str) -> list[dict[str, Any]]:
        """Return the verdicts with a sentence each."""
        return verdict_rows(lang, self._found(name))

    def _found(self, name: str) -> Seen:
        seen = self._looks.find(name) if name else None
        if seen is None:
            raise NotFound(f"There are no results called {name}.", hint="`study ls` lists them.")
        return seen

    def _recipe(self, name: str, seen: Seen) -> Recipe:
        """Return a study's recipe; one that is gone is named after its results."""
        try:
            return self._studio.recipes.get(name)
        except NotFound:
            title = (seen.look.title if seen.look else {}) or {"en": seen.name, "zh": seen.name}
            said = Bilingual(en=title["en"], zh=title["zh"])
            return Recipe(engine=ENGINE, title=said, about=said, path=None, name=name or seen.name)


def _shown(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that a form would show, as the recipe has them."""
    hidden = ("cases", "common", "load", "images", "matrix")
    return {key: value for key, value in recipe.settings.items() if key not in hidden}

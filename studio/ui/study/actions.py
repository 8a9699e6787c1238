"""What the Studies view can do: begin a study, stop it, go on with it, delete its results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from studio.core.errors import NotFound
from studio.core.recipes import Bilingual, Recipe
from studio.studies import studies
from studio.ui.forms.work import Asked
from studio.ui.study.look import Seen, StudyLooks
from studio.ui.study.settings import ENGINE, only, settings_of, study_launch
from studio.ui.study.verdict import verdict_rows

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
        made = dict(changes)
        if isinstance(made.get("cases"), list):
            recipe = studies.recipe(self._studio, study)
            made |= only([str(name) for name in made["cases"]], recipe.settings)
        return self._studio.launch(studies.study_ask(self._studio, study, made))

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
        return self._studio.launch(studies.resume_ask(self._studio, name))

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
            "state": "elsewhere" if seen.elsewhere else str(seen.state),
            "points": len(seen.points),
        }
        return {**(seen.look.as_dict() if seen.look else {}), **told}

    def verdicts(self, name: str, lang: str) -> list[dict[str, Any]]:
        """Return the verdicts with a sentence each."""
        return verdict_rows(lang, self._found(name))

    def _found(self, name: str) -> Seen:
        seen = self._looks.find(name) if name else None
        if seen is None:
            raise NotFound(
                f"There are no results called {name}.", hint="`study ls` lists the studies."
            )
        return seen

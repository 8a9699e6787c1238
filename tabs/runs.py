"""The Runs tab: the queue and the history on the left, one run with everything on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.core.errors import NotFound, StudioError
from studio.core.recipes import parse_overrides
from studio.core.spec import State
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.i18n import T, lang_of, say
from studio.ui.runs.pane import RunPane
from studio.ui.runs.routes import routes
from studio.ui.scripts import scripted
from studio.ui.sentences import one_line
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Launch, Studio

PAGE_ROWS = 60
SELECTED = "border-color:var(--l-accent);box-shadow:inset 3px 0 0 var(--l-accent)"


def build(studio: Studio) -> None:
    """Lay out the list, the run view and the form that starts a recipe."""
    do = Handlers(studio)
    with gr.Row(elem_classes="l-halves"):
        with gr.Column(scale=4, min_width=300, elem_classes="l-side"):
            with gr.Row(elem_classes="l-filter"):
                find = gr.Textbox(
                    label=T("runs.find"),
                    placeholder=T("runs.find_hint"),
                    elem_id="runs-find",
                    interactive=True,
                    scale=3,
                    min_width=120,
                )
                state = gr.Dropdown(
                    [(T("runs.all_states"), "")] + [(T(f"state.{s}"), str(s)) for s in State],
                    value="",
                    label=T("runs.state"),
                    elem_id="runs-state",
                    interactive=True,
                    scale=2,
                    min_width=120,
                )
            listing = acts_html(w.live("runs", find="", state=""), elem_id="runs-list")
            with gr.Accordion(T("runs.start"), open=False, elem_id="runs-start"):
                form = _launch_form(studio)
        with gr.Column(scale=9, min_width=320, elem_classes="l-main"):
            pane = RunPane(studio, "runs")
            pane.lay_out()
    selected = pane.selected
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    filters = [find.change, state.change]
    gr.on(filters, guard(do.list_view), [find, state], listing, **quiet, queue=False)
    pane.wire(also=[listing])

    cards, recipe, overrides, preview, launch = form
    cards.click(guard(do.choose), None, recipe, **quiet, queue=False)
    gr.on(
        [recipe.change, overrides.change],
        guard(do.preview_of),
        [recipe, overrides],
        preview,
        **quiet,
    )
    launch.click(
        guard(do.launch_recipe),
        [recipe, overrides],
        selected,
        show_progress="hidden",
        api_name="launch_recipe",
    )
    _script_names(do)
    opened("runs").click(guard(do.asked_for), [selected], selected, **quiet)


class Handlers:
    """What the tab's controls call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def list_view(self, find: str, state: str) -> str:
        """Return the list, kept current by its own route."""
        return w.live("runs", every_s=2, find=find or "", state=state or "")

    def choose(self, event: gr.EventData) -> str:
        """Return the recipe whose card was clicked."""
        return event.value

    def preview_of(self, recipe: str, overrides: str, request: gr.Request) -> str:
        """Return the script of a launch, or why it cannot be launched."""
        if not recipe:
            return w.note(say(lang_of(request), "runs.preview_wait"))
        mark = f'<style>.l-recipe[data-value="{w.esc(recipe)}"]{{{SELECTED}}}</style>'
        try:
            return mark + w.code(self._studio.preview_script(_ask(self._studio, recipe, overrides)))
        except StudioError as error:
            why = one_line(lang_of(request), error)
            return mark + w.note(why, tone="bad", icon_name="alert")

    def launch_recipe(self, recipe: str, overrides: str, request: gr.Request) -> str:
        """Launch a recipe with changes (`key=value` lines); return the run's id."""
        require_operator(request)
        if not recipe:
            raise NotFound(say(lang_of(request), "runs.preview_wait"))
        return self._studio.launch(_ask(self._studio, recipe, overrides)).id

    def asked_for(self, selected: str, event: gr.EventData) -> str:
        """Return the run that a link to this tab names."""
        newest = self._studio.jobs.list(limit=1)
        return event.query.get("run") or selected or (newest[0].id if newest else "")

    def stop_run(self, run_id: str, now: bool, request: gr.Request) -> dict[str, Any]:
        """Ask a run to stop; `now` skips the polite rungs."""
        require_operator(request)
        return self._studio.jobs.stop(run_id, now=now).summary()

    def get_run(self, run_id: str, request: gr.Request) -> dict[str, Any]:
        """Return everything known about one run."""
        require_operator(request)
        return self._studio.jobs.get(run_id).summary()

    def list_runs(self, request: gr.Request) -> list[dict[str, Any]]:
        """Return the newest runs."""
        require_operator(request)
        return [run.summary() for run in self._studio.jobs.list(limit=PAGE_ROWS)]

    def relaunch_run(self, run_id: str, request: gr.Request, changes: str = "") -> str:
        """Launch a run's frozen settings again, changed by `key=value` lines; return its id."""
        require_operator(request)
        return self._studio.relaunch(run_id, parse_overrides(_lines(changes))).id

    def delete_run(self, run_id: str, request: gr.Request) -> str:
        """Delete an ended run with its folder."""
        require_operator(request)
        self._studio.jobs.delete(run_id)
        return run_id


def _script_names(handlers: Handlers) -> None:
    scripted(
        handlers.stop_run,
        handlers.get_run,
        handlers.list_runs,
        handlers.relaunch_run,
        handlers.delete_run,
    )


# helpers ----------------------------------------------------------------------------------------


def _ask(studio: Studio, recipe: str, overrides: str) -> Launch:
    return studio.ask_for(studio.recipes.get(recipe), parse_overrides(_lines(overrides)))


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _launch_form(studio: Studio) -> tuple[gr.HTML, gr.Textbox, gr.Textbox, gr.HTML, gr.Button]:
    cards = acts_html(w.live("recipes", every_s=30), elem_id="runs-recipes")
    recipe = gr.Textbox(visible="hidden", elem_id="runs-recipe")
    overrides = gr.Textbox(
        label=T("runs.overrides"),
        placeholder=T("runs.overrides_hint"),
        lines=2,
        interactive=True,
        elem_id="runs-overrides",
    )
    preview = gr.HTML(elem_id="runs-preview")
    launch = gr.Button(T("runs.launch"), variant="primary", elem_id="runs-launch")
    return cards, recipe, overrides, preview, launch


TAB = Tab(id="runs", icon="runs", order=80, build=build, routes=routes)

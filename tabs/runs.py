"""The Runs tab: the queue and the history on the left, one run with everything on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import api

from studio.core.errors import NotFound, StudioError
from studio.core.recipes import parse_overrides
from studio.core.spec import State
from studio.jobs.logs import CHUNK_BYTES
from studio.ui import runview
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.errors import guard
from studio.ui.gate import require_operator
from studio.ui.i18n import T, lang_of, say
from studio.ui.runroutes import routes
from studio.ui.sentences import one_line
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
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
            selected = gr.Textbox(visible="hidden", elem_id="runs-selected")
            head = acts_html(w.live("runs/none", every_s=60), elem_id="runs-head")
            with gr.Tabs(elem_id="runs-tabs", visible=False) as parts:
                with gr.Tab(T("runs.log"), id="log"):
                    log = gr.HTML(elem_id="runs-log")
                with gr.Tab(T("runs.curves"), id="curves"):
                    pulse = acts_html(elem_id="runs-pulse")
                    no_curves = gr.HTML()
                    curves = gr.Plot(show_label=False, elem_id="runs-curves", visible=False)
                with gr.Tab(T("runs.settings_tab"), id="settings") as settings_tab:
                    settings = gr.HTML(elem_id="runs-settings")
                with gr.Tab(T("runs.files"), id="files") as files_tab:
                    files = gr.HTML(elem_id="runs-files")
                with gr.Tab(T("runs.compare"), id="compare") as compare_tab:
                    other = gr.Dropdown(
                        [], label=T("runs.compare_with"), interactive=True, elem_id="runs-other"
                    )
                    difference = gr.HTML(elem_id="runs-difference")

    shown = [selected, head, parts, log, settings, files, curves, no_curves, pulse]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    filters = [find.change, state.change]
    gr.on(filters, guard(do.list_view), [find, state], listing, **quiet, queue=False)
    selected.change(guard(do.show), selected, shown, **quiet)
    for source in (listing, head):
        source.click(guard(do.act), [selected], selected, **quiet)
    pulse.click(guard(do.draw), selected, [curves, no_curves], **quiet)
    settings_tab.select(guard(do.list_settings), selected, settings, **quiet)
    files_tab.select(guard(do.list_files), selected, files, **quiet)
    compare_tab.select(guard(do.others), selected, other, **quiet)
    other.change(guard(do.compare), [selected, other], difference, **quiet)

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

    def show(self, run_id: str, request: gr.Request) -> list[Any]:
        """Fill the right half with one run, or with what to do when there is none."""
        lang = lang_of(request)
        if not run_id:
            none = w.live("runs/none", every_s=60)
            return ["", none, gr.update(visible=False), *[gr.skip()] * 6]
        run = self._studio.jobs.get(run_id)
        return [
            run.id,
            w.live(f"run/{run.id}/head", every_s=1),
            gr.update(visible=True, selected="log"),
            _log_view(lang, run),
            runview.settings(lang, run),
            runview.files(lang, run),
            gr.update(visible=False, value=None),
            w.note(say(lang, "runs.no_curves")),
            _pulse(run),
        ]

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Do what a button in the list or the head says; return the run to show."""
        require_operator(request)
        lang = lang_of(request)
        if event.act == "select":
            return event.value
        if event.act in ("stop", "stop-now"):
            run = self._studio.jobs.stop(event.value, now=event.act == "stop-now")
            gr.Info(say(lang, "runs.stopped_toast", name=w.esc(run.spec.name)), duration=3)
        elif event.act == "relaunch":
            return self._studio.relaunch(event.value).id
        elif event.act == "delete":
            run = self._studio.jobs.get(event.value)
            self._studio.jobs.delete(run.id)
            gr.Info(say(lang, "runs.deleted", name=w.esc(run.spec.name)), duration=3)
            return ""
        return selected

    def draw(self, run_id: str) -> list[Any]:
        """Draw the curves; asked for only while they are looked at and have changed."""
        if not run_id:
            return [gr.skip()] * 2
        from studio.ui.plots import curves  # plotly, only when somebody looks

        run = self._studio.jobs.get(run_id)
        figure = curves(self._studio.points(run.id), run.dir.metrics(), keep=run.id)
        if figure is None:
            return [gr.skip()] * 2
        return [gr.update(value=figure, visible=True), gr.update(value="", visible=False)]

    def list_settings(self, run_id: str, request: gr.Request) -> str:
        """Show the frozen settings and what has been measured by now."""
        return runview.settings(lang_of(request), self._studio.jobs.get(run_id)) if run_id else ""

    def list_files(self, run_id: str, request: gr.Request) -> str:
        """List the files of the run folder."""
        return runview.files(lang_of(request), self._studio.jobs.get(run_id)) if run_id else ""

    def others(self, run_id: str, request: gr.Request) -> Any:
        """Offer the other runs to compare with, those of the same engine first."""
        if not run_id:
            return gr.skip()
        engine = self._studio.jobs.get(run_id).spec.engine
        found = [run for run in self._studio.jobs.list(limit=PAGE_ROWS) if run.id != run_id]
        found.sort(key=lambda run: run.spec.engine != engine)
        lang = lang_of(request)
        choices = [
            (f"{r.spec.name} · {r.id} · {say(lang, f'state.{r.state}')}", r.id) for r in found
        ]
        return gr.Dropdown(choices, value=None)

    def compare(self, run_id: str, other: str, request: gr.Request) -> str:
        """Show the settings and figures in which two runs differ."""
        if not run_id or not other:
            return ""
        return runview.difference(
            lang_of(request), self._studio.jobs.get(run_id), self._studio.jobs.get(other)
        )

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

    def relaunch_run(self, run_id: str, request: gr.Request) -> str:
        """Launch a run's frozen settings again; return the new run's id."""
        require_operator(request)
        return self._studio.relaunch(run_id).id

    def delete_run(self, run_id: str, request: gr.Request) -> str:
        """Delete an ended run with its folder."""
        require_operator(request)
        self._studio.jobs.delete(run_id)
        return run_id


def _script_names(handlers: Handlers) -> None:
    for fn in (
        handlers.stop_run,
        handlers.get_run,
        handlers.list_runs,
        handlers.relaunch_run,
        handlers.delete_run,
    ):
        api(guard(fn), api_name=fn.__name__)


# helpers ----------------------------------------------------------------------------------------


def _ask(studio: Studio, recipe: str, overrides: str) -> Launch:
    words = [line.strip() for line in (overrides or "").splitlines() if line.strip()]
    return studio.ask_for(studio.recipes.get(recipe), parse_overrides(words))


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


def _pulse(run: Run) -> str:
    """Return an unseen place that clicks its button when a run's curves have changed."""
    return (
        w.live(f"run/{run.id}/pulse", every_s=3, show="pulse")
        + f'<button type="button" data-act="draw" data-value="{run.id}" hidden></button>'
    )


def _log_view(lang: str, run: Run) -> str:
    """Return the frame of the log; `assets/js/runs.js` fills and follows it."""
    follow, find, download = (say(lang, f"runs.{k}") for k in ("follow", "search", "download"))
    size = run.dir.log.stat().st_size if run.dir.log.exists() else 0
    offset = max(0, size - CHUNK_BYTES) and -CHUNK_BYTES
    live = w.live(f"run/{run.id}/log", every_s=1, show="log", offset=str(offset))
    live = live.replace("<div ", f'<div data-run="{run.id}" ', 1)
    return (
        '<div class="l-log"><div class="l-log-bar">'
        f'<button type="button" class="l-button quiet" data-log-follow>{w.icon("down")}'
        f"<span>{w.esc(follow)}</span></button>"
        f'<input type="search" data-log-find placeholder="{w.esc(find)}" '
        f'aria-label="{w.esc(find)}">'
        f'<a class="l-button quiet" download href="/ladder/run/{run.id}/file/log.txt">'
        f"{w.icon('download')}<span>{w.esc(download)}</span></a></div>"
        f'<div class="l-log-hits" hidden></div><div class="l-log-lines" tabindex="0"></div>'
        f"{live}</div>"
    )


TAB = Tab(id="runs", icon="runs", order=80, build=build, routes=routes)

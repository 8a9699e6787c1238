"""The right half of every work tab: one run with its head, log, curves, settings and files.

    pane = RunPane(studio, "serve", first=[Part("live", T("serve.live"), view)])
    pane.lay_out()                          # inside a column
    pane.wire(also=[listing])               # HTML whose buttons may select or stop runs as well
    something.click(choose, None, pane.selected)    # shows the run whose id is returned

`selected` holds the id of the run that is shown; whatever changes it fills the pane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.jobs.logs import CHUNK_BYTES
from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.i18n import T, lang_of, say
from studio.ui.runs import fixes as fixview
from studio.ui.runs import view as runview

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
OTHERS = 60
"""How many runs are offered for a comparison."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A page of the pane that a tab adds: `view` gives its HTML, `act` hears its buttons."""

    id: str
    label: Any
    view: Callable[[str, Run], str]
    act: Callable[[Run, Any, str], str | None] | None = None
    """Takes the run, the event (`act`, `value`) and the language; a returned id is shown next."""
    opens: Callable[[Run], bool] | None = None
    """Tells whether the pane opens here; without it the first part does while a run is alive."""


class RunPane:
    """The components of one pane and what they call."""

    def __init__(self, studio: Studio, name: str, *, first: Sequence[Part] = ()) -> None:
        self._studio, self._name, self._first = studio, name, first

    def lay_out(self) -> None:
        """Make the components, inside whatever column is open."""
        name = self._name
        self.selected = gr.Textbox(visible="hidden", elem_id=f"{name}-selected")
        self._head = acts_html(w.live(f"{name}/none", every_s=60), elem_id=f"{name}-head")
        self._extra: list[gr.HTML] = []
        with gr.Tabs(elem_id=f"{name}-tabs", visible=False) as self._parts:
            for part in self._first:
                with gr.Tab(part.label, id=part.id):
                    self._extra.append(acts_html(elem_id=f"{name}-{part.id}"))
            with gr.Tab(T("runs.log"), id="log"):
                self._log = gr.HTML(elem_id=f"{name}-log")
            with gr.Tab(T("runs.curves"), id="curves"):
                self._pulse = acts_html(elem_id=f"{name}-pulse")
                self._no_curves = gr.HTML()
                self._curves = gr.Plot(show_label=False, elem_id=f"{name}-curves", visible=False)
            with gr.Tab(T("runs.settings_tab"), id="settings") as self._settings_tab:
                self._settings = gr.HTML(elem_id=f"{name}-settings")
            with gr.Tab(T("runs.files"), id="files") as self._files_tab:
                self._files = gr.HTML(elem_id=f"{name}-files")
            with gr.Tab(T("runs.compare"), id="compare") as self._compare_tab:
                self._other = gr.Dropdown(
                    [], label=T("runs.compare_with"), interactive=True, elem_id=f"{name}-other"
                )
                self._difference = gr.HTML(elem_id=f"{name}-difference")

    def wire(self, also: Sequence[gr.HTML] = ()) -> None:
        """Connect the components; buttons in `also` may select, stop, relaunch and delete too."""
        selected = self.selected
        shown = [selected, self._head, self._parts, self._log, self._settings, self._files]
        shown += [self._curves, self._no_curves, self._pulse, *self._extra]
        selected.change(guard(self.show), selected, shown, **QUIET)
        for source in (*also, self._head):
            source.click(guard(self.act), [selected], selected, **QUIET)
        for part, place in zip(self._first, self._extra, strict=True):
            if part.act is not None:
                heard = _Heard(self._studio, part)
                place.click(guard(heard.act), [selected], [selected, place], **QUIET)
        self._pulse.click(guard(self.draw), selected, [self._curves, self._no_curves], **QUIET)
        self._settings_tab.select(guard(self.list_settings), selected, self._settings, **QUIET)
        self._files_tab.select(guard(self.list_files), selected, self._files, **QUIET)
        self._compare_tab.select(guard(self.others), selected, self._other, **QUIET)
        self._other.change(guard(self.compare), [selected, self._other], self._difference, **QUIET)

    # what the components call -------------------------------------------------------------------

    def show(self, run_id: str, request: gr.Request) -> list[Any]:
        """Fill the pane with one run, or with what to do when there is none."""
        lang, extra = lang_of(request), len(self._first)
        if not run_id:
            none = w.live(f"{self._name}/none", every_s=60)
            return ["", none, gr.update(visible=False), *[gr.skip()] * (6 + extra)]
        run = self._studio.jobs.get(run_id)
        opening = self._opening(run)
        return [
            run.id,
            w.live(f"run/{run.id}/head", every_s=1),
            gr.update(visible=True, selected=opening),
            log_view(lang, run),
            runview.settings(lang, run),
            runview.files(lang, run),
            gr.update(visible=False, value=None),
            w.note(say(lang, "runs.no_curves")),
            _pulse(run),
            *[part.view(lang, run) for part in self._first],
        ]

    def _opening(self, run: Run) -> str:
        """Return the part a run is first seen in: at work the first one, else the log."""
        if self._first and run.state.alive:
            return self._first[0].id
        wanted = (part.id for part in self._first if part.opens is not None and part.opens(run))
        return next(wanted, "log")

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Do what a button in a list or the head says; return the run to show."""
        require_operator(request)
        lang = lang_of(request)
        if event.act == "select":
            return event.value
        if event.act in ("stop", "stop-now"):
            run = self._studio.jobs.stop(event.value, now=event.act == "stop-now")
            gr.Info(say(lang, "runs.stopped_toast", name=w.esc(run.spec.name)), duration=3)
        elif event.act == "relaunch":
            return self._studio.relaunch(event.value).id
        elif event.act == fixview.ACT:
            return fixview.relaunch_with(self._studio, event.value).id
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
        from studio.ui.runs.plots import curves  # plotly, only when somebody looks

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
        found = [run for run in self._studio.jobs.list(limit=OTHERS) if run.id != run_id]
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


class _Heard:
    """What the buttons of an added part call."""

    def __init__(self, studio: Studio, part: Part) -> None:
        self._studio, self._part = studio, part

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> list[Any]:
        """Let the part do it, then show the part anew, or the run it names."""
        require_operator(request)
        lang, run = lang_of(request), self._studio.jobs.get(selected)
        assert self._part.act is not None
        nxt = self._part.act(run, event, lang)
        if nxt and nxt != selected:
            return [nxt, gr.skip()]
        return [gr.skip(), self._part.view(lang, self._studio.jobs.get(selected))]


def log_view(lang: str, run: Run) -> str:
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


def _pulse(run: Run) -> str:
    """Return an unseen place that clicks its button when a run's curves have changed."""
    return (
        w.live(f"run/{run.id}/pulse", every_s=3, show="pulse")
        + f'<button type="button" data-act="draw" data-value="{run.id}" hidden></button>'
    )

"""The Machine tab: cards and who holds them, the engines' environments, the host, the checkup."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.requests import Request

from studio.core.errors import NotFound
from studio.engines.engine import Progress
from studio.envs.envs import EnvState
from studio.jobs.jobs import Run
from studio.telemetry import doctor, snapshot
from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.errors import guard
from studio.ui.i18n import T, lang_of, say
from studio.ui.machine import view
from studio.ui.routes import Route, fragment
from studio.ui.scripts import scripted
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Studio

BUILDS = "env-build"
"""Engine whose runs build environments."""
CHECK_FRESH_S = 5.0


def build(studio: Studio) -> None:
    """Lay out four places that keep themselves current, and the form for adopting."""
    do = Handlers(studio)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    cards = acts_html(w.live("machine/cards"), elem_id="machine-cards")
    envs = acts_html(w.live("machine/envs"), elem_id="machine-envs")
    panel, name, go = _adopt_form(studio, do, quiet)
    gr.HTML(w.live("machine/host"), elem_id="machine-host", apply_default_css=False)
    check = acts_html(w.live("machine/checkup", every_s=60), elem_id="machine-checkup")

    for source in (cards, envs):
        source.click(guard(do.act), None, [panel, name], **quiet)
    check.click(None, None, None, js=_LOOK_AGAIN)
    go.success(lambda: gr.update(visible=False), None, panel, **quiet)
    scripted(do.env_list, do.env_build, do.env_remove, do.machine, do.doctor)


def _adopt_form(
    studio: Studio, do: Handlers, quiet: dict[str, Any]
) -> tuple[gr.Column, gr.Dropdown, Any]:
    with gr.Column(visible=False, elem_id="machine-adopt", elem_classes="l-panel") as panel:
        gr.Markdown(T("machine.adopt_title"), elem_id="machine-adopt-title")
        with gr.Row():
            name = gr.Dropdown(
                [(status.title, status.name) for status in studio.envs.list()],
                label=T("machine.adopt_env"),
                elem_id="machine-adopt-name",
                interactive=True,
            )
            python = gr.Textbox(
                label=T("machine.adopt_python"),
                info=T("machine.adopt_python_hint"),
                placeholder="/opt/conda/envs/vllm",
                elem_id="machine-adopt-python",
                interactive=True,
                scale=2,
            )
            path = gr.Textbox(
                label=T("machine.adopt_path"),
                info=T("machine.adopt_path_hint"),
                elem_id="machine-adopt-path",
                interactive=True,
                scale=2,
            )
        with gr.Row(elem_classes="l-buttons"):
            go = gr.Button(T("machine.adopt_go"), variant="primary", elem_id="machine-adopt-go")
            cancel = gr.Button(T("shell.cancel"), elem_id="machine-adopt-cancel")
    cancel.click(lambda: gr.update(visible=False), None, panel, **quiet)
    asked = go.click(guard(do.env_adopt), [name, python, path], None, api_name="env_adopt")
    return panel, name, asked


class Handlers:
    """What the tab's controls call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def act(self, event: gr.EventData, request: gr.Request) -> list[Any]:
        """Do what a button on a card says; open the form for adopting when that is asked."""
        lang, name = lang_of(request), event.value
        if event.act == "adopt":
            return [gr.update(visible=True), name]
        if event.act == "stop":
            run = self._studio.jobs.stop(name)
            gr.Info(say(lang, "machine.stopping", name=w.esc(run.spec.name)), duration=4)
        elif event.act == "build":
            title = self._studio.envs.status(name).title
            self._studio.build_env(name)
            gr.Info(say(lang, "machine.building", title=title), duration=4)
        elif event.act == "remove":
            title = self._studio.envs.status(name).title
            self._studio.envs.remove(name)
            gr.Info(say(lang, "machine.removed", title=title), duration=4)
        return [gr.skip(), gr.skip()]

    def env_adopt(self, name: str, python: str, pythonpath: str, request: gr.Request) -> None:
        """Use an interpreter that is there already, once it has imported the engine."""
        if not name or not python.strip():
            raise NotFound(say(lang_of(request), "machine.adopt_python_hint"))
        folders = tuple(Path(part) for part in pythonpath.split(":") if part.strip())
        status = self._studio.envs.adopt(name, Path(python.strip()), folders)
        text = say(
            lang_of(request), "machine.adopt_done", title=status.title, python=w.esc(status.python)
        )
        gr.Info(text, duration=6)

    def env_list(self) -> list[dict[str, Any]]:
        """Return every engine's environment: state, versions, size, what is wrong."""
        return [status.as_dict() for status in self._studio.envs.list()]

    def env_build(self, name: str, fresh: bool = False) -> str:
        """Build or repair an environment; return the id of the run that does it."""
        return self._studio.build_env(name, fresh=fresh).id

    def env_remove(self, name: str) -> str:
        """Delete a built environment, or forget an adopted one."""
        self._studio.envs.remove(name)
        return name

    def machine(self) -> dict[str, Any]:
        """Return the cards, who holds them, and the host."""
        host = snapshot.host(self._studio.settings.home).get()
        return {"cards": [_plain(card) for card in snapshot.cards().get()], "host": vars(host)}

    def doctor(self) -> list[dict[str, Any]]:
        """Look for what will go wrong, with the fix for each finding."""
        return [finding.as_dict() for finding in doctor.check(self._studio, serving=True)]


def _plain(card: snapshot.Gpu) -> dict[str, Any]:
    return {**vars(card), "holders": [vars(holder) for holder in card.holders]}


_LOOK_AGAIN = """() => {
  const place = document.querySelector("#machine-checkup [data-ladder-live]");
  if (place) window.ladder.refresh(place);
}"""


# routes -----------------------------------------------------------------------------------------


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the tab looks at again and again; one reading serves all viewers."""
    looks = _Looks(studio)
    return [
        Route("machine/cards", looks.cards),
        Route("machine/envs", looks.environments),
        Route("machine/host", looks.host),
        Route("machine/checkup", looks.checkup),
    ]


class _Looks:
    """The tab's four places."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._findings = snapshot.Shared(
            lambda: doctor.check(studio, serving=True), fresh_s=CHECK_FRESH_S
        )
        self._waiting = snapshot.Shared(lambda: len(studio.jobs.queue()))
        self._environments = snapshot.Shared(lambda: (studio.envs.list(), self._builds()))

    def cards(self, request: Request) -> dict[str, Any]:
        """Return the cards with the runs and strangers on them."""
        found = snapshot.cards().get()
        ids = {holder.run_id for card in found for holder in card.holders if holder.run_id}
        runs = {run_id: run for run_id in ids if (run := self._run(run_id)) is not None}
        waiting = self._waiting.get()
        return fragment(request, view.cards(lang_of(request), found, runs, waiting))

    def environments(self, request: Request) -> dict[str, Any]:
        """Return the environments, and the builds under way with their progress."""
        found, builds = self._environments.get()
        free = snapshot.host(self._studio.settings.home).get().disk_free_bytes
        return fragment(request, view.environments(lang_of(request), found, builds, free))

    def host(self, request: Request) -> dict[str, Any]:
        """Return processor, memory, disk and versions."""
        home = self._studio.settings.home
        driver = snapshot.driver().get()
        return fragment(
            request, view.host(lang_of(request), snapshot.host(home).get(), driver, home)
        )

    def checkup(self, request: Request) -> dict[str, Any]:
        """Return what the doctor found."""
        return fragment(request, view.checkup(lang_of(request), self._findings.get()))

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._studio.jobs.get(run_id)
        except NotFound:
            return None  # a run of another home on this machine

    def _builds(self) -> dict[str, tuple[Run, Progress | None]]:
        """Return the builds under way by environment; looked up only while there is one."""
        if not any(s.state is EnvState.BUILDING for s in self._studio.envs.list()):
            newest = self._studio.jobs.list(engine=BUILDS, limit=1)
            if not newest or not newest[0].state.alive:
                return {}
        runs = self._studio.jobs.list(engine=BUILDS, limit=10)
        return {
            run.spec.env_name: (run, self._studio.progress(run.id))
            for run in reversed(runs)
            if run.state.alive
        }


TAB = Tab(id="machine", icon="machine", order=90, build=build, routes=routes)

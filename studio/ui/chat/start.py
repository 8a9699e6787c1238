"""No endpoint yet: three ways to get one, and the steps while the first of them is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.core.errors import NotFound, RecipeInvalid, StudioError
from studio.core.recipes import Recipe
from studio.core.spec import Endpoint, State
from studio.engines.explain import explain
from studio.jobs.logs import last_lines
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import one_line, translate

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

STARTER = "vllm/smoke-vl"
"""The recipe that is offered where a model with eyes is needed."""
LOOKED_AT = 20
"""How many of the newest runs are looked through for one that is starting."""
_GOING = (State.QUEUED, State.STARTING, State.RUNNING)


def ways(lang: str, studio: Studio, *, back: bool) -> str:
    """Return the ways by click: the tiny model, every other recipe, addresses kept before.

    `back` adds the way back to the chat, for when there is something to chat with already.
    """
    parts = [
        _first(lang, studio),
        _second(lang, studio),
        _others(lang, studio),
        _kept(lang, studio.external.list()),
    ]
    if back:
        button = w.action(
            say(lang, "chat.start.back_to_chat"), "back", icon_name="left", kind="quiet"
        )
        parts.insert(0, f'<div class="chat-back">{button}</div>')
    return f'<div class="chat-ways">{"".join(parts)}</div>'


def sees(studio: Studio) -> Recipe | None:
    """Return the recipe of the tiny model that sees, if it is there."""
    return next((r for r in studio.recipes.list() if r.name == STARTER), None)


def nothing_for_guests(lang: str) -> str:
    """Return what a guest sees while nothing runs."""
    return w.empty(lang, "chat.guest", icon_name="chat")


def chat_recipes(studio: Studio) -> list[Recipe]:
    """Return the recipes that serve a chat; those that cannot be used are left out."""
    found = []
    for recipe in studio.recipes.list():
        try:
            engine, config = studio.validate(recipe.engine, recipe.settings)
        except (NotFound, RecipeInvalid):
            continue
        offer = engine.endpoint(config) if engine.serves else None
        if offer is not None and offer.kind == "chat":
            found.append(recipe)
    return found


def starting_run(studio: Studio) -> Run | None:
    """Return the newest chat server that is on its way, so that a reloaded page shows it again."""
    for run in studio.jobs.list(limit=LOOKED_AT):
        offer = run.spec.endpoint
        if offer is not None and offer.kind == "chat" and run.state in _GOING:
            return run
    return None


def stop(studio: Studio, run_id: str) -> None:
    """Stop a server on its way, and the build it waits for unless another run waits for it too."""
    run = studio.jobs.stop(run_id)
    for build_id in run.spec.after:
        others = (r for r in studio.jobs.list(limit=LOOKED_AT) if r.id != run_id)
        if not any(build_id in r.spec.after and r.state in _GOING for r in others):
            studio.jobs.stop(build_id)


def steps(lang: str, studio: Studio, run_id: str) -> dict[str, Any]:
    """Return how far a server is: HTML, its version, and whether it is ready or has ended."""
    run = studio.jobs.get(run_id)
    build = _build_of(studio, run)
    building = build is not None and build.state is not State.DONE
    ready, ended = run.state is State.READY, not run.state.alive
    rows = []
    if build is not None:
        rows.append(_step(lang, studio, build, "build", build.state, active=building))
    waits = State.QUEUED if building else run.state
    rows.append(_step(lang, studio, run, "server", waits, active=not building))
    rows.append(_row(lang, "done" if ready else "todo", say(lang, "chat.start.ready"), ""))
    shown = build if building and build is not None else run
    html = (
        f'<section class="chat-steps"><header><h3>{w.esc(_title(lang, studio, run))}</h3>'
        f"{_clock(lang, run)}</header><ol>{''.join(rows)}</ol>"
        f"{_why(lang, shown) or _last_line(shown)}"
        f"<footer>{_buttons(lang, run, shown)}</footer></section>"
    )
    return {"html": html, "version": hash(html), "ready": ready, "ended": ended, "run": run.id}


def _first(lang: str, studio: Studio) -> str:
    try:
        recipe = studio.first_run()
        engine = studio.engine(recipe.engine)
    except StudioError as error:
        why = w.note(one_line(lang, error), tone="warn")
        return w.card(say(lang, "chat.start.first"), why)
    button = w.action(
        say(lang, "chat.start.first_button"), "start", recipe.name, icon_name="play", kind="primary"
    )
    built = _is_built(studio, recipe)
    time = say(lang, "chat.start.first_soon" if built else "chat.start.first_build")
    return (
        f'<section class="chat-first">{w.icon("sparkles")}<div>'
        f"<h3>{w.esc(say(lang, 'chat.start.first'))}</h3>"
        f"<p>{w.esc(say(lang, 'chat.start.first_text', engine=engine.title))}</p>"
        f'<div class="l-actions">{button}<span class="l-muted">{w.esc(time)}</span></div>'
        "</div></section>"
    )


def _second(lang: str, studio: Studio) -> str:
    """Return the smaller way to a model that sees."""
    recipe = sees(studio)
    if recipe is None:
        return ""
    label = say(lang, "chat.picture.start")
    start = w.action(label, "start", recipe.name, icon_name="play")
    return (
        f'<section class="chat-first chat-second">{w.icon("eye")}<div>'
        f"<h3>{w.esc(say(lang, 'chat.picture.starter'))}</h3>"
        f"<p>{w.esc(say(lang, 'chat.picture.starter_text'))}</p></div>{start}</section>"
    )


def _others(lang: str, studio: Studio) -> str:
    rows = []
    for recipe in chat_recipes(studio):
        if recipe.first or recipe.name == STARTER:
            continue  # they have buttons of their own
        engine = w.tag(translate(lang, studio.engine(recipe.engine).title))
        start = w.action(say(lang, "chat.start.start"), "start", recipe.name, icon_name="play")
        rows.append(
            f'<div class="chat-recipe"><div><b>{w.esc(recipe.title[lang])}</b>{engine}'
            f"<p>{w.esc(recipe.about[lang])}</p></div>{start}</div>"
        )
    body = "".join(rows) or w.note(say(lang, "chat.start.no_recipes"))
    return (
        f'<section class="chat-way"><header>{w.icon("book")}<h3>'
        f"{w.esc(say(lang, 'chat.start.recipes'))}</h3></header>{body}</section>"
    )


def _kept(lang: str, external: list[Endpoint]) -> str:
    """Return the addresses that are kept already, each with a way to forget it."""
    rows = []
    for endpoint in external:
        use = w.action(say(lang, "chat.start.use"), "use", endpoint.id, kind="quiet")
        sure = say(lang, "chat.start.forget_confirm", name=endpoint.name)
        forget = say(lang, "chat.start.forget")
        rows.append(
            f'<div class="chat-recipe"><div><b>{w.esc(endpoint.name)}</b>'
            f'<p class="l-mono">{w.esc(endpoint.base_url)}</p></div>{use}'
            f"{w.action(forget, 'forget', endpoint.id, kind='quiet', confirm=sure)}</div>"
        )
    if not rows:
        return ""
    head = w.esc(say(lang, "chat.start.kept"))
    return (
        f'<section class="chat-way chat-kept"><header>{w.icon("link")}<h3>{head}</h3></header>'
        f"{''.join(rows)}</section>"
    )


def _step(lang: str, studio: Studio, run: Run, what: str, state: State, *, active: bool) -> str:
    kind = _KINDS.get(state, "active")
    if kind == "active" and not active:
        kind = "todo"
    label = say(lang, f"chat.start.{what}", name=_name(studio, run))
    progress = studio.progress(run.id) if kind == "active" else None
    detail = ""
    if progress and progress.total:
        share = progress.done / progress.total
        far = (units.percent(share), translate(lang, progress.text))
        words = " · ".join(part for part in far if part)
        detail = w.bar(share, label=words)
    elif kind == "active" and state is State.QUEUED and run.reason:
        detail = f'<span class="l-muted">{w.esc(translate(lang, run.reason))}</span>'
    elif kind == "active":
        detail = w.bar(None)
    elif kind == "bad":
        detail = f'<span class="chat-bad">{w.esc(translate(lang, run.reason))}</span>'
    return _row(lang, kind, label, detail)


_KINDS = {
    State.READY: "done",
    State.DONE: "done",
    State.FAILED: "bad",
    State.LOST: "bad",
    State.STOPPED: "stopped",
}
_ICONS = {
    "done": "check",
    "active": "spinner",
    "todo": "clock",
    "bad": "cross",
    "stopped": "square",
}


def _row(lang: str, kind: str, label: str, detail: str) -> str:
    spin = " l-spin" if kind == "active" else ""
    said = say(lang, f"chat.step.{kind}")
    mark = f'<span class="chat-step-mark{spin}">{w.icon(_ICONS[kind], title=said)}</span>'
    return f'<li class="chat-{kind}">{mark}<div><span>{w.esc(label)}</span>{detail}</div></li>'


def _buttons(lang: str, run: Run, shown: Run) -> str:
    log = w.link(say(lang, "chat.start.log"), "runs", run=shown.id)
    if run.state.alive and run.state is not State.STOPPING:
        stop_it = say(lang, "chat.start.stop")
        return log + w.action(stop_it, "stop-start", run.id, icon_name="square", kind="danger")
    if run.state is State.STOPPING:
        return log
    back = w.action(say(lang, "chat.start.back"), "ways", kind="quiet")
    again = say(lang, "chat.start.again")
    if run.spec.recipe:
        return log + back + w.action(again, "start", run.spec.recipe, icon_name="refresh")
    return log + back


def _why(lang: str, run: Run) -> str:
    """Return why it failed, the lines that prove it and what to do; empty when it did not."""
    why = explain(run)
    if why is None:
        return ""
    lines = w.esc("\n".join(why.lines))
    proof = f'<pre class="chat-line chat-proof">{lines}</pre>' if lines else ""
    says, advice = w.esc(why.says[lang]), w.esc(why.advice[lang])
    return f'<div class="chat-fault"><b>{says}</b><br>{advice}</div>{proof}'


def _last_line(run: Run) -> str:
    lines = last_lines(run.dir.log, 1) if run.state is not State.QUEUED else []
    return f'<pre class="chat-line">{w.esc(lines[-1][:240] if lines else " ")}</pre>'


def _clock(lang: str, run: Run) -> str:
    if not run.state.alive:
        return w.badge(lang, run.state)
    at = f"{run.spec.created_at:.0f}"
    return f'<span class="chat-clock" data-ladder-keep data-chat-since="{at}"></span>'


def _title(lang: str, studio: Studio, run: Run) -> str:
    try:
        return studio.recipes.get(run.spec.recipe or "").title[lang]
    except StudioError:
        return run.spec.title or run.spec.name


def _name(studio: Studio, run: Run) -> str:
    if run.spec.engine == "env-build":
        return studio.envs.status(run.spec.env_name).title
    engine = studio.engines.get(run.spec.engine)
    return engine.title if engine else run.spec.engine


def _build_of(studio: Studio, run: Run) -> Run | None:
    for build_id in run.spec.after:
        try:
            return studio.jobs.get(build_id)
        except NotFound:
            continue
    return None


def _is_built(studio: Studio, recipe: Recipe) -> bool:
    engine = studio.engine(recipe.engine)
    return engine.env is None or studio.envs.status(engine.env.name).state.usable

"""The Chat tab: conversations on the left, one or two models in the middle, settings beside."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gradio.events import api
from starlette.requests import Request
from starlette.responses import Response

from studio.chat.album import kind_of
from studio.chat.conversations import Conversations
from studio.chat.desk import Desk
from studio.chat.export import as_jsonl, as_markdown, file_name
from studio.core.errors import NotFound
from studio.ui.actions import opened
from studio.ui.chat import start as chat_start
from studio.ui.chat.layout import Layout, lay_out
from studio.ui.chat.parts import person_of
from studio.ui.chat.pickers import Pickers
from studio.ui.chat.pictures import Attach, sample_folder
from studio.ui.chat.scripts import Scripts
from studio.ui.chat.shelf import Shelf
from studio.ui.chat.talk import Talk
from studio.ui.door.gate import visitor
from studio.ui.errors import guard
from studio.ui.i18n import lang_of, say
from studio.ui.routes import Route
from studio.ui.scripts import scripted
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Studio

MAX_ANSWERS = 64
"""How many people may be answered at the same time."""
MAX_UPLOADS = 2
"""How many pictures are decoded at the same time; one of 50 megapixels takes up to 520 MiB."""
PICTURE_RULES = "default-src 'none'; sandbox"
"""What a picture opened by its address may do in the browser: nothing."""


def build(studio: Studio) -> None:
    """Lay out the tab, give its handlers what they need, and wire both."""
    page = lay_out()
    desk = Desk(studio.settings.chats_dir, studio.endpoints)
    pickers, talk = Pickers(studio, desk, page.parts), Talk(desk, page.parts)
    _wire_shelf(Shelf(desk, page.parts, talk, pickers), pickers, page)
    _wire_pickers(pickers, page)
    attach = Attach(studio, desk, page.parts, pickers)
    _wire_talk(talk, attach, page)
    _wire_pictures(attach, page)
    scripts = Scripts(studio, desk)
    api(_streams(guard(scripts.chat)), api_name="chat", concurrency_limit=MAX_ANSWERS)
    scripted(scripts.endpoints, scripts.start_recipe)


# wiring -----------------------------------------------------------------------------------------

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def _wire_shelf(shelf: Shelf, pickers: Pickers, page: Layout) -> None:
    parts, find = page.parts, page.find
    state = [parts.conversation, parts.endpoint]
    arrived = opened("chat").click(guard(shelf.arrive), state, parts.all(), **QUIET)
    arrived.then(guard(pickers.choose), [parts.endpoint, parts.model], parts.model, **QUIET)
    page.new.click(guard(shelf.new), None, parts.all(), **QUIET)
    parts.listing.click(guard(shelf.act), [parts.conversation, find], parts.all(), **QUIET)
    find.change(guard(shelf.search), [find, parts.conversation], parts.listing, **QUIET)


def _wire_pickers(pickers: Pickers, page: Layout) -> None:
    parts, every = page.parts, page.parts.all()
    changed = [
        page.watch.click(
            guard(pickers.refresh),
            [parts.conversation, parts.endpoint, parts.endpoint_b],
            every,
            **QUIET,
        )
    ]
    for endpoint, model in ((parts.endpoint, parts.model), (parts.endpoint_b, parts.model_b)):
        endpoint.input(guard(pickers.choose), [endpoint, model], model, **QUIET)
    compared = [parts.compare, parts.endpoint]
    parts.compare_button.click(guard(pickers.toggle_compare), compared, every, **QUIET)
    page.add.click(guard(pickers.show_start), None, every, **QUIET)
    for source in (parts.steps, parts.ways):
        changed.append(source.click(guard(pickers.act), parts.endpoint, every, **QUIET))
    for event in (page.connect.click, page.url.submit):
        changed.append(event(guard(pickers.connect), [page.url, page.key], every, **QUIET))
    for event in changed:  # asking a server for its models may take long; the page does not wait
        event.then(guard(pickers.choose), [parts.endpoint, parts.model], parts.model, **QUIET)


def _wire_talk(talk: Talk, attach: Attach, page: Layout) -> None:
    parts, every = page.parts, page.parts.all()
    pickers = [parts.endpoint, parts.model, parts.compare, parts.endpoint_b, parts.model_b]
    chosen = [parts.conversation, *pickers, *page.settings, parts.attached]
    answered: dict[str, Any] = {
        "concurrency_limit": MAX_ANSWERS,
        "concurrency_id": "chat-answers",
        **QUIET,
    }
    parts.box.submit(guard(talk.ask), [parts.box, *chosen], every, **answered)
    for side in (parts.left, parts.right):
        side.example_select(guard(talk.sample), chosen, every, **answered)
        side.retry(guard(talk.retry), chosen, every, **answered)
        side.edit(guard(talk.edit), chosen, every, **answered)
        undone = side.undo(guard(talk.undo), parts.conversation, every, **QUIET)
        undone.then(guard(attach.redraw), [parts.attached, parts.endpoint], every, **QUIET)
    parts.box.stop(guard(talk.stop), parts.conversation, None, queue=False, **QUIET)


def _wire_pictures(attach: Attach, page: Layout) -> None:
    parts = page.parts
    drawn = [parts.strip, parts.left]
    state, shown = [parts.attached, parts.endpoint], [parts.attached, parts.strip]
    page.attach.upload(
        guard(attach.add),
        [page.attach, *state],
        shown,
        concurrency_limit=MAX_UPLOADS,
        concurrency_id="chat-pictures",
        **QUIET,
    )
    parts.strip.click(guard(attach.act), state, parts.all(), **QUIET)
    parts.endpoint.change(guard(attach.redraw), state, drawn, **QUIET)


def _streams(fn: Any) -> Any:
    """Tell Gradio what one value of a streaming handler is."""
    fn.__annotations__ = {**fn.__annotations__, "return": "str"}
    return fn


# routes -----------------------------------------------------------------------------------------


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the page looks at again and again, and the exports."""
    return [
        Route("chat/endpoints", functools.partial(_endpoints, studio), guest=True),
        Route("chat/start/{run}", functools.partial(_steps, studio)),
        Route("chat/{id}/export.{kind}", functools.partial(_export, studio), guest=True),
        Route("chat/picture/{name}", functools.partial(_picture, studio), guest=True),
        Route("chat/sample/{name}", _sample, guest=True),
    ]


def _endpoints(studio: Studio, request: Request) -> dict[str, Any]:
    """Return a word that changes whenever the endpoints do."""
    guest = visitor(request).role != "operator"
    found = [e.id for e in studio.endpoints() if e.run_id is not None or not guest]
    return {"version": " ".join(found)}


def _steps(studio: Studio, request: Request) -> dict[str, Any]:
    return chat_start.steps(lang_of(request), studio, request.path_params["run"])


def _export(studio: Studio, request: Request) -> Response:
    """Send one of the visitor's own conversations as a file."""
    store = Conversations(studio.settings.chats_dir, person_of(request).owner)
    conversation = store.load(request.path_params["id"])
    kind, lang = request.path_params["kind"], lang_of(request)
    if kind == "jsonl":
        text, media = as_jsonl(conversation, store.album), "application/x-ndjson"
    elif kind == "md":
        names = {role: say(lang, f"chat.role.{role}") for role in ("user", "assistant", "system")}
        text, media = as_markdown(conversation, names, store.album), "text/markdown"
    else:
        raise NotFound(f"There is no export of the kind {kind}.", hint="Choose md or jsonl.")
    name = file_name(conversation, kind)
    return Response(text, media_type=f"{media}; charset=utf-8", headers=_as_file(name))


def _picture(studio: Studio, request: Request) -> Response:
    """Send a picture of one of the visitor's own conversations."""
    name = request.path_params["name"]
    data = Conversations(studio.settings.chats_dir, person_of(request).owner).album.read(name)
    headers = {
        "cache-control": "private, max-age=3600",
        "vary": "cookie",
        "content-security-policy": PICTURE_RULES,
        "x-content-type-options": "nosniff",
    }
    return Response(data, media_type=kind_of(name), headers=headers)


def _sample(request: Request) -> Response:
    """Send one of the sample pictures that come with the studio."""
    name = request.path_params["name"]
    known = {path.name: path for path in sample_folder().glob("*.png")}
    if name not in known:
        raise NotFound(f"There is no sample picture {name}.")
    headers = {"cache-control": "public, max-age=3600", "content-security-policy": PICTURE_RULES}
    return Response(known[name].read_bytes(), media_type="image/png", headers=headers)


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


TAB = Tab(id="chat", icon="chat", order=10, build=build, guest=True, routes=routes)

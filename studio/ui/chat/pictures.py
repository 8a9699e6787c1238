"""Pictures on their way into a question: attached, shown with what they cost, taken out again.

The page holds a list of names and first sizes; the pictures themselves lie in the visitor's own
album as soon as they are attached, so that nothing a page says can name a file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import gradio as gr

from studio.chat.album import Album
from studio.chat.conversations import Conversations
from studio.chat.desk import Desk, Person
from studio.chat.pictures import Limits, PictureRefused, fit, seen, shrinks, tokens
from studio.chat.sight import limits_of, most_of, take
from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.core.spec import Endpoint, Pictures
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.chat import start as chat_start
from studio.ui.chat.parts import Out, Parts, person_of
from studio.ui.chat.pickers import Pickers, greeting
from studio.ui.i18n import lang_of, say
from studio.ui.sentences import one_line

if TYPE_CHECKING:
    from studio.studio import Studio


class Attached(NamedTuple):
    """A picture that will go with the next question."""

    name: str
    source: tuple[int, int]
    """Width and height of the file it was made of."""


class Attach:
    """The handlers of the strip above the question."""

    def __init__(self, studio: Studio, desk: Desk, parts: Parts, pickers: Pickers) -> None:
        self._studio = studio
        self._desk = desk
        self._parts = parts
        self._pickers = pickers

    def add(
        self, request: gr.Request, files: list[str] | None, attached: str, endpoint: str | None
    ) -> Out:
        """Take pictures that were chosen, dropped or pasted; say why one is not taken."""
        person, lang = person_of(request), lang_of(request)
        store, limits = self._desk.conversations(person), limits_of(person.guest)
        found = self._endpoint(person, endpoint)
        spec = found.pictures if found else None
        items, notes = read(store.album, attached), []
        for path in map(Path, files or []):
            try:
                if len(items) >= most_of(spec, limits):
                    raise PictureRefused(
                        f"At most {most_of(spec, limits)} pictures go into one message.",
                        hint="Send these first, or take one out.",
                    )
                item = _take(path, store, limits, spec)
                items = [kept for kept in items if kept.name != item.name] + [item]
            except StudioError as error:
                notes.append(f"{path.name}: {one_line(lang, error)}")
            finally:
                path.unlink(missing_ok=True)  # the upload says where and when it was taken
        store.tidy()
        strip = self._strip(lang, person, store.album, items, found, notes)
        return {self._parts.attached: write(items), self._parts.strip: strip}

    def act(
        self, event: gr.EventData, request: gr.Request, attached: str, endpoint: str | None
    ) -> Out:
        """Do what a button of the strip says: take a picture out, or get a model that sees."""
        if event.act != "remove":
            return self._pickers.act(event, request, endpoint)
        person, lang = person_of(request), lang_of(request)
        store = self._desk.conversations(person)
        items = [item for item in read(store.album, attached) if item.name != event.value]
        store.let_go(str(event.value))
        found = self._endpoint(person, endpoint)
        return {
            self._parts.attached: write(items),
            self._parts.strip: self._strip(lang, person, store.album, items, found),
        }

    def redraw(self, request: gr.Request, attached: str, endpoint: str | None) -> Out:
        """Say what the pictures cost with the endpoint that is chosen now, and greet for it."""
        person, lang = person_of(request), lang_of(request)
        found = self._endpoint(person, endpoint)
        album = self._desk.conversations(person).album
        strip = self._strip(lang, person, album, read(album, attached), found)
        out: Out = {self._parts.strip: strip}
        if found is not None:
            out[self._parts.left] = greeting(lang, found)
        return out

    def _endpoint(self, person: Person, ident: str | None) -> Endpoint | None:
        try:
            return self._desk.endpoint(person, ident or "")
        except StudioError:
            return None

    def _strip(
        self,
        lang: str,
        person: Person,
        album: Album,
        items: list[Attached],
        endpoint: Endpoint | None,
        notes: list[str] | None = None,
    ) -> str:
        """Return the pictures with their costs, and what stands in the way of sending them."""
        said: list[str] = [w.note(text, tone="warn", icon_name="alert") for text in notes or []]
        if items and endpoint is not None and endpoint.text_only:
            said.append(self._blind(lang, person, endpoint))
        shown = [_figure(lang, album, item, endpoint) for item in items]
        if not shown and not said:
            return ""
        row = f'<div class="chat-attached">{"".join(shown)}{_sum(lang, album, items, endpoint)}'
        return f"{''.join(said)}{row}</div>" if shown else "".join(said)

    def _blind(self, lang: str, person: Person, endpoint: Endpoint) -> str:
        """Return that a model reads text alone, and one click to one that sees."""
        text = w.esc(say(lang, "chat.picture.blind", name=endpoint.name))
        others = [e for e in self._desk.endpoints(person) if e.pictures is not None]
        button = ""
        if others and not person.guest:  # guests have the picker, and may not do what acts do
            label = say(lang, "chat.picture.use", name=others[0].name)
            button = w.action(label, "use", others[0].id, kind="primary")
        elif not person.guest and (starter := chat_start.sees(self._studio)):
            label = say(lang, "chat.picture.start")
            button = w.action(label, "start", starter.name, icon_name="play", kind="primary")
        return f'<div class="chat-blind">{w.icon("eye")}<span>{text}</span>{button}</div>'


def read(album: Album, text: str | None) -> list[Attached]:
    """Return what the page says is attached, as far as it lies in this album."""
    try:
        rows = json.loads(text or "[]")
        found = [Attached(str(row[0]), (int(row[1]), int(row[2]))) for row in rows]
    except (ValueError, TypeError, LookupError):
        return []
    return [item for item in dict.fromkeys(found) if album.has(item.name)]


def write(items: list[Attached]) -> str:
    """Return what the page keeps of the pictures that are attached."""
    return json.dumps([[item.name, *item.source] for item in items]) if items else ""


def again(album: Album, names: list[str]) -> list[Attached]:
    """Return pictures of a question that goes back into the box."""
    return [Attached(name, album.size(name)) for name in names if album.has(name)]


def sample_folder() -> Path:
    """Return where the sample pictures are."""
    return ROOT / "assets" / "data" / "pictures"


# inside -----------------------------------------------------------------------------------------


def _take(path: Path, store: Conversations, limits: Limits, spec: Pictures | None) -> Attached:
    try:
        with open(path, "rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError:
        raise PictureRefused("The upload is gone.", hint="Attach it once more.") from None
    picture = take(data, store, limits, spec)
    return Attached(picture.name, picture.source)


def _figure(lang: str, album: Album, item: Attached, endpoint: Endpoint | None) -> str:
    size = album.size(item.name)
    spec = endpoint.pictures if endpoint else None
    cost, scaled = "", False
    wide, high = item.source
    if spec is not None:
        sent = fit(*size, spec)
        cost = say(lang, "chat.picture.tokens", n=units.number(tokens(*sent, spec)))
        scaled = shrinks(*item.source, spec)
        if scaled:
            wide, high = seen(*sent, spec)
    elif size != item.source:
        scaled, (wide, high) = True, size
    text = f"{wide} × {high}"
    if scaled:
        before = f"{item.source[0]} × {item.source[1]}"
        text = say(lang, "chat.picture.scaled", before=before, after=text)
    why = say(lang, "chat.picture.scaled_help" if scaled else "chat.picture.size_help")
    remove, alt = w.esc(say(lang, "chat.picture.remove")), w.esc(say(lang, "chat.picture.alt"))
    head = f'<b title="{w.esc(say(lang, "chat.picture.tokens_help"))}">{w.esc(cost)}</b>'
    return (
        f'<figure class="chat-attachment"><img src="ladder/chat/picture/{item.name}" alt="{alt}">'
        f"<figcaption>{head if cost else ''}"
        f'<span title="{w.esc(why)}">{w.esc(text)}</span></figcaption>'
        f'<button type="button" class="chat-remove" data-act="remove" data-value="{item.name}" '
        f'title="{remove}" aria-label="{remove}">{w.icon("cross")}</button></figure>'
    )


def _sum(lang: str, album: Album, items: list[Attached], endpoint: Endpoint | None) -> str:
    """Return what all pictures cost together, when there are several."""
    spec = endpoint.pictures if endpoint else None
    if spec is None or len(items) < 2:
        return ""
    total = sum(tokens(*fit(*album.size(item.name), spec), spec) for item in items)
    text = say(lang, "chat.picture.sum", count=len(items), n=units.number(total))
    return f'<p class="chat-attached-sum">{w.esc(text)}</p>'

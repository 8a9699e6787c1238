"""Batches for operators: one prompt over a folder or many files, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.chat.desk import Person
from studio.images.batch_files import BatchLook, BatchState, Row
from studio.images.request import EditInvalid
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.image.scripts import settings_of
from studio.ui.image.tray import Tray
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.studio import Studio

SHOWN = 6
"""Batches that are told of, newest first."""
STRIP = 60
"""Pictures of one batch that are shown, the last ones."""
STATES = {
    BatchState.RUNNING: "running",
    BatchState.STOPPING: "stopping",
    BatchState.STOPPED: "stopped",
    BatchState.INTERRUPTED: "lost",
    BatchState.DONE: "done",
}


def begin(studio: Studio, tray: Tray, person: Person, asked: dict[str, Any]) -> str:
    """Write a batch down and start it: pictures that were uploaded, or a folder; return its id."""
    settings = settings_of(asked.get("settings") or {})
    folder, uploads = str(asked.get("folder") or "").strip(), asked.get("uploads") or []
    if uploads:
        files = [(str(name), tray.take(person, str(ident))) for ident, name in uploads]
        made = studio.batches.create(person, files, settings)
    elif folder:
        made = studio.batches.create(person, Path(folder).expanduser(), settings)
    else:
        raise EditInvalid(
            "A batch needs pictures.", hint="Name a folder on this server, or choose files."
        )
    return studio.batches.start(person, made.plan.id).plan.id


def batches_html(lang: str, looks: list[BatchLook]) -> str:
    """Return the newest batches with their pictures."""
    cards = "".join(_batch(lang, look) for look in looks[:SHOWN])
    return f'<div class="l-img-runs">{cards}</div>' if cards else ""


def _batch(lang: str, look: BatchLook) -> str:
    plan, done, failed = look.plan, look.count("done"), look.count("failed")
    label = say(lang, "image.batch.count", done=done + failed, all=look.total)
    state = STATES[look.state]
    if look.state is BatchState.DONE and failed and not done:
        state = "failed"
    facts = [w.badge(lang, state), f"<b>{w.esc(plan.name)}</b>"]
    facts.append(
        f'<span class="l-muted" title="{w.esc(plan.settings.prompt)}">'
        f"{w.esc(plan.settings.prompt)}</span>"
    )
    if failed:
        facts.append(w.tag(say(lang, "image.batch.failed", n=failed), tone="bad"))
    if look.state is BatchState.RUNNING and look.eta_s is not None:
        left = say(lang, "image.left", time=units.duration(lang, look.eta_s))
        facts.append(f'<span class="l-muted">{w.esc(left)}</span>')
    halted = look.halt
    note = ""
    if halted is not None:
        said = f"{translate(lang, halted.error)} {translate(lang, halted.hint)}".strip()
        note = w.note(said, tone="bad", icon_name="alert")
    share = (done + failed) / look.total if look.total else 0.0
    strip = "".join(_row(lang, look, row) for row in look.rows[-STRIP:])
    return (
        f'<section class="l-img-run"><header>{"".join(facts)}'
        f'<span class="l-actions">{_buttons(lang, look)}</span></header>'
        f"{w.bar(share, label=label)}{note}"
        f'<ul class="l-img-strip">{strip}</ul>'
        "</section>"
    )


def _buttons(lang: str, look: BatchLook) -> str:
    ident = look.plan.id
    if look.state is BatchState.RUNNING:
        return w.action(
            say(lang, "image.batch.stop"),
            "batch-stop",
            ident,
            icon_name="stop",
            kind="danger small",
        )
    if look.state is BatchState.STOPPING:
        return ""
    parts = []
    if look.state is not BatchState.DONE:
        text = say(lang, "image.batch.resume")
        parts.append(w.action(text, "batch-resume", ident, icon_name="play", kind="small"))
    text, sure = say(lang, "image.batch.forget"), say(lang, "image.batch.forget_confirm")
    parts.append(
        w.action(text, "batch-delete", ident, icon_name="trash", kind="quiet small", confirm=sure)
    )
    return "".join(parts)


def _row(lang: str, look: BatchLook, row: Row) -> str:
    name = w.esc(look.plan.names[row.index])
    if row.item and row.state in ("done", "running"):
        thumb = "after.webp" if row.state == "done" else "before.webp"
        spin = ' class="l-img-dim"' if row.state == "running" else ""
        return (
            f'<li{spin}><button type="button" data-image-open="{row.item}" title="{name}" '
            f'aria-label="{name}"><img src="ladder/image/item/{row.item}/{thumb}" alt="" '
            'loading="lazy"></button></li>'
        )
    why = w.esc(translate(lang, row.error))
    return f'<li class="l-img-bad" title="{name}: {why}">{w.icon("cross", title=why)}</li>'

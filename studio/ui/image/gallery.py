"""A visitor's own edits as thumbnails, newest first: to open, to use again, to delete."""

from __future__ import annotations

from collections.abc import Sequence

from studio.images.item import Item, ItemState
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.image.look import address

SHOWN = {
    ItemState.PENDING: ("running", "pulse"),
    ItemState.FAILED: ("failed", "cross"),
    ItemState.CANCELLED: ("stopped", "square"),
}


def gallery_html(lang: str, items: Sequence[Item], *, more: bool) -> str:
    """Return the thumbnails; `more` says that older ones will come when one scrolls."""
    if not items:
        return w.empty(lang, "image.gallery.none", icon_name="image")
    cells = "".join(_cell(lang, item) for item in items)
    end = '<div class="l-img-end" data-image-more-items></div>' if more else ""
    return f'<ul class="l-img-grid">{cells}</ul>{end}'


def _cell(lang: str, item: Item) -> str:
    said = {key: w.esc(say(lang, f"image.gallery.{key}")) for key in ("open", "reuse", "delete")}
    prompt = w.esc(item.settings.prompt)
    mark = ""
    if item.state in SHOWN:
        name, drawing = SHOWN[item.state]
        mark = f'<i class="l-badge l-{name}">{w.icon(drawing)}</i>'
    count = f'<i class="l-img-count">{len(item.out)}</i>' if len(item.out) > 1 else ""
    sure = w.esc(say(lang, "image.gallery.delete_confirm"))
    return (
        f'<li data-image-cell="{item.id}"><button type="button" class="l-img-open" '
        f'data-image-open="{item.id}" title="{prompt}" aria-label="{said["open"]}: {prompt}">'
        f'<img src="{address(item, item.thumb)}" loading="lazy" alt="">{mark}{count}</button>'
        f'<p title="{prompt}">{prompt}</p>'
        f"<footer>{w.when(lang, item.asked.created_at)}"
        f'<button type="button" class="l-tool" data-image-reuse="{item.id}" '
        f'title="{said["reuse"]}" aria-label="{said["reuse"]}">{w.icon("sliders")}</button>'
        f'<button type="button" class="l-tool" data-act="delete" data-value="{item.id}" '
        f'data-confirm="{sure}" title="{said["delete"]}" aria-label="{said["delete"]}">'
        f"{w.icon('trash')}</button></footer></li>"
    )

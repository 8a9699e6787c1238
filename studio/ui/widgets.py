"""HTML that every tab shares, so that a run looks the same wherever it is seen.

Each function returns a string for `gr.HTML`; everything that comes from outside is escaped in
here, so callers pass plain text. Functions that write words take the visitor's `lang` first:

    badge("zh", State.RUNNING)                    state with colour, icon and word
    chip("en", run)                               a run as a small link into the Runs tab
    card("Llama 8B", body_html, foot=..., tone="warn")
    table([("Peak", "21.8 GiB"), ...])            key and value
    rows(["Name", "Size"], [[..], ..])            a real table with headings
    bar(0.62, label="62 %", tone="accent")        progress or usage
    empty("en", "runs.empty", icon="runs", actions=[action(...)])   an empty state that teaches
    when("en", at)                                "3 min ago", the exact moment on hover
    action("Stop", "stop", run.id, icon="stop", confirm=say(...))   a button, see `ActionHTML`

Numbers and units are in `studio.ui.units`. Classes start with `l-` and live in
`assets/css/widgets.css`; icons are files in `assets/icons`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from studio.core.spec import State
from studio.ui import units
from studio.ui.assets import asset_url
from studio.ui.i18n import say

if TYPE_CHECKING:
    from studio.jobs.jobs import Run

STATE_ICONS = {
    State.QUEUED: "clock",
    State.STARTING: "spinner",
    State.RUNNING: "pulse",
    State.READY: "dot",
    State.STOPPING: "spinner",
    State.DONE: "check",
    State.FAILED: "cross",
    State.STOPPED: "square",
    State.LOST: "question",
}


class Html(str):
    """Text that is HTML already; `esc` leaves it alone."""


def esc(value: object, *, quote: bool = True) -> str:
    """Return text safe inside HTML and attributes."""
    return value if isinstance(value, Html) else html.escape(str(value), quote=quote)


def icon(name: str, *, title: str = "") -> Html:
    """Return a drawing of `assets/icons`; decorative unless it has a title."""
    label = f' role="img" aria-label="{esc(title)}"' if title else ' aria-hidden="true"'
    return Html(
        f'<svg class="l-icon"{label}><use href="{asset_url("icons.svg")}#{esc(name)}"/></svg>'
    )


def badge(lang: str, state: State | str) -> Html:
    """Return a run's state: colour, icon and word together."""
    state = State(state)
    spin = " l-spin" if STATE_ICONS[state] == "spinner" else ""
    return Html(
        f'<span class="l-badge l-{state}{spin}">{icon(STATE_ICONS[state])}'
        f"{esc(say(lang, f'state.{state}'))}</span>"
    )


def tag(text: str, *, tone: str = "", icon_name: str = "") -> Html:
    """Return a small label. Tones: ok, warn, bad, accent, or none."""
    drawing = icon(icon_name) if icon_name else ""
    return Html(f'<span class="l-tag {_tone(tone)}">{drawing}{esc(text)}</span>')


def chip(lang: str, run: Run, *, with_cards: bool = True) -> Html:
    """Return a run as a link into the Runs tab: state, name, cards."""
    cards = ", ".join(map(str, run.cards)) if with_cards else ""
    where = f'<span class="l-chip-cards">{icon("gpu")}{esc(cards)}</span>' if cards else ""
    return Html(
        f'<a class="l-chip" href="?tab=runs&amp;run={esc(run.id)}" data-ladder-open="runs" '
        f'data-run="{esc(run.id)}">{badge(lang, run.state)}'
        f"<span>{esc(run.spec.name)}</span>{where}</a>"
    )


def link(text: str, tab: str, **query: str) -> Html:
    """Return a link to another tab; it opens there without loading the page again."""
    extra = "".join(f"&amp;{esc(k)}={esc(v)}" for k, v in query.items())
    data = "".join(f' data-{esc(k)}="{esc(v)}"' for k, v in query.items())
    return Html(
        f'<a class="l-link" href="?tab={esc(tab)}{extra}" data-ladder-open="{esc(tab)}"{data}>'
        f"{esc(text)}</a>"
    )


def card(title: str, body: str = "", *, foot: str = "", tone: str = "", side: str = "") -> Html:
    """Return a panel. `title` is escaped; `body`, `side` and `foot` are HTML."""
    head = f"<header><h3>{esc(title)}</h3>{side}</header>" if title or side else ""
    tail = f"<footer>{foot}</footer>" if foot else ""
    return Html(f'<section class="l-card {_tone(tone)}">{head}{body}{tail}</section>')


def grid(items: Iterable[str], *, min_px: int = 260, wide: bool = False) -> Html:
    """Return cards side by side, as many as fit, stacked on a phone; `wide` ones fill the row."""
    more = " wide" if wide else ""
    return Html(f'<div class="l-grid{more}" style="--min:{min_px}px">{"".join(items)}</div>')


def table(pairs: Iterable[tuple[str, object]]) -> Html:
    """Return keys and values; a value that is `Html` is kept, all else is escaped."""
    body = "".join(f"<div><dt>{esc(k)}</dt><dd>{esc(v)}</dd></div>" for k, v in pairs)
    return Html(f'<dl class="l-facts">{body}</dl>')


def rows(
    head: Sequence[str], body: Iterable[Sequence[object]], *, numeric: Sequence[int] = ()
) -> Html:
    """Return a table with headings; columns in `numeric` are set right in tabular figures."""
    right = [' class="l-num"' if i in numeric else "" for i in range(len(head))]
    top = "".join(f"<th{right[i]}>{esc(text)}</th>" for i, text in enumerate(head))
    lines = "".join(
        "<tr>" + "".join(f"<td{right[i]}>{esc(cell)}</td>" for i, cell in enumerate(line)) + "</tr>"
        for line in body
    )
    return Html(
        f'<div class="l-scroll"><table class="l-table"><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def bar(fraction: float | None, *, label: str = "", tone: str = "accent") -> Html:
    """Return a bar filled to `fraction` (0 to 1); None is work of unknown length."""
    if fraction is None:
        fill, now = '<i class="l-unknown"></i>', ""
    else:
        share = min(1.0, max(0.0, fraction)) * 100
        fill, now = f'<i style="width:{share:.1f}%"></i>', f' aria-valuenow="{share:.0f}"'
    text = f'<span class="l-bar-label">{esc(label)}</span>' if label else ""
    return Html(
        f'<div class="l-bar {_tone(tone)}"><div class="l-bar-track" role="progressbar" '
        f'aria-valuemin="0" aria-valuemax="100"{now} aria-label="{esc(label)}">{fill}</div>'
        f"{text}</div>"
    )


def stack(parts: Iterable[tuple[str, float, str]], total: float, *, label: str = "") -> Html:
    """Return a stacked bar of (name, bytes, series); what exceeds `total` is hatched red.

    Series, each with its colour: weights, cache, gradients, optimizer, activations, reserve.
    """
    parts = list(parts)
    need = sum(amount for _, amount, _ in parts)
    whole = max(total, need) or 1.0
    fills = "".join(
        f'<i class="l-part l-series-{esc(series)}" style="width:{amount / whole * 100:.2f}%" '
        f'title="{esc(name)}: {esc(units.size(amount))}"></i>'
        for name, amount, series in parts
    )
    over = ""
    if need > total:
        over = f'<i class="l-over" style="width:{(need - total) / whole * 100:.2f}%"></i>'
    return Html(f'<div class="l-stack" role="img" aria-label="{esc(label)}">{fills}{over}</div>')


def empty(
    lang: str, key: str, *, icon_name: str, actions: Iterable[str] = (), **values: object
) -> Html:
    """Return an empty state from `<key>.title` and `<key>.text`: what this is and how to begin."""
    buttons = "".join(actions)
    foot = f'<div class="l-actions">{buttons}</div>' if buttons else ""
    return Html(
        f'<div class="l-empty">{icon(icon_name)}<h3>{esc(say(lang, f"{key}.title"))}</h3>'
        f"<p>{esc(say(lang, f'{key}.text', **values))}</p>{foot}</div>"
    )


def note(text: str, *, tone: str = "", icon_name: str = "info") -> Html:
    """Return a sentence that stands out: a hint, a warning, an explanation."""
    return Html(f'<p class="l-note {_tone(tone)}">{icon(icon_name)}<span>{esc(text)}</span></p>')


def code(text: str) -> Html:
    """Return a command or a path in fixed-width type, with a copy button."""
    return Html(
        f'<div class="l-code"><pre>{esc(text)}</pre>'
        f'<button type="button" data-ladder-copy>{icon("copy")}</button></div>'
    )


def when(lang: str, at: float | None) -> Html:
    """Return how long ago, with the exact moment on hover; the page keeps it current."""
    if at is None:
        return Html("–")
    return Html(
        f'<time data-ladder-at="{at:.0f}" title="{esc(units.exact(at))}">'
        f"{esc(units.ago(lang, at))}</time>"
    )


def action(
    text: str, act: str, value: str = "", *, icon_name: str = "", kind: str = "", confirm: str = ""
) -> Html:
    """Return a button inside HTML. Kinds: primary, danger, quiet, or none.

    Inside `actions_html` a click calls the Python handler with `event.act` and `event.value`;
    with `confirm` the sentence is asked first.
    """
    drawing = icon(icon_name) if icon_name else ""
    ask = f' data-confirm="{esc(confirm)}"' if confirm else ""
    return Html(
        f'<button type="button" class="l-button {esc(kind)}" data-act="{esc(act)}" '
        f'data-value="{esc(value)}"{ask}>{drawing}<span>{esc(text)}</span></button>'
    )


def live(route: str, *, every_s: float = 2.0, show: str = "html", **query: str) -> Html:
    """Return a place that keeps itself current from a route, while it can be seen.

    With `show="html"` the route answers `{"html": ..., "version": ...}`; nothing is touched when
    the version is the same. Any other name calls `ladder.views[name](element, answer)`.
    """
    asked = esc(json.dumps(query)) if query else ""
    return Html(
        f'<div data-ladder-live="{esc(route)}" data-every="{every_s:g}" '
        f'data-show="{esc(show)}" data-query="{asked}" data-first="{asked}"></div>'
    )


def _tone(name: str) -> str:
    return f"l-tone-{esc(name)}" if name else ""

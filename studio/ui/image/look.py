"""One edit as it is looked at: in line, at work with its preview, finished with a slider, failed.

Everything here turns an account of the desk into HTML. The stage has the result's own shape from
the first moment, so nothing jumps when the picture comes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import reduce

from studio.core.spec import State
from studio.engines.workers.image_edit.intake import output_size
from studio.images.desk import Look
from studio.images.item import Item
from studio.images.request import size_of
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.image.rungs import title
from studio.ui.sentences import translate

STATES = {
    "queued": State.QUEUED,
    "loading": State.STARTING,
    "encoding": State.RUNNING,
    "running": State.RUNNING,
    "decoding": State.RUNNING,
    "done": State.DONE,
    "failed": State.FAILED,
    "cancelled": State.STOPPED,
}
"""A job's state in the words of runs, which have their colours and drawings."""
ROUNDED = 0.08
"""Share by which a result's shape differs from its picture's where it was meant to be the same."""
STAGES = ("encoding", "running", "decoding")


def look_html(lang: str, look: Look, *, variant: int, curl: str = "") -> str:
    """Return an edit as it is now; `variant` is the result that is shown large."""
    if not look.ended:
        return _working(lang, look)
    if look.item.out:
        return _finished(lang, look, min(max(variant, 0), len(look.item.out) - 1), curl)
    return _without(lang, look)


def shape(item: Item) -> tuple[int, int]:
    """Return width and height of the result: as it is, or as it will be."""
    if item.end is not None and all(item.end.size_out):
        return item.end.size_out
    if item.settings.size != "auto":
        return size_of(item.settings.size)
    width, height = item.asked.size_before
    return output_size(width, height) if width and height else (1024, 1024)


def address(item: Item, name: str) -> str:
    """Return where the browser finds a picture of an edit."""
    return f"ladder/image/item/{item.id}/{name}"


def seconds(value: float) -> str:
    """Return seconds as they are said: `0.57`, `24.1`, `230`."""
    places = 2 if value < 1 else 1 if value < 100 else 0
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


# under way --------------------------------------------------------------------------------------


def _working(lang: str, look: Look) -> str:
    item, job = look.item, look.job
    width, height = shape(item)
    shown = (
        address(item, f"preview?n={job.preview}") if job.preview else address(item, "before-0.png")
    )
    dim = "" if job.preview else " l-img-dim"
    alt = w.esc(say(lang, "image.preview" if job.preview else "image.before"))
    cancel = w.action(say(lang, "image.cancel"), "cancel", item.id, icon_name="stop", kind="danger")
    return (
        f'<div class="l-img-job" data-image-item="{item.id}" data-image-state="{job.state}">'
        f"{_head(lang, look, cancel)}"
        f'<div class="l-img-view{dim}" style="--w:{width};--h:{height}">'
        f'<img src="{shown}" alt="{alt}"></div>'
        f"{_stages(lang, look)}{_progress(lang, look)}{_notes(lang, job.notes)}</div>"
    )


def _stages(lang: str, look: Look) -> str:
    """Return the three stages as one bar: what is past is full, the one at work fills up."""
    state = look.job.state
    at = STAGES.index(state) if state in STAGES else -1
    parts = []
    for number, name in enumerate(STAGES):
        share = _share(look) if number == at else float(number < at)
        fill = "" if share is None else f' style="width:{share * 100:.1f}%"'
        kind = ' class="l-unknown"' if share is None else ""
        now = ' aria-current="step"' if number == at else ""
        parts.append(
            f'<li{now}><span class="l-bar-track"><i{kind}{fill}></i></span>'
            f"{w.esc(say(lang, f'image.stage.{name}'))}</li>"
        )
    return f'<ol class="l-img-stages l-tone-accent">{"".join(parts)}</ol>'


def _progress(lang: str, look: Look) -> str:
    job = look.job
    left = ""
    if job.eta_s is not None:
        left = say(lang, "image.left", time=units.duration(lang, max(1.0, job.eta_s)))
    elapsed = units.duration(lang, job.elapsed_s) if job.elapsed_s is not None else ""
    rung = w.tag(title(lang, job.rung), icon_name="layers") if job.rung else ""
    return (
        f'<p class="l-img-progress"><b>{w.esc(_doing(lang, look))}</b>'
        f"<span>{w.esc(left)}</span><span>{w.esc(elapsed)}</span>{rung}</p>"
    )


def _share(look: Look) -> float | None:
    """Return how much of the stage at work is done, over all variants; None: nobody can tell."""
    job = look.job
    if job.state != "running" or not job.steps:
        return None
    return (job.variant * job.steps + job.step) / (job.steps * max(1, job.variants))


def _doing(lang: str, look: Look) -> str:
    job = look.job
    if job.state == "queued":
        if job.position:
            return say(lang, "image.doing.queued_n", n=job.position)
        return say(lang, "image.doing.queued")
    if job.state == "running" and job.steps:
        text = say(lang, "image.doing.step", k=job.step, n=job.steps)
        if job.variants > 1:
            text += say(lang, "image.doing.variant", k=job.variant + 1, n=job.variants)
        return text
    return say(lang, f"image.doing.{job.state if look.tells else 'waiting'}")


# ended ------------------------------------------------------------------------------------------


def _finished(lang: str, look: Look, variant: int, curl: str) -> str:
    item = look.item
    return (
        f'<div class="l-img-job" data-image-item="{item.id}" data-image-state="done">'
        f"{_head(lang, look, '')}{_slider(lang, item, variant)}{_variants(lang, item, variant)}"
        f"{_actions(lang, item, variant, curl)}{_facts(lang, look, variant)}"
        f"{_notes(lang, look.job.notes)}</div>"
    )


def _slider(lang: str, item: Item, variant: int) -> str:
    width, height = shape(item)
    before, after = (w.esc(say(lang, f"image.{name}")) for name in ("before", "after"))
    fitted = " l-fitted" if _nearly(item, width / height) else ""
    label = w.esc(say(lang, "image.compare"))
    full = w.esc(say(lang, "image.full"))
    result = address(item, item.out[variant])
    return (
        f'<div class="l-img-view l-img-slider" style="--w:{width};--h:{height}" data-image-slider>'
        f'<img src="{result}" alt="{after}" draggable="false">'
        f'<img class="l-img-was{fitted}" src="{address(item, "before-0.png")}" alt="{before}" '
        f'draggable="false"><i class="l-img-cut" aria-hidden="true">{w.icon("left")}'
        f"{w.icon('right')}</i><b>{before}</b><b>{after}</b>"
        f'<input type="range" min="0" max="100" step="1" value="50" data-image-cut '
        f'aria-label="{label}">'
        f'<a class="l-img-full" href="{result}" target="_blank" rel="noopener" title="{full}" '
        f'aria-label="{full}">{w.icon("external")}</a></div>'
    )


def _nearly(item: Item, ratio: float) -> bool:
    """Tell whether only rounding to whole patches made the result another shape than its source."""
    width, height = item.asked.size_before or (0, 0)
    return bool(height) and abs(width / height / ratio - 1) < ROUNDED


def _variants(lang: str, item: Item, chosen: int) -> str:
    if len(item.out) < 2:
        return ""
    seeds = item.end.seeds if item.end else ()
    buttons = "".join(
        f'<button type="button" data-image-variant="{number}" '
        f'aria-pressed="{str(number == chosen).lower()}">'
        f'<img src="{address(item, name)}" loading="lazy" '
        f'alt="{w.esc(say(lang, "image.variant_n", n=number + 1))}">'
        f"<span>{seeds[number] if number < len(seeds) else number + 1}</span></button>"
        for number, name in enumerate(item.out)
    )
    return f'<div class="l-img-variants">{buttons}</div>'


def _actions(lang: str, item: Item, variant: int, curl: str) -> str:
    name = item.out[variant]
    said = {
        key: w.esc(say(lang, f"image.do.{key}"))
        for key in ("download", "use", "reuse", "again", "curl")
    }
    parts = [
        f'<a class="l-button primary" href="{address(item, name)}?download=1" '
        f"download>{w.icon('download')}<span>{said['download']}</span></a>",
        f'<button type="button" class="l-button" data-image-use="{address(item, name)}">'
        f"{w.icon('image')}<span>{said['use']}</span></button>",
        f'<button type="button" class="l-button" data-image-reuse="{item.id}">'
        f"{w.icon('sliders')}<span>{said['reuse']}</span></button>",
        f'<button type="button" class="l-button" data-image-more-of="{item.id}">'
        f"{w.icon('refresh')}<span>{said['again']}</span></button>",
    ]
    if curl:
        parts.append(
            f'<button type="button" class="l-button quiet" data-ladder-copy="{w.esc(curl)}">'
            f"{w.icon('terminal')}<span>{said['curl']}</span></button>"
        )
    return f'<div class="l-actions l-img-actions">{"".join(parts)}</div>'


def _facts(lang: str, look: Look, variant: int) -> str:
    """Return where the time went, and the settings that matter."""
    item, end = look.item, look.item.end
    assert end is not None
    facts = [_timing(lang, look)]
    width, height = shape(item)
    seeds = end.seeds or ((item.settings.seed,) if item.settings.seed is not None else ())
    told = [f"{width} × {height}"]
    if variant < len(seeds):
        told.append(say(lang, "image.fact.seed", seed=seeds[variant]))
    if end.true_cfg_scale is not None:
        told.append(say(lang, "image.fact.cfg", cfg=f"{end.true_cfg_scale:g}"))
    if end.rung:
        told.append(title(lang, end.rung))
    if end.cached.get("prompt") or end.cached.get("references"):
        told.append(say(lang, "image.fact.cached"))
    facts.append(" · ".join(told))
    lines = "".join(f'<p class="l-img-fact">{w.esc(text)}</p>' for text in facts if text)
    seed = seeds[variant] if variant < len(seeds) else ""
    return f'<div data-image-seed-used="{seed}">{lines}</div>'


def _timing(lang: str, look: Look) -> str:
    """Return `24.1 s: encode 0.9, 40 steps at 0.57, decode 0.4; peak 21.3 GiB`."""
    times, end = look.job.timings, look.item.end
    total = _number(times.get("total_s"))
    if total is None:
        total = look.job.elapsed_s
    if total is None:
        return ""
    parts = []
    for key in ("encode_s", "step_s", "decode_s"):
        value = _number(times.get(key))
        if value is not None:
            steps = end.steps if end and end.steps else look.job.steps
            parts.append(say(lang, f"image.time.{key}", s=seconds(value), n=steps))
    text = say(lang, "image.time.total", s=seconds(total))
    if parts:
        listed = reduce(lambda a, b: say(lang, "image.time.comma", a=a, b=b), parts)
        if (made := len(look.item.out)) > 1:
            listed = say(lang, "image.time.each", parts=listed, n=made)
        text = say(lang, "image.time.of", total=text, parts=listed)
    cards = [_number(size) for size in look.job.peaks.get("cards") or ()]
    peak = [size for size in cards if size]
    if peak:
        told = " + ".join(units.size(size) for size in peak)
        text = say(lang, "image.time.peak", text=text, size=told)
    return text


def _without(lang: str, look: Look) -> str:
    """Return an edit that ended without a picture: the cause, what to do, one button."""
    item, error = look.item, look.job.error
    failed = look.job.state == "failed"
    width, height = shape(item)
    cause = say(lang, "image.failed" if failed else "image.cancelled")
    if error is not None and error.message:
        cause = translate(lang, error.message)
    hint = translate(lang, error.hint) if error is not None and error.hint else ""
    note = w.note(cause, tone="bad" if failed else "", icon_name="alert" if failed else "stop")
    todo = f'<p class="l-img-hint">{w.esc(hint)}</p>' if hint else ""
    again = w.action(
        say(lang, "image.try_again"), "again", item.id, icon_name="refresh", kind="primary"
    )
    settings = (
        f'<button type="button" class="l-button" data-image-reuse="{item.id}">'
        f"{w.icon('sliders')}<span>{w.esc(say(lang, 'image.do.reuse'))}</span></button>"
    )
    return (
        f'<div class="l-img-job" data-image-item="{item.id}" data-image-state="{look.job.state}">'
        f"{_head(lang, look, '')}{note}{todo}"
        f'<div class="l-actions l-img-actions">{again}{settings}</div>'
        f'<div class="l-img-view l-img-dim" style="--w:{width};--h:{height}">'
        f'<img src="{address(item, "before-0.png")}" '
        f'alt="{w.esc(say(lang, "image.before"))}"></div>'
        f"{_notes(lang, look.job.notes)}</div>"
    )


# shared -----------------------------------------------------------------------------------------


def _head(lang: str, look: Look, side: str) -> str:
    state = STATES.get(look.job.state, State.RUNNING)
    return (
        f'<header class="l-img-head">{_badge(lang, look.job.state, state)}'
        f'<span title="{w.esc(look.item.settings.prompt)}">{w.esc(look.item.settings.prompt)}'
        f"</span>{side}</header>"
    )


def _badge(lang: str, told: str, state: State) -> str:
    """Return the state with its colour; a person's own cancelling is not called a stop."""
    if told != "cancelled":
        return w.badge(lang, state)
    word = w.esc(say(lang, "image.state_cancelled"))
    return f'<span class="l-badge l-{state}">{w.icon("square")}{word}</span>'


def _notes(lang: str, notes: Sequence[str]) -> str:
    return "".join(w.note(translate(lang, text), tone="warn", icon_name="down") for text in notes)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def settings_json(item: Item) -> str:
    """Return an edit's settings as the browser fills them in again, the seed that was used too."""
    asked = item.settings.model_dump(mode="json")
    if item.end is not None and item.end.seeds:
        asked["seed"] = item.end.seeds[0]
    return json.dumps(asked, ensure_ascii=False)

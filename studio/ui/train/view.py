"""How a training looks while it runs: the figures that matter, the curves' frame, cards, host.

Everything here turns figures into HTML; `trainroutes` gathers them and `assets/js/train.js` draws
the curves. Nothing launches or stops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.spec import State
from studio.engines.engine import Progress
from studio.engines.trained import Trained
from studio.jobs.jobs import Run
from studio.telemetry.thinning import Thin
from studio.ui import tiles, units
from studio.ui import widgets as w
from studio.ui.i18n import say

WIDTH, HEIGHT = 300, 44


@dataclass(frozen=True, kw_only=True)
class CardTime:
    """One card of the run over time: seconds since its start, bytes, load (0 to 1)."""

    index: int
    at: Sequence[float]
    used_bytes: Sequence[float]
    loads: Sequence[float]
    total_bytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainLook:
    """What is known about a training at one moment."""

    lines: dict[str, Thin]
    progress: Progress | None = None
    ranks: int | None = None
    """Training processes that came up; None while nobody has counted."""
    cards: Sequence[CardTime] = ()
    host_at: Sequence[float] = ()
    host_bytes: Sequence[float] = ()
    """Memory of the run's processes on the machine."""
    host_total_bytes: float | None = None
    best: Trained | None = None
    last_line: str = ""


def frame(lang: str, run: Run, others: Sequence[Run]) -> str:
    """Return the Live part: figures that keep themselves current, and the frame of the curves."""
    options = "".join(
        f'<option value="{other.id}">{w.esc(other.spec.name)} · {other.id[-5:]} · '
        f"{w.esc(say(lang, f'state.{other.state}'))}</option>"
        for other in others
        if other.id != run.id
    )
    words = {
        key: w.esc(say(lang, f"train.{key}"))
        for key in ("smoothing", "log_scale", "overlay", "zoom_out", "zoom_hint")
    }
    bar = (
        '<div class="l-curve-bar">'
        f'<label class="l-curve-smooth"><span>{words["smoothing"]}</span>'
        '<input type="range" min="0" max="0.99" step="0.01" data-train-smooth>'
        "<output></output></label>"
        f'<label class="l-curve-log"><input type="checkbox" data-train-log>'
        f"<span>{words['log_scale']}</span></label>"
        f'<select data-train-overlay aria-label="{words["overlay"]}">'
        f'<option value="">{words["overlay"]}</option>{options}</select>'
        f'<button type="button" class="l-button small" data-train-out hidden>{words["zoom_out"]}'
        "</button></div>"
    )
    return (
        f"{w.live(f'run/{run.id}/training', every_s=1)}"
        f'<section class="l-curves" data-run="{run.id}" data-ladder-keep '
        f'data-ladder-live="run/{run.id}/series" data-every="2" data-show="training">{bar}'
        f'<div class="l-curve-keys"></div><div class="l-curve-grid"></div>'
        f'<p class="l-curve-hint">{words["zoom_hint"]}</p></section>'
        f"{w.live(f'run/{run.id}/machine', every_s=2)}"
    )


def figures(lang: str, run: Run, look: TrainLook) -> str:
    """Return the figures of a training, whatever its state."""
    if not look.lines:
        return _nothing_yet(lang, run, look)
    tiles = (_loss(lang, look), _steps(lang, run, look), _speed(lang, look), _best(lang, look))
    shown = "".join(filter(None, tiles))
    return f'{_alarms(lang, run, look)}<div class="l-tiles l-figs">{shown}</div>'


def machine(lang: str, look: TrainLook) -> str:
    """Return memory and load of the run's cards, and the memory of its processes on the host."""
    tiles = [_card(lang, card) for card in look.cards]
    if look.host_bytes:
        tiles.append(_host(lang, look))
    return f'<div class="l-tiles l-cards-live">{"".join(tiles)}</div>' if tiles else ""


# figures ----------------------------------------------------------------------------------------


def _nothing_yet(lang: str, run: Run, look: TrainLook) -> str:
    if run.state is State.QUEUED:
        return ""
    if not run.state.alive:
        return w.note(say(lang, "train.no_figures")) if run.spec.ranks else ""
    line = f'<pre class="l-last-line">{w.esc(look.last_line[:240])}</pre>' if look.last_line else ""
    key = "train.first_step" if run.spec.ranks else "train.no_curves"
    return w.note(say(lang, key), icon_name="clock") + line


def _alarms(lang: str, run: Run, look: TrainLook) -> str:
    found = ""
    loss = look.lines.get("loss")
    if loss is not None and loss.bad_since is not None:
        text = say(lang, "train.not_a_number", step=units.number(int(loss.bad_since)))
        found += w.note(text, tone="bad", icon_name="alert")
    if _missing(run, look):
        text = say(lang, "train.ranks_missing", have=look.ranks, want=run.spec.ranks)
        found += w.note(text, tone="bad", icon_name="alert")
    return found


def _loss(lang: str, look: TrainLook) -> str:
    loss, evals = look.lines.get("loss"), look.lines.get("eval_loss")
    if loss is None and evals is None:
        return ""
    body = tiles.big(_value(loss), say(lang, "train.latest"))
    if evals is not None and evals.lowest is not None:
        step, value = evals.lowest
        body += tiles.big(
            units.number(value),
            say(lang, "train.best_eval", step=units.number(int(step))),
            second=True,
        )
    elif loss is not None and loss.lowest is not None:
        body += tiles.sub(say(lang, "train.lowest", value=units.number(loss.lowest[1])))
    return tiles.tile(say(lang, "train.curve.loss"), body)


def _steps(lang: str, run: Run, look: TrainLook) -> str:
    at = look.progress
    if at is None or not at.total:
        return ""
    body = tiles.big(units.number(int(at.done)), f"/ {units.number(int(at.total))}")
    body += w.bar(at.done / at.total, tone="accent" if run.state.alive else "ok")
    if run.state.alive and at.remaining_s is not None:
        left = units.duration(lang, at.remaining_s)
        body += tiles.sub(say(lang, "train.left", time=left))
    return tiles.tile(say(lang, "train.step"), body)


def _speed(lang: str, look: TrainLook) -> str:
    tokens, samples = look.lines.get("throughput"), look.lines.get("samples_per_s")
    if tokens is None and samples is None:
        return ""
    body = tiles.big(_value(tokens), "tokens/s") if tokens else ""
    if samples is not None:
        body += tiles.big(_value(samples), say(lang, "train.samples_s"), second=bool(tokens))
    return tiles.tile(say(lang, "train.speed"), body)


def _best(lang: str, look: TrainLook) -> str:
    best = look.best
    if best is None:
        return ""
    body = tiles.big(units.number(best.step), "")
    if best.eval_loss is not None:
        body += tiles.sub(say(lang, "train.best_loss", value=units.number(best.eval_loss)))
    else:
        body += tiles.sub(say(lang, "train.newest_checkpoint"))
    return tiles.tile(say(lang, "train.best_checkpoint" if best.best else "train.checkpoint"), body)


def _missing(run: Run, look: TrainLook) -> bool:
    """Tell whether fewer processes train than should, once the first step was logged."""
    return bool(look.lines) and look.ranks is not None and 0 < look.ranks < run.spec.ranks


# where it runs ----------------------------------------------------------------------------------


def _host(lang: str, look: TrainLook) -> str:
    now = look.host_bytes[-1]
    share = now / look.host_total_bytes if look.host_total_bytes else None
    value, unit = units.size(now).split()
    of = f" / {units.gib(look.host_total_bytes)}" if look.host_total_bytes else ""
    body = tiles.big(value, unit + of, second=True)
    if share is not None:
        body += w.bar(share, tone="warn" if share > 0.9 else "accent")
    body += _curve(lang, look.host_at, [("a", look.host_bytes)], top=max(look.host_bytes))
    return tiles.tile(say(lang, "live.ram"), body)


def _card(lang: str, card: CardTime) -> str:
    used = card.used_bytes[-1] if card.used_bytes else 0.0
    total = card.total_bytes
    unit = "GiB" if not total else f"/ {units.gib(total)}"
    body = tiles.big(units.gib(used).removesuffix(" GiB"), unit, second=True)
    if total:
        body += w.bar(used / total, tone="warn" if used / total > 0.95 else "accent")
    top = total or max(card.used_bytes, default=1.0)
    loads = [load * top for load in card.loads]
    load = units.percent(card.loads[-1]) if card.loads and card.loads[-1] >= 0 else "–"
    body += _curve(lang, card.at, [("a", card.used_bytes), ("b", loads)], top=top)
    side = w.tag(f"{say(lang, 'live.load')} {load}")
    return tiles.tile(say(lang, "live.card", index=card.index), body, side=side)


def _curve(
    lang: str,
    at: Sequence[float],
    lines: Sequence[tuple[str, Sequence[float]]],
    *,
    top: float,
) -> str:
    if len(at) < 2:
        return ""
    begin, span = at[0], max(at[-1] - at[0], 1e-9)
    drawn = ""
    for kind, values in lines:
        path = " ".join(
            f"{(moment - begin) / span * WIDTH:.1f},"
            f"{HEIGHT - 2 - min(1.0, max(0.0, value) / max(top, 1e-9)) * (HEIGHT - 6):.1f}"
            for moment, value in zip(at, values, strict=True)
        )
        if kind == "a":
            drawn += f'<polygon class="l-area" points="0,{HEIGHT} {path} {WIDTH},{HEIGHT}"/>'
        drawn += f'<polyline class="l-line-{kind}" points="{path}"/>'
    said = say(lang, "train.since", time=units.duration(lang, span))
    keys = ""
    if len(lines) > 1:
        keys = "".join(
            f'<i class="l-key-{kind}">{w.esc(say(lang, f"live.{name}"))}</i> '
            for (kind, _), name in zip(lines, ("memory", "load"), strict=True)
        )
    return (
        f'<figure class="l-spark"><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{w.esc(said)}">{drawn}</svg><figcaption><span>{w.esc(said)}</span>'
        f"<span>{keys}</span></figcaption></figure>"
    )


# pieces -----------------------------------------------------------------------------------------


def _value(line: Thin | None) -> str:
    if line is None or line.last is None:
        return "–"
    return units.number(line.last[1]) if math.isfinite(line.last[1]) else "NaN"

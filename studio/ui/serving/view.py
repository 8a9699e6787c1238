"""How a server looks while it serves: load, KV cache, latency, cards, and how to reach it.

Everything here turns figures into HTML; `serveroutes` gathers them. Buttons carry `data-act`, and
the tab that shows them decides what an act does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from studio.core.spec import Endpoint, State
from studio.jobs.jobs import Run
from studio.telemetry.curves import Sample
from studio.telemetry.serving import SILENT_S, Load, Quantiles
from studio.ui import tiles, units
from studio.ui import widgets as w
from studio.ui.i18n import say

SPAN_S = 600.0
"""Time that the small curves show."""
FULL_SHARE = 0.95
GOOD_HITS = 0.5
WIDTH, HEIGHT = 300, 44


@dataclass(frozen=True, kw_only=True)
class CardUse:
    """One card of the run: bytes and load (0 to 1); what nobody tells is None."""

    index: int
    used_bytes: float | None = None
    total_bytes: float | None = None
    load: float | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known about a server at one moment."""

    at: float
    now: Load | None = None
    """Over the last 30 s."""
    lately: Load | None = None
    """Over the last 5 min."""
    total: Load | None = None
    """Since the start."""
    samples: Sequence[Sample] = ()
    cards: Sequence[CardUse] = ()
    host_bytes: float | None = None
    """Memory of the run's processes on the machine."""
    host_total_bytes: float | None = None
    endpoint: Endpoint | None = field(default=None)


def live(lang: str, run: Run, look: Look) -> str:
    """Return the live view of a serving run, whatever its state."""
    if not run.state.alive:
        return _ended(lang, look)
    body = ""
    if run.state not in (State.READY, State.STOPPING):
        return w.note(say(lang, "live.loading"), icon_name="clock")
    if look.now is None or look.total is None or look.lately is None:
        key = "live.loading" if run.spec.scrape else "live.untold"
        body = w.note(say(lang, key), icon_name="info")
    elif not look.total.asked:
        body = _nobody_yet(lang, run)
    else:
        body = _busy(lang, look, look.now, look.lately, look.total)
    return f'<div class="l-live">{body}{_cards(lang, look)}{_connect(lang, look.endpoint)}</div>'


# what is going on -------------------------------------------------------------------------------


def _busy(lang: str, look: Look, now: Load, lately: Load, total: Load) -> str:
    silent = ""
    if look.at - now.at > SILENT_S:
        since = units.ago(lang, now.at, look.at)
        silent = w.note(say(lang, "live.silent", ago=since), tone="warn", icon_name="alert")
    if now.workers is not None:
        return f'{silent}<div class="l-tiles">{_router(lang, look, now, total)}</div>'
    tiles = (_requests(lang, look, now), _tokens(lang, look, now), _kv(lang, look, now))
    first = f'<div class="l-tiles">{"".join(tiles)}{_prefix(lang, now)}</div>'
    latency = _latency(lang, lately, "lately") if lately.ttft else _latency(lang, total, "since")
    second = f'<div class="l-tiles l-two">{latency}{_served(lang, lately)}</div>'
    return silent + first + second


def _requests(lang: str, look: Look, now: Load) -> str:
    side = ""
    if now.waiting:
        text = say(lang, "live.in_line", n=units.number(now.waiting))
        side = w.tag(text, tone="warn", icon_name="clock")
    big = tiles.big(units.number(now.running), say(lang, "live.running"))
    big += tiles.sub(say(lang, "live.per_s", n=units.number(now.requests_s)))
    lines = (("a", [s.running for s in look.samples]), ("b", [s.waiting for s in look.samples]))
    names = (say(lang, "live.running"), say(lang, "live.waiting"))
    curve = _curve(lang, look, lines, names, units.number)
    return tiles.tile(say(lang, "live.requests"), big + curve, side=side)


def _router(lang: str, look: Look, now: Load, total: Load) -> str:
    """Return a router's tiles: what it hands on, to how many servers; the rest they tell."""
    alone = now.workers == 0
    side = w.tag(say(lang, "live.no_workers"), tone="bad", icon_name="alert") if alone else ""
    body = tiles.big(units.number(now.workers), say(lang, "live.healthy"))
    workers = tiles.tile(
        say(lang, "live.workers"), body + _words(say(lang, "live.workers_hint")), side=side
    )
    pairs = [
        (say(lang, "live.answered"), units.number(total.finished)),
        (say(lang, "live.failed"), units.number(total.failed)),
    ]
    served = tiles.tile(say(lang, "live.served"), w.table(pairs))
    return _requests(lang, look, now) + workers + served


def _tokens(lang: str, look: Look, now: Load) -> str:
    big = tiles.big(units.number(now.generation_tok_s), say(lang, "live.out"))
    big += tiles.big(units.number(now.prompt_tok_s), say(lang, "live.in"), second=True)
    lines = (
        ("a", [s.generation_tok_s for s in look.samples]),
        ("b", [s.prompt_tok_s for s in look.samples]),
    )
    names = (say(lang, "live.out"), say(lang, "live.in"))
    curve = _curve(lang, look, lines, names, units.number, each=True)
    return tiles.tile(say(lang, "live.tokens"), f'<div class="l-bigs">{big}</div>{curve}')


def _kv(lang: str, look: Look, now: Load) -> str:
    used = now.kv_cache_use
    side = ""
    if used is not None and used > FULL_SHARE:
        side = w.tag(say(lang, "live.kv_full"), tone="warn", icon_name="alert")
    body = tiles.big(units.percent(used)) + w.bar(used or 0.0, tone="warn" if side else "accent")
    if used is not None and now.kv_tokens:
        tokens = units.number(round(used * now.kv_tokens))
        body += tiles.sub(say(lang, "live.kv_of", used=tokens, all=units.number(now.kv_tokens)))
    lines = (("a", [s.kv_use for s in look.samples]),)
    curve = _curve(lang, look, lines, ("KV cache",), units.percent, top=1.0)
    return tiles.tile(say(lang, "live.kv"), body + curve, side=side)


def _prefix(lang: str, now: Load) -> str:
    """Return the hit rate, and the answer to "how do we get cache hits?"."""
    title = say(lang, "live.prefix")
    if now.prefix_caching is False:
        return tiles.tile(title, tiles.big("–") + _words(say(lang, "live.prefix_off")))
    rate = now.prefix_hit_rate if now.prefix_hit_rate is not None else now.prefix_hit_rate_total
    if rate is None or now.prefix_hit_rate_total is None:
        return tiles.tile(title, tiles.big("–") + _words(say(lang, "live.prefix_none")))
    told = say(lang, "live.prefix_total", rate=units.percent(now.prefix_hit_rate_total))
    if now.prefix_hit_rate is not None:
        told = f"{say(lang, 'live.prefix_now', rate=units.percent(rate))} · {told}"
    body = tiles.big(units.percent(rate)) + w.bar(
        rate, tone="ok" if rate >= GOOD_HITS else "accent"
    )
    words = say(lang, "live.prefix_good" if rate >= GOOD_HITS else "live.prefix_how")
    if rate < GOOD_HITS and now.block_size:
        words += " " * (lang == "en") + say(lang, "live.prefix_blocks", block=now.block_size)
    return tiles.tile(title, body + tiles.sub(told) + _words(words))


def _latency(lang: str, shown: Load, since: str) -> str:
    side = w.tag(say(lang, f"live.{since}"))
    rows = []
    for name in ("ttft", "itl", "e2e", "queue"):
        found: Quantiles | None = getattr(shown, name)
        if found is not None:
            title = w.esc(say(lang, f"live.{name}_hint"))
            label = w.Html(f'<span title="{title}">{w.esc(say(lang, f"live.{name}"))}</span>')
            rows.append([label, *(_seconds(value) for value in found)])
    if not rows:
        body: str = w.note(say(lang, "live.none_finished"))
    else:
        body = w.rows(("", "p50", "p90", "p99"), rows, numeric=(1, 2, 3))
    return tiles.tile(say(lang, "live.latency"), body, side=side)


def _served(lang: str, lately: Load) -> str:
    """Return what was done since the start, and what to do about preemptions."""
    tone = ""
    if lately.preemptions:
        said = say(lang, "live.preempted_now", n=units.number(lately.preemptions))
        tone = "warn"
    elif lately.preemptions_total:
        total = units.number(lately.preemptions_total)
        said = say(lang, "live.preempted_past", total=total)
    else:
        said = say(lang, "live.preempted_none")
    icon_name = "alert" if tone else "check"
    note = w.note(said, tone=tone, icon_name=icon_name)
    return tiles.tile(say(lang, "live.served"), _totals(lang, lately) + note)


def _totals(lang: str, load: Load) -> str:
    return w.table(
        [
            (say(lang, "live.answered"), units.number(load.finished)),
            (say(lang, "live.failed"), units.number(load.failed)),
            (say(lang, "live.tokens_in"), units.number(load.prompt_tokens)),
            (say(lang, "live.tokens_out"), units.number(load.generation_tokens)),
        ]
    )


def _nobody_yet(lang: str, run: Run) -> str:
    chat = ""
    if run.spec.endpoint is not None and run.spec.endpoint.kind == "chat":
        chat = w.link(say(lang, "live.chat"), "chat", endpoint=run.id)
    return w.empty(lang, "live.first", icon_name="serve", actions=[chat])


def _ended(lang: str, look: Look) -> str:
    if look.total is None:
        return ""
    if not look.total.asked:
        return w.note(say(lang, "live.ended_nothing"))
    latency = _latency(lang, look.total, "since")
    served = tiles.tile(say(lang, "live.served"), _totals(lang, look.total))
    note = w.note(say(lang, "live.ended"), icon_name="history")
    return f'<div class="l-live">{note}<div class="l-tiles l-two">{latency}{served}</div></div>'


# where it runs and how to reach it --------------------------------------------------------------


def _cards(lang: str, look: Look) -> str:
    meters, title = [], say(lang, "live.cards")
    for card in look.cards:
        name = say(lang, "live.card", index=card.index)
        share = card.used_bytes / card.total_bytes if card.used_bytes and card.total_bytes else None
        text = units.gib(card.used_bytes)
        if card.total_bytes:
            text = f"{text.removesuffix(' GiB')} / {units.gib(card.total_bytes)}"
        meters.append(_meter(f"{name} · {say(lang, 'live.memory')}", share or 0.0, text))
        if card.load is not None:
            label = f"{name} · {say(lang, 'live.load')}"
            meters.append(_meter(label, card.load, units.percent(card.load)))
    if not meters:
        if look.host_bytes is None:
            return ""
        share = look.host_bytes / look.host_total_bytes if look.host_total_bytes else 0.0
        text = units.gib(look.host_bytes)
        if look.host_total_bytes:
            text = f"{text.removesuffix(' GiB')} / {units.gib(look.host_total_bytes)}"
        meters = [_meter(say(lang, "live.ram"), share, text)]
        title = say(lang, "live.host")
    body = f'<div class="l-meters wide">{"".join(meters)}</div>'
    return w.card(title, body)


def _connect(lang: str, endpoint: Endpoint | None) -> str:
    """Return the address, the models and examples to copy; a key is never shown."""
    if endpoint is None:
        return ""
    key = say(lang, "live.key_set" if endpoint.api_key else "live.key_none")
    models = w.Html(" ".join(w.tag(model) for model in endpoint.models))
    facts = w.table([(say(lang, "live.models"), models), (say(lang, "live.key"), key)])
    host = endpoint.base_url.partition("://")[2].partition("/")[0]
    here = ""
    if host.startswith(("127.", "localhost", "[::1]")):
        here = f'<p class="l-step">{w.esc(say(lang, "live.only_here", host=host))}</p>'
    snippets = ""
    if endpoint.kind == "chat" and endpoint.models:
        for name, text in (("curl", curl(endpoint)), ("python", openai_python(endpoint))):
            opened = " open" if name == "curl" else ""
            label = w.esc(say(lang, f"live.{name}"))
            snippets += f"<details{opened}><summary>{label}</summary>{w.code(text)}</details>"
    body = f'{w.code(endpoint.base_url)}{facts}{here}<div class="l-snippets">{snippets}</div>'
    return w.card(say(lang, "live.connect"), body)


def curl(endpoint: Endpoint) -> str:
    """Return a question with curl; a key is read from $KEY."""
    key = ' \\\n  -H "Authorization: Bearer $KEY"' if endpoint.api_key else ""
    return (
        f"curl {endpoint.base_url}/chat/completions{key} \\\n"
        '  -H "Content-Type: application/json" \\\n'
        f'  -d \'{{"model": "{endpoint.models[0]}", '
        '"messages": [{"role": "user", "content": "Hello"}]}\''
    )


def openai_python(endpoint: Endpoint) -> str:
    """Return a question with the openai package; a key is read from $KEY."""
    key = 'os.environ["KEY"]' if endpoint.api_key else '"none"'
    return (
        ("import os\n\n" if endpoint.api_key else "")
        + "from openai import OpenAI\n\n"
        + f'client = OpenAI(base_url="{endpoint.base_url}", api_key={key})\n'
        + "answer = client.chat.completions.create(\n"
        + f'    model="{endpoint.models[0]}",\n'
        + '    messages=[{"role": "user", "content": "Hello"}],\n'
        + ")\nprint(answer.choices[0].message.content)"
    )


# pieces -----------------------------------------------------------------------------------------


def _words(text: str) -> str:
    return f'<p class="l-say">{w.esc(text)}</p>'


def _meter(label: str, share: float, text: str) -> str:
    return f"<span>{w.esc(label)}</span>{w.bar(share)}<b>{w.esc(text)}</b>"


def _seconds(value: float) -> str:
    return units.number(value * 1000, "ms") if value < 1 else units.number(value, "s")


def _curve(
    lang: str,
    look: Look,
    lines: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    tell: Callable[[float], str],
    *,
    top: float | None = None,
    each: bool = False,
) -> str:
    """Return small curves over one time axis; with `each`, every line has a scale of its own."""
    highest = [max(values, default=0.0) for _, values in lines]
    most = top or max([*highest, 1e-9])
    begin = look.at - SPAN_S
    drawn = []
    for (kind, values), own in zip(lines, highest, strict=True):
        scale = max(own, 1e-9) if each else most
        points = [
            (
                max(0.0, (sample.at - begin) / SPAN_S) * WIDTH,
                HEIGHT - 2 - min(1.0, value / scale) * (HEIGHT - 6),
            )
            for sample, value in zip(look.samples, values, strict=True)
        ]
        if not points or (kind == "b" and own <= 0):
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if kind == "a":
            area = f"{points[0][0]:.1f},{HEIGHT} {path} {points[-1][0]:.1f},{HEIGHT}"
            drawn.insert(0, f'<polygon class="l-area" points="{area}"/>')
        drawn.append(f'<polyline class="l-line-{kind}" points="{path}"/>')
    highs = [
        f'<i class="l-key-{kind}">{w.esc(name)}</i> {w.esc(tell(own))}'
        for (kind, _), name, own in zip(lines, names, highest, strict=True)
    ]
    said = ", ".join(f"{n} {tell(h)}" for n, h in zip(names, highest, strict=True))
    label = w.esc(f"{say(lang, 'live.minutes')}: {say(lang, 'live.most', n=said)}")
    most_words = say(lang, "live.most", n="\0").split("\0")
    keys = f"{w.esc(most_words[0])}{' · '.join(highs)}{w.esc(most_words[-1])}"
    return (
        f'<figure class="l-spark"><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}">{"".join(drawn)}</svg>'
        f"<figcaption><span>{w.esc(say(lang, 'live.minutes'))}</span><span>{keys}</span>"
        "</figcaption></figure>"
    )

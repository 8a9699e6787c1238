"""How the machine looks: cards and their holders, environments, host, checkup. HTML only."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from studio import __version__
from studio.engines.engine import Progress
from studio.envs.catalog import CATALOG
from studio.envs.envs import EnvStatus
from studio.jobs.jobs import Run
from studio.telemetry.doctor import Finding
from studio.telemetry.gpus import Driver, Gpu, Holder
from studio.telemetry.host import Host
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import translate

ENV_LOOKS = {
    "ready": ("ok", "check"),
    "missing": ("", "box"),
    "building": ("warn", "spinner"),
    "broken": ("bad", "cross"),
    "stale": ("accent", "refresh"),
}
LEVEL_LOOKS = {"ok": ("ok", "check"), "warn": ("warn", "alert"), "fail": ("bad", "cross")}
BUSY_SHARE = 0.05
FULL_SHARE = 0.9


def cards(lang: str, gpus: Sequence[Gpu], runs: Mapping[str, Run], num_waiting: int) -> str:
    """Return every card with its bars and whoever holds it; an empty state without cards."""
    if not gpus:
        return w.empty(lang, "machine.no_cards", icon_name="cpu")
    side = ""
    if num_waiting:
        side = w.tag(say(lang, "machine.queue", count=num_waiting), icon_name="clock")
    return _head(lang, "gpu", "machine.cards", side) + w.grid(
        [_card(lang, gpu, runs) for gpu in gpus], min_px=300, wide=len(gpus) <= 4
    )


def _card(lang: str, gpu: Gpu, runs: Mapping[str, Run]) -> str:
    strangers = any(holder.run_id not in runs for holder in gpu.holders)
    if gpu.trouble:
        side = w.tag(say(lang, f"strip.{gpu.trouble}"), tone="bad", icon_name="alert")
    elif gpu.used < BUSY_SHARE and not gpu.holders:
        side = w.tag(say(lang, "machine.idle"), tone="ok")
    else:
        side = w.tag(say(lang, "machine.theirs" if strangers else "machine.busy"))
    tone = "bad" if gpu.trouble else "warn" if gpu.used > FULL_SHARE and strangers else "accent"
    used = f"{units.gib(gpu.used_bytes).removesuffix(' GiB')} / {units.gib(gpu.total_bytes)}"
    meters = [_meter(say(lang, "machine.memory"), gpu.used, used, tone)]
    if gpu.load is not None:
        meters.append(_meter(say(lang, "machine.load"), gpu.load, units.percent(gpu.load)))
    if gpu.power_w is not None and gpu.power_cap_w:
        text = f"{gpu.power_w:.0f} / {gpu.power_cap_w:.0f} W"
        meters.append(_meter(say(lang, "machine.power"), gpu.power_w / gpu.power_cap_w, text))
    if gpu.temperature_c is not None:
        tone = "bad" if gpu.trouble == "hot" else "accent"
        share, text = gpu.temperature_c / 100, f"{gpu.temperature_c:.0f} °C"
        meters.append(_meter(say(lang, "machine.temperature"), share, text, tone))
    body = f'<div class="l-meters">{"".join(meters)}</div>{_holders(lang, gpu, runs)}'
    name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    return w.card(f"{gpu.index} · {name}", body, side=side, tone="bad" if gpu.trouble else "")


def _meter(label: str, share: float, text: str, tone: str = "accent") -> str:
    return f"<span>{w.esc(label)}</span>{w.bar(share, tone=tone)}<b>{w.esc(text)}</b>"


def _holders(lang: str, gpu: Gpu, runs: Mapping[str, Run]) -> str:
    """Return our runs, each once with a safe stop, then strangers, whom nobody may stop here."""
    lines, seen = [], set()
    for holder in gpu.holders:
        run = runs.get(holder.run_id or "")
        if run is None:
            lines.append(_stranger(lang, holder))
        elif run.id not in seen:
            seen.add(run.id)
            stop = w.action(
                say(lang, "machine.stop"),
                "stop",
                run.id,
                icon_name="stop",
                kind="danger small",
                confirm=say(lang, "machine.stop_ask", name=run.spec.name),
            )
            shown = stop if run.state.alive else ""
            lines.append(
                f'<div class="l-holder">{w.chip(lang, run, with_cards=False)}{shown}</div>'
            )
    if not gpu.holders and gpu.used > BUSY_SHARE:
        lines.append(f'<div class="l-holder l-muted">{say(lang, "machine.unknown_holder")}</div>')
    return f'<div class="l-holders">{"".join(lines)}</div>' if lines else ""


def _stranger(lang: str, holder: Holder) -> str:
    used = "" if holder.used_bytes is None else units.gib(holder.used_bytes)
    return (
        f'<div class="l-holder l-stranger">{w.icon("user")}'
        f"<div><b>{w.esc(say(lang, 'machine.stranger', user=holder.user))}</b>"
        f"<span>{w.esc(say(lang, 'machine.pid', pid=holder.pid))}</span>"
        f'<code title="{w.esc(holder.command)}">{w.esc(holder.command)}</code></div>'
        f"<em>{w.esc(used)}</em></div>"
    )


def environments(
    lang: str,
    found: Iterable[EnvStatus],
    builds: Mapping[str, tuple[Run, Progress | None]],
    free_bytes: int,
) -> str:
    """Return one card per engine's environment, with what can be done about it."""
    items = [_env(lang, status, builds.get(status.name), free_bytes) for status in found]
    about = f'<p class="l-about">{w.esc(say(lang, "machine.envs_about"))}</p>'
    return _head(lang, "python", "machine.envs") + about + w.grid(items, min_px=330)


def _env(
    lang: str, status: EnvStatus, build: tuple[Run, Progress | None] | None, free_bytes: int
) -> str:
    state = "building" if build else str(status.state)
    tone, drawing = ENV_LOOKS[state]
    side = w.tag(say(lang, f"machine.env.{state}"), tone=tone, icon_name=drawing)
    tags = [w.tag(f"{name} {number}") for name, number in status.versions.items()]
    if status.kind == "adopted":
        tags.insert(0, w.tag(say(lang, "machine.adopted"), icon_name="plug"))
    if status.size_bytes:
        tags.append(w.tag(units.size(status.size_bytes), icon_name="disk"))
    body = f'<div class="l-tags">{"".join(tags)}</div>' if tags and state != "missing" else ""
    if build:
        run, progress = build
        share = progress.done / progress.total if progress and progress.total else None
        said = translate(lang, progress.text) if progress else ""
        link = w.chip(lang, run, with_cards=False)
        body = f'{w.bar(share)}<p class="l-step">{w.esc(said)}</p>{link}'
        return w.card(status.title, body, side=side)
    if state == "missing":
        body = f'<p class="l-step">{w.esc(_needs(lang, status, free_bytes))}</p>'
    elif status.detail:
        why = translate(lang, status.detail)
        body += w.note(why, tone=tone if tone == "bad" else "", icon_name="info")
    if status.kind == "adopted":
        python = w.esc(status.python)
        body += f'<p class="l-step l-mono" title="{python}">{python}</p>'
    return w.card(status.title, body, side=side, foot="".join(_env_actions(lang, status)))


def _needs(lang: str, status: EnvStatus, free_bytes: int) -> str:
    spec = CATALOG.get(status.name)
    if spec is None:
        return ""
    if not spec.comes_for(status.variant):
        return translate(lang, status.detail)
    download = f"{getattr(spec.download_gib, status.variant):g} GiB"
    size = f"{getattr(spec.size_gib, status.variant):g} GiB"
    needs = say(lang, "machine.needs", download=download, size=size)
    return f"{needs} · {say(lang, 'machine.free_after', free=units.gib(free_bytes))}"


def _env_actions(lang: str, status: EnvStatus) -> Iterable[str]:
    verb = {"missing": "build", "broken": "repair", "stale": "update"}.get(str(status.state))
    drawing = {"build": "hammer", "repair": "wrench", "update": "refresh"}
    spec = CATALOG.get(status.name)
    if verb and status.kind == "built" and (spec is None or spec.comes_for(status.variant)):
        text = say(lang, f"machine.{verb}")
        yield w.action(text, "build", status.name, icon_name=drawing[verb], kind="primary")
    if status.kind == "built":
        yield w.action(say(lang, "machine.adopt"), "adopt", status.name, icon_name="plug")
        if str(status.state) != "missing":
            ask = say(
                lang,
                "machine.remove_ask",
                title=status.title,
                size=units.size(status.size_bytes),
            )
            text = say(lang, "machine.remove")
            yield w.action(text, "remove", status.name, icon_name="trash", confirm=ask)
    else:
        ask = say(lang, "machine.forget_ask", title=status.title)
        text = say(lang, "machine.forget")
        yield w.action(text, "remove", status.name, icon_name="trash", confirm=ask)


def host(lang: str, now: Host, driver: Driver, home: Path) -> str:
    """Return processor, memory and disk as bars, and the versions of what matters."""
    disk_used = now.disk_total_bytes - now.disk_free_bytes
    ram_free = units.gib(now.ram_total_bytes - now.ram_used_bytes)
    disk_free = units.gib(now.disk_free_bytes)
    bars = [
        _meter(
            say(lang, "machine.cpu"),
            now.cpu,
            f"{units.percent(now.cpu)} · {say(lang, 'machine.cores', count=now.num_cpus)}",
        ),
        _meter(
            say(lang, "machine.ram"),
            now.ram,
            say(lang, "machine.free", free=ram_free, total=units.gib(now.ram_total_bytes)),
            "bad" if now.ram > 0.95 else "accent",
        ),
        _meter(
            say(lang, "machine.disk"),
            disk_used / now.disk_total_bytes,
            say(lang, "machine.free", free=disk_free, total=units.gib(now.disk_total_bytes)),
            "bad" if now.disk_free_bytes < 3 * 2**30 else "accent",
        ),
    ]
    facts: list[tuple[str, object]] = [
        (say(lang, "machine.version_studio"), __version__),
        ("Python", platform.python_version()),
        ("Gradio", version("gradio")),
    ]
    if driver.version or driver.name:
        facts.append((say(lang, "machine.version_driver"), f"{driver.name} {driver.version}"))
    if driver.cuda:
        facts.append(("CUDA", driver.cuda))
    facts.append((say(lang, "machine.home"), w.Html(f"<code>{w.esc(home)}</code>")))
    return w.grid(
        [
            w.card(
                say(lang, "machine.machine"), f'<div class="l-meters wide">{"".join(bars)}</div>'
            ),
            w.card(say(lang, "machine.versions"), w.table(facts)),
        ],
        min_px=420,
        wide=True,
    )


def checkup(lang: str, findings: Sequence[Finding]) -> str:
    """Return what the doctor found: problems in full with their fixes, the rest folded."""
    wrong = [f for f in findings if f.level != "ok"]
    fine = [f for f in findings if f.level == "ok"]
    if wrong:
        side = w.tag(say(lang, "machine.found", count=len(wrong)), tone="warn")
    else:
        side = w.tag(say(lang, "machine.all_well"), tone="ok", icon_name="check")
    again = w.action(
        say(lang, "machine.check_again"), "check", icon_name="refresh", kind="quiet small"
    )
    folded = say(lang, "machine.details", count=len(fine))
    body = "".join(_finding(lang, finding) for finding in wrong)
    rest = "".join(_finding(lang, finding) for finding in fine)
    opened = "" if wrong else " open"
    body += f"<details{opened}><summary>{w.esc(folded)}</summary>{rest}</details>"
    head = _head(lang, "doctor", "machine.checkup", f"{side}{again}")
    return f'{head}<div class="l-card l-findings">{body}</div>'


def _finding(lang: str, finding: Finding) -> str:
    tone, drawing = LEVEL_LOOKS[finding.level]
    fix = finding.text("fix", lang) if finding.level != "ok" else ""
    how = f"<p>{w.icon('wrench')}<span>{w.esc(fix)}</span></p>" if fix else ""
    return (
        f'<div class="l-finding l-tone-{tone}">{w.icon(drawing)}<div>'
        f"<b>{w.esc(finding.text('title', lang))}</b>"
        f"<span>{w.esc(translate(lang, finding.text('detail', lang)))}</span>{how}</div></div>"
    )


def _head(lang: str, drawing: str, key: str, side: str = "") -> str:
    return (
        f'<div class="l-head"><h2 class="l-h2">{w.icon(drawing)}{w.esc(say(lang, key))}</h2>'
        f"{side}</div>"
    )

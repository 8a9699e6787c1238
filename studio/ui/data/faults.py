"""What is wrong with the rows of a data set, in the visitor's language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from studio.data.model import Fault, Report
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say, words

PAGE_FAULTS = 100


def sentence(lang: str, fault: Fault) -> str:
    """Return what is wrong with one record."""
    key = f"data.fault.{fault.code}"
    if key not in words(lang):
        return fault.code.replace("_", " ")
    return say(lang, key, **fault.values)


def name_of(lang: str, code: str) -> str:
    """Return a fault as a label: what kind it is, without its values."""
    key = f"data.fault_name.{code}"
    return say(lang, key) if key in words(lang) else code.replace("_", " ")


def fault_rows(lang: str, faults: Iterable[Fault]) -> str:
    """Return faults as a table: line, what is wrong, and whether the row is kept."""
    lines = []
    for fault in faults:
        kept = w.tag(say(lang, "data.faults.kept"), tone="ok") if fault.kept else ""
        lines.append((f"{fault.line:,}", w.Html(f"{w.esc(sentence(lang, fault))} {kept}")))
    head = (say(lang, "data.faults.line"), say(lang, "data.faults.what"))
    return f'<div class="l-faults">{w.rows(head, lines)}</div>'


def repairs(lang: str, repaired: Mapping[str, int]) -> str:
    """Return what was put right while reading, and how often; empty when nothing was."""
    if not repaired:
        return ""
    known = words(lang)
    told = [
        f"{say(lang, key) if (key := f'data.repair.{code}') in known else code} ({count:,})"
        for code, count in repaired.items()
    ]
    what = ("、" if lang == "zh" else ", ").join(told)
    return w.note(say(lang, "data.repaired", what=what), icon_name="wrench")


def page(lang: str, report: Report, *, code: str = "", offset: int = 0) -> str:
    """Return the faults of a data set: how many of each kind, then line by line."""
    if not report.counts:
        done = say(lang, "data.faults.none", n=units.number(report.read))
        return repairs(lang, report.repaired) + w.note(done, tone="ok", icon_name="check")
    told = say(
        lang,
        "data.faults.told",
        read=units.number(report.read),
        good=units.number(report.good),
        refused=units.number(report.refused),
    )
    every = sum(report.counts.values())
    chips = [_chip(say(lang, "data.faults.all"), every, "", not code)]
    chips += [
        _chip(name_of(lang, name), count, name, code == name)
        for name, count in sorted(report.counts.items(), key=lambda item: -item[1])
    ]
    chosen = [fault for fault in report.faults if not code or fault.code == code]
    shown = chosen[offset : offset + PAGE_FAULTS]
    cut = ""
    in_all = report.counts.get(code, 0) if code else every
    if in_all > len(chosen):
        cut = w.note(
            say(lang, "data.faults.cut", n=units.number(len(chosen)), all=units.number(in_all))
        )
    return (
        f'<p class="l-sub">{w.esc(told)}</p>{repairs(lang, report.repaired)}'
        f'<div class="l-counts">{"".join(chips)}</div>{fault_rows(lang, shown)}{cut}'
        f"{pager(lang, offset, PAGE_FAULTS, len(chosen))}"
    )


def pager(lang: str, offset: int, step: int, total: int | None, *, more: bool = False) -> str:
    """Return buttons to the pages before and after; nothing when all is on one page."""
    last = offset + step >= total if total is not None else not more
    if offset == 0 and last:
        return ""
    upto = min(offset + step, total) if total is not None else offset + step
    said = f"{offset + 1:,} – {upto:,}" + (f" / {total:,}" if total is not None else "")
    back = _to(lang, "back", "left", offset - step if offset else None)
    on = _to(lang, "on", "right", None if last else offset + step)
    return f'<div class="l-pager">{back}<span>{said}</span>{on}</div>'


def _to(lang: str, name: str, icon: str, offset: int | None) -> str:
    label = w.esc(say(lang, f"data.page_{name}"))
    off = " disabled" if offset is None else ""
    to = w.esc(json.dumps({"offset": str(max(0, offset or 0))}))
    return (
        f'<button type="button" class="l-button small" data-one-set="{to}" data-one-top{off} '
        f'aria-label="{label}" title="{label}">{w.icon(icon)}</button>'
    )


def _chip(text: str, count: int, code: str, on: bool) -> str:
    to = w.esc(json.dumps({"code": code, "offset": "0"}))
    return (
        f'<button type="button" class="l-tag" data-one-set="{to}" aria-pressed="{str(on).lower()}">'
        f"{w.esc(text)} <b>{units.number(count)}</b></button>"
    )

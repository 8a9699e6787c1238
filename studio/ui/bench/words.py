"""How a measured point is told in a table: names, conditions, values, and their definitions.

Units stand in the head of a column, so values are bare. Words of figures are `studio.ui.measures`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from studio.bench.compare import LOAD_SIZES
from studio.bench.definitions import DEFINITIONS, STATISTICS, definition
from studio.bench.point import Point
from studio.ui import measures, units
from studio.ui import widgets as w
from studio.ui.i18n import say

LENGTHS = ("input_len", "output_len")
LOAD = (*LENGTHS, "concurrency", "request_rate")
USUAL = {"dataset": "random", "images": 0, "ignore_eos": True}
"""Values of a condition that are not worth a word."""
CONDITION_UNITS = {"input_len": "tok", "output_len": "tok", "request_rate": "req/s"}


def label(lang: str, name: str) -> str:
    """Return the short words of a column: a figure's, or those of a key of the condition."""
    return measures.short(lang, name) if name in DEFINITIONS else measures.condition(lang, name)


def unit(lang: str, name: str) -> str:
    """Return the unit that the head of a column shows; empty where its words hold it already."""
    found = CONDITION_UNITS.get(name) or measures.unit(name)
    return "" if found and found in label(lang, name) else found


def is_defined(name: str) -> bool:
    """Tell whether a column has a definition to look up."""
    return name in DEFINITIONS


def lower_is_better(name: str) -> bool:
    """Tell whether the lowest value of a column is its best."""
    return definition(name).better == "less"


def rank(name: str) -> tuple[int, int, str]:
    """Return where a column stands among all: conditions, then figures as they are defined."""
    if name in LOAD:
        return (0, LOAD.index(name), name)
    order = list(DEFINITIONS)
    return (2, order.index(name), name) if name in DEFINITIONS else (1, 0, name)


def shown(name: str, value: Any) -> str:
    """Return a value without its unit: three significant digits, a share as percent."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return measures.shown(name, value, with_unit=False)


def short(name: str) -> str:
    """Return the last part of a model's name or path."""
    return name.rstrip("/").rpartition("/")[2] or name


def server(point: Point) -> str:
    """Return what answered: the server, else the tool that measured, and on how many cards."""
    told = point.server or f"{point.engine} {point.version}".strip()
    return f"{told} · {point.cards}x" if point.cards > 1 else told


def condition(lang: str, point: Point, *, known: Collection[str] = ()) -> str:
    """Return under which condition a point was measured, in a few words, less what is known."""
    given, parts = point.condition, []
    lengths = [given.get(name) for name in LENGTHS]
    if all(value is not None for value in lengths):
        parts.append(f"{units.number(lengths[0])} → {units.number(lengths[1])}")
    if given.get("concurrency") is not None:
        parts.append(_load(lang, "users", given["concurrency"]))
    if given.get("request_rate") is not None:
        parts.append(_load(lang, "rate", given["request_rate"]))
    for name, value in given.items():
        if name in LOAD or name in LOAD_SIZES or value in (None, "") or value == USUAL.get(name):
            continue
        if name in known:
            continue
        parts.append(f"{label(lang, name)} {_plain(value)}")
    return " · ".join(parts) or point.case or point.id


def is_load(point: Point) -> bool:
    """Tell whether a point was measured under a load; a training and a study's row were not."""
    return any(point.condition.get(name) is not None for name in LOAD)


def constant(points: Sequence[Point]) -> set[str]:
    """Return the conditions that are the same at every point: a table need not repeat them."""
    if len(points) < 2:
        return set()
    names = {name for point in points for name in point.condition}
    return {
        name for name in names if len({str(point.condition.get(name)) for point in points}) == 1
    }


def definitions(lang: str) -> str:
    """Return every definition as the inside of a dialog: name, formula, unit, which way is better.

    Each carries the names of the figures it defines, so that the browser finds the one asked for.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for name, item in DEFINITIONS.items():
        groups.setdefault(item.group, {}).setdefault(item.base, []).append(name)
    body = "".join(
        f"<h4>{w.esc(say(lang, f'bench.group.{group}'))}</h4>"
        f"{_statistics(lang) if group == 'latency' else ''}<dl>"
        f"{''.join(_definition(lang, names) for names in bases.values())}</dl>"
        for group, bases in groups.items()
    )
    shut = w.esc(say(lang, "bench.shut"))
    return (
        f"<header><h3>{w.esc(say(lang, 'bench.definitions'))}</h3>"
        f'<button type="button" class="l-button quiet small" data-bench-shut aria-label="{shut}">'
        f'{w.icon("cross")}</button></header><div class="l-b-definitions">{body}</div>'
    )


def _statistics(lang: str) -> str:
    """Return what mean, median and the percentiles of a latency are, told once for all of them."""
    lines = (
        f"<b>{w.esc(say(lang, f'measures.statistic.{name}'))}</b> "
        f"{w.esc(say(lang, f'measures.statistic_said.{name}'))}"
        for name in STATISTICS
    )
    return f"<p>{' · '.join(lines)}</p>"


def _definition(lang: str, names: list[str]) -> str:
    first = definition(names[0])
    key = f"measures.formula.{first.base}"
    better = say(lang, f"bench.better.{first.better}") if first.better else ""
    told = " · ".join(part for part in (measures.unit(names[0]), better) if part)
    marks = "".join(f'<i data-figure="{w.esc(name)}"></i>' for name in names)
    title = w.esc(say(lang, f"measures.label.{first.base}"))
    code = w.esc(names[0] if len(names) == 1 else f"{first.base}_…_ms")
    return (
        f'<div class="l-b-definition">{marks}<dt><b>{title}</b><small>{w.esc(told)}</small>'
        f"<code>{code}</code></dt><dd>{w.esc(say(lang, key))}</dd></div>"
    )


def _load(lang: str, kind: str, value: Any) -> str:
    one = "_one" if value == 1 else ""
    return say(lang, f"measures.load.{kind}{one}", n=_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    whole = isinstance(value, float) and value.is_integer()
    return units.number(int(value) if whole else value)

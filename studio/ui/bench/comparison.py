"""Results side by side: what differs, in sentences, in a table with intervals, and drawn.

`of` names folders, or points as `folder/id`; the first is what the others are compared with. Chosen
points of one folder are grouped by their condition, points of several by their folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.bench.compare import Comparison, Row, compare
from studio.bench.point import Point
from studio.bench.said import Said
from studio.core.errors import StudioError
from studio.ui import charts, measures, units
from studio.ui import widgets as w
from studio.ui.bench import words
from studio.ui.bench.table import find_points
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.sentences import one_line

if TYPE_CHECKING:
    from studio.studio import Studio

MOST_GROUPS = 8
MOST_ROWS = 200
EVERY = "*"
"""The choice of all figures at once."""
TONES = {
    "better": ("ok", "check"),
    "worse": ("bad", "cross"),
    "more": ("accent", "up"),
    "less": ("accent", "down"),
}
"""How a difference that the repeats show looks; all others are grey."""
KINDS = ("compare", "throughput-latency", "percentiles", "scaling", "pareto", "memory", "history")
"""Charts of a comparison, the most telling first."""
OF_CASES = ("compare", "scaling", "memory", "history")
"""Charts with a bar for each case, which lengths of prompts would multiply."""
MOST_CHARTS = 4


class Comparisons:
    """Answers about several results; viewers of the same ones share the work."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(2.0)

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [Route("bench/comparison", self.view)]

    def view(self, request: Request) -> dict[str, Any]:
        """Return the page of a comparison."""
        lang, asked = lang_of(request), request.query_params
        key = (lang, asked.get("of", ""), asked.get("metric", ""), asked.get("base", ""))
        return fragment(request, self._recent.get(key, lambda: self._page(*key)), final=True)

    def _page(self, lang: str, of: str, metric: str, base: str) -> str:
        keys = [key for key in of.split(",") if key]
        try:
            groups = groups_of(self._studio, lang, keys)
            found = compared(groups, base)
        except StudioError as error:
            return _back(lang) + w.note(one_line(lang, error), tone="warn", icon_name="alert")
        title = w.esc(say(lang, "bench.comparison.title", n=len(groups)))
        head = (
            f'{_back(lang)}<div class="l-b-head"><div class="l-run-title"><h2>{title}</h2></div>'
            f"{_legend(lang, found, groups)}</div>"
        )
        folders = list(dict.fromkeys(key.partition("/")[0] for key in keys))
        whole = not any("/" in key for key in keys)
        parts = [head, said_card(lang, found), table_card(lang, found, metric)]
        return "".join([*parts, self._charts(folders, groups) if whole else ""])

    def _charts(self, folders: Sequence[str], groups: Mapping[str, Sequence[Point]]) -> str:
        points = [point for found in groups.values() for point in found]
        fitting = charts.fitting(points)
        lengths = {(p.condition.get("input_len"), p.condition.get("output_len")) for p in points}
        kinds = [k for k in KINDS if k in fitting and (len(lengths) == 1 or k not in OF_CASES)]
        kinds = kinds[:MOST_CHARTS]
        places = "".join(charts.place(kind, results=folders, live=False) for kind in kinds)
        return f'<div class="l-b-charts">{places}</div>' if places else ""


def groups_of(studio: Studio, lang: str, keys: Sequence[str]) -> dict[str, list[Point]]:
    """Return the points to compare, by the name of their group; raise StudioError.

    A study's folder brings what its cases wrote, each case a group of its own.
    """
    folders = list(dict.fromkeys(key.partition("/")[0] for key in keys))
    if any("/" in key for key in keys) and len(folders) == 1:
        return _by_condition(lang, find_points(studio, keys))
    groups: dict[str, list[Point]] = {}
    for name in folders:
        mine = [key for key in keys if key.partition("/")[0] == name]
        if mine != [name]:
            groups[name] = find_points(studio, mine)
            continue
        family = studio.saved.family(name)
        points = [point for item in family for point in item.points]
        cases = dict.fromkeys(point.case for point in points)
        if len(family) > 1 or (family[0].about.kind != "load" and len(cases) > 1):
            for case in cases:
                groups[f"{name}\0{case}"] = [point for point in points if point.case == case]
        else:
            groups[name] = list(points)
    return _named(studio, lang, groups)


def compared(groups: Mapping[str, Sequence[Point]], base: str = "") -> Comparison:
    """Compare groups, `base` first; raise StudioError for fewer than two or too many."""
    if len(groups) < 2:
        raise StudioError(
            "A comparison needs two groups of points.",
            hint="Choose two folders, or points under two conditions.",
        )
    if len(groups) > MOST_GROUPS:
        raise StudioError(
            f"{len(groups)} groups are too many to compare.", hint=f"Choose up to {MOST_GROUPS}."
        )
    order = sorted(groups, key=lambda name: name != base)
    every = [point for found in groups.values() for point in found]
    conditions = {_condition_key(point) for point in every}
    alike = len(conditions) == len(groups) and all(
        len({_condition_key(point) for point in found}) == 1 for found in groups.values()
    )
    # one condition each, and none in common: they are what is compared
    return compare({name: groups[name] for name in order}, by=() if alike else None)


def said_card(lang: str, found: Comparison) -> str:
    """Return a comparison in sentences: each group's differences, what is the same, then doubts."""
    clear: dict[str, list[str]] = {}
    same: list[str] = []
    doubts: list[str] = []
    for one in found.said():
        key = one.key.rpartition(".")[2].removesuffix("_one").removesuffix("_once")
        text = w.esc(measures.sentence(lang, one))
        group = str(one.values.get("group", ""))
        if key in TONES or key.startswith("mixed"):
            tone, icon = TONES.get(key, ("warn", "scale"))
            line = f'<li class="l-tone-{tone}">{w.icon(icon)}<div>{text}</div></li>'
            clear.setdefault(group, []).append(line)
        elif key in ("equal", "small", "noise", "unknown"):
            same.append(f"<li>{w.icon('minus')}<div>{text}</div></li>")
        else:
            doubts.append(f'<p class="l-sub">{text}</p>')
    body = ""
    for group, lines in clear.items():
        told = say(lang, "bench.comparison.pair", group=group, base=found.base)
        title = f"<h4>{w.esc(told)}</h4>" if len(found.groups) > 2 else ""
        body += f'{title}<ul class="l-b-said">{"".join(lines)}</ul>'
    if same:
        title = w.esc(say(lang, "bench.comparison.same", n=len(same)))
        items = f'<ul class="l-b-said">{"".join(same)}</ul>'
        body += f"<details{'' if clear else ' open'}><summary>{title}</summary>{items}</details>"
    doubt = f'<div class="l-b-doubts">{"".join(doubts)}</div>' if doubts else ""
    return w.card(say(lang, "bench.comparison.said"), body + doubt)


def table_card(lang: str, found: Comparison, metric: str) -> str:
    """Return one figure under every common condition, each group with its interval."""
    if not found.rows:
        return ""
    chosen = metric if metric == EVERY or metric in found.metrics else found.metrics[0]
    rows = [row for row in found.rows if chosen in (EVERY, row.metric)]
    every = chosen == EVERY
    names = [name for name in rows[0].condition if _varies(rows, name)]
    head = [f"<th>{w.esc(say(lang, 'bench.col.figure'))}</th>"] if every else []
    head.append(f"<th>{w.esc(say(lang, 'bench.col.condition'))}</th>")
    for name in found.groups:
        head.append(f'<th class="l-num">{w.esc(name)}</th>')
        if name != found.base:
            head.append(f"<th>{w.esc(say(lang, 'bench.comparison.against'))}</th>")
    body = "".join(_row(lang, found, row, names, every=every) for row in rows[:MOST_ROWS])
    more = ""
    if len(rows) > MOST_ROWS:
        more = w.note(say(lang, "bench.more_rows", n=len(rows) - MOST_ROWS))
    table = (
        f'<div class="l-scroll"><table class="l-table l-b-compared"><thead><tr>{"".join(head)}'
        f"</tr></thead><tbody>{body}</tbody></table></div>{more}"
        f'<p class="l-sub">{w.esc(say(lang, "bench.comparison.how"))}</p>'
    )
    title = say(lang, "bench.comparison.table")
    return w.card(title, table, side=_metrics(lang, found, chosen))


# pieces -----------------------------------------------------------------------------------------


def _row(lang: str, found: Comparison, row: Row, names: Sequence[str], *, every: bool) -> str:
    given = Point(id="", condition={name: row.condition[name] for name in names})
    told = words.condition(lang, given) if names else say(lang, "bench.comparison.all")
    cells = [f"<td>{w.esc(measures.label(lang, row.metric))}</td>"] if every else []
    cells.append(f"<td>{w.esc(told)}</td>")
    for name in found.groups:
        spread = row.spreads[name]
        mean = w.esc(measures.shown(row.metric, spread.mean, with_unit=every))
        half = ""
        if spread.half is not None:
            text = measures.shown(row.metric, spread.half, with_unit=False)
            half = f"<small>± {w.esc(text)}</small>"
        cells.append(f'<td class="l-num">{mean}{half}</td>')
        if name != found.base:
            cells.append(f"<td>{_difference(lang, row, name)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _difference(lang: str, row: Row, name: str) -> str:
    ratio, judged = row.ratios[name], row.judged(name)
    tone, icon = TONES.get(judged, ("", ""))
    word = w.tag(say(lang, f"measures.judged_short.{judged}"), tone=tone, icon_name=icon)
    if ratio is None:
        return word
    within = ""
    if ratio.interval is not None:
        low, high = ((end - 1) * 100 for end in ratio.interval)
        within = f"<small>{w.esc(f'{measures.change(low)} … {measures.change(high)}')}</small>"
    return (
        f'<span class="l-b-change"><b>{w.esc(measures.change(ratio.percent))}</b>{word}'
        f"{within}</span>"
    )


def _legend(lang: str, found: Comparison, groups: Mapping[str, Sequence[Point]]) -> str:
    """Return the groups with their points; a click makes another one the base."""
    options = "".join(
        f'<label class="l-b-check"><input type="radio" name="base" data-bench-ask '
        f'value="{w.esc(name)}"{" checked" if name == found.base else ""}><span>{w.esc(name)}'
        f"</span><small>{w.esc(say(lang, 'bench.n_points', n=units.number(len(groups[name]))))}"
        "</small></label>"
        for name in groups
    )
    title = w.esc(say(lang, "bench.comparison.base"))
    return f'<fieldset class="l-b-groups"><legend>{title}</legend>{options}</fieldset>'


def _metrics(lang: str, found: Comparison, chosen: str) -> str:
    options = "".join(
        f'<option value="{w.esc(name)}"{" selected" if name == chosen else ""}>'
        f"{w.esc(measures.label(lang, name))}"
        f"{w.esc(f' ({measures.unit(name)})' if measures.unit(name) else '')}</option>"
        for name in found.metrics
    )
    on = " selected" if chosen == EVERY else ""
    options += f'<option value="{EVERY}"{on}>{w.esc(say(lang, "bench.every_figure"))}</option>'
    label = w.esc(say(lang, "bench.col.figure"))
    return f'<select name="metric" data-bench-ask aria-label="{label}">{options}</select>'


def _named(studio: Studio, lang: str, groups: Mapping[str, list[Point]]) -> dict[str, list[Point]]:
    """Give groups names that people know: the first way that tells all of them apart."""
    ways: list[list[str]] = [[], [], [], []]
    for key, points in groups.items():
        name, _, case = key.partition("\0")
        results = studio.saved.get(name)
        title = case or results.about.case or results.title(lang)
        servers = dict.fromkeys(words.server(point) for point in points)
        server = ", ".join(name for name in servers if name)
        models = ", ".join(dict.fromkeys(words.short(p.model) for p in points if p.model))
        ways[0].append(title)
        ways[1].append(server)
        ways[2].append(f"{models} · {server}")
        ways[3].append(f"{title} · {units.exact(results.created_at)[:16]}")
    told = next((way for way in ways if len(set(way)) == len(way) and all(way)), list(groups))
    return dict(zip(told, groups.values(), strict=True))


def _by_condition(lang: str, points: Sequence[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        told = words.condition(lang, point)
        name = f"{point.case} · {told}" if point.case and point.case != told else told
        groups.setdefault(name, []).append(point)
    return groups


def _condition_key(point: Point) -> tuple[Any, ...]:
    given = {k: v for k, v in point.condition.items() if k != "num_prompts"}
    return tuple(sorted(given.items(), key=str))


def _varies(rows: Sequence[Row], name: str) -> bool:
    """Tell whether a condition tells rows apart, or is the load that everybody looks for."""
    values = {str(row.condition.get(name)) for row in rows}
    return len(values) > 1 or name in words.LOAD


def _back(lang: str) -> str:
    return (
        f'<a class="l-link l-b-back" href="?tab=bench&amp;view=results" data-ladder-open="bench" '
        f'data-view="results">{w.icon("left")}{w.esc(say(lang, "bench.all"))}</a>'
    )


def plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison for scripts, its sentences said in English."""
    said: list[Said] = found.said()
    return {**found.as_dict(), "words": [measures.sentence("en", one) for one in said]}

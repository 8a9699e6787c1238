"""How data sets look: the list, one set's head, its rows, and its place in dataset_info.json.

Everything here turns values into HTML; `dataroutes` gathers them. What is shown of a set is said
by the query of its live place (`data-one-set`), so that looking costs no event; buttons with
`data-act` call the tab.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.data.model import DataSet
from studio.engines.engine import Progress
from studio.jobs.jobs import Run
from studio.jobs.logs import last_lines
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.data.example import example
from studio.ui.data.faults import pager
from studio.ui.data.look import kind_name
from studio.ui.i18n import say, words
from studio.ui.sentences import translate

PAGE_ROWS = 20
OWN = "[studio] "
"""How the supervisor's own lines in a log begin."""
LINES_READ = 12
WHY_LINES = 2
"""The worker's last words: what happened and what to do."""
PAGES = ("rows", "faults", "lengths", "change", "register")
STAGES = {"preference": "dpo", "kto": "kto", "pretrain": "pt"}
"""The stage that a kind of data is for; the others are for `sft`."""


@dataclass(frozen=True)
class Work:
    """A run that works on data sets, and how far it is."""

    run: Run
    progress: Progress | None


# the list ---------------------------------------------------------------------------------------


def listing(
    lang: str, sets: Sequence[DataSet], versions: Mapping[str, int], works: Sequence[Work]
) -> str:
    """Return the work under way and the data sets as cards; `versions` counts them by name."""
    doing = "".join(work_line(lang, work) for work in works)
    cards = "".join(_card(lang, found, versions.get(found.name, 1)) for found in sets)
    if not cards:
        cards = w.empty(lang, "data.none_found", icon_name="search")
    top = f'<div class="l-works">{doing}</div>' if doing else ""
    return f'{top}<div class="l-sets">{cards}</div>'


def work_line(lang: str, work: Work) -> str:
    """Return a run that works on data: how far it is and the way to stop it, or why it failed."""
    run, progress = work.run, work.progress
    title = w.esc(translate(lang, run.spec.title) or run.spec.name)
    if not run.state.alive:
        said = [line for line in last_lines(run.dir.log, LINES_READ) if not line.startswith(OWN)]
        why = " ".join(translate(lang, line) for line in said[-WHY_LINES:])
        return (
            f'<div class="l-work-line l-bad-line"><span>{w.chip(lang, run)}<span>{title}</span>'
            f"</span><span>{w.esc(why)}</span></div>"
        )
    far = None if progress is None or not progress.total else progress.done / progress.total
    label = translate(lang, progress.text) if progress and progress.text else units.percent(far)
    stop = w.action(say(lang, "runs.stop"), "stop", run.id, icon_name="square", kind="small")
    return (
        f'<div class="l-work-line"><span>{w.chip(lang, run)}<span>{title}</span>{stop}'
        f"</span>{w.bar(far, label='' if far is None else label)}</div>"
    )


def _card(lang: str, found: DataSet, num_versions: int) -> str:
    facts = [
        say(lang, "data.rows_n", n=units.number(found.rows)),
        units.size(found.bytes),
    ]
    if found.pictures:
        facts.append(say(lang, "data.pictures_n", n=units.number(found.pictures)))
    if num_versions > 1:
        facts.append(say(lang, "data.versions_n", n=num_versions))
    told = "".join(f"<span>{w.esc(fact)}</span>" for fact in facts)
    if found.faults:
        text = w.esc(say(lang, "data.faults_n", n=units.number(found.faults)))
        told += f'<span class="l-bad-text">{text}</span>'
    if found.built_in:
        when = w.tag(say(lang, "data.built_in"), icon_name="box")
    else:
        when = w.when(lang, found.created_at)
    return (
        f'<a class="l-run-row" href="?tab=data&amp;set={w.esc(found.name)}" '
        f'data-ladder-open="data" data-set="{w.esc(found.name)}">'
        f'<span class="l-run-top"><b>{w.esc(found.name)}</b>'
        f"{w.tag(kind_name(lang, found.kind))}</span>"
        f'<span class="l-run-sub"><span class="l-set-facts">{told}</span>{when}</span></a>'
    )


# one data set -----------------------------------------------------------------------------------


def one(lang: str, found: DataSet, versions: Sequence[DataSet], page: str, body: str) -> str:
    """Return one data set: its head, its pages, and the page that is shown."""
    current = f'.l-sets .l-run-row[data-set="{found.name}"]'
    marked = (
        f"<style>{current}{{border-color:var(--l-accent);"
        "box-shadow:inset 3px 0 0 var(--l-accent)}</style>"
    )
    tabs = "".join(_tab(lang, name, name == page, found) for name in PAGES)
    return (
        f'{marked}<div class="l-one">{head(lang, found, versions)}'
        f'<div class="l-page-tabs" role="tablist">{tabs}</div>{body}</div>'
    )


def head(lang: str, found: DataSet, versions: Sequence[DataSet]) -> str:
    """Return name, version, kind, size and origin, and what can be done with it."""
    facts = [w.Html(f"<h2>{w.esc(found.name)}</h2>")]
    if found.built_in:
        facts.append(w.tag(say(lang, "data.built_in"), icon_name="box"))
    facts.append(w.tag(kind_name(lang, found.kind), tone="accent", icon_name="data"))
    told = [
        say(lang, "data.rows_n", n=units.number(found.rows)),
        units.size(found.bytes),
    ]
    if found.pictures:
        told.append(say(lang, "data.pictures_n", n=units.number(found.pictures)))
    line = "".join(f"<span>{w.esc(text)}</span>" for text in (*told, origin(lang, found.origin)))
    if not found.built_in:
        line += f"<span>{w.when(lang, found.created_at)}</span>"
    return (
        f'<div class="l-run-head"><div class="l-run-title">{"".join(facts)}'
        f'<span class="l-one-bar">{_versions(lang, found, versions)}</span></div>'
        f'<div class="l-run-line">{line}</div>'
        f'<div class="l-actions">{train_link(lang, found)}{_download(lang, found)}'
        f"{_delete(lang, found, len(versions))}</div></div>"
    )


def train_link(lang: str, found: DataSet) -> str:
    """Return the way into the Train tab with this data set chosen."""
    settings = {"dataset": found.key}
    if found.kind in STAGES:
        settings["stage"] = STAGES[found.kind]
    asked = {"engine": "llamafactory-train", "with": json.dumps(settings)}
    link = w.link(say(lang, "data.train"), "train", **asked)
    return link.replace('class="l-link"', 'class="l-button primary"', 1)


def origin(lang: str, told: Mapping[str, Any]) -> str:
    """Return where a data set came from, as a sentence."""
    came = str(told.get("from", ""))
    key = f"data.origin.{came}"
    if key not in words(lang):
        return ""
    of = told.get("of", "–")
    return say(
        lang,
        key,
        path=told.get("path") or told.get("name", "–"),
        of=", ".join(map(str, of)) if isinstance(of, list) else of,
        what=op_name(lang, str(told.get("op", ""))),
        n=told.get("conversations", "–"),
    )


def op_name(lang: str, op: str) -> str:
    """Return what an operation is called."""
    key = f"data.op.{op}.title"
    return say(lang, key) if key in words(lang) else op


def rows_page(
    lang: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    offset: int,
    total: int | None,
    more: bool,
    find: str,
    picture: Callable[[int, int, str], str],
    numbers: Sequence[int] | None = None,
    ended: bool = True,
) -> str:
    """Return rows to read, with a search over all of them.

    `picture(row, index, name)` gives the HTML of a row's picture; `numbers` are the rows' places
    in the set when they do not follow `offset`; `ended` is False for a search that did not see
    the last row.
    """
    label = w.esc(say(lang, "data.find_rows"))
    bar = (
        f'<div class="l-one-bar"><div class="l-find">{w.icon("search")}<input type="search" '
        f'data-one-find placeholder="{label}" aria-label="{label}" value="{w.esc(find)}"></div>'
        "</div>"
    )
    shown = []
    for place, row in enumerate(rows):
        at = numbers[place] if numbers else offset + place
        shown.append(
            example(
                lang,
                row,
                number=at + 1,
                find=find,
                picture=lambda index, name, at=at: picture(at, index, name),
            )
        )
    if not shown:
        key = "data.no_hits" if find else "data.no_rows"
        return bar + (w.note(say(lang, key)) if ended else "")
    return (
        f'{bar}<div class="l-examples">{"".join(shown)}</div>'
        f"{pager(lang, offset, PAGE_ROWS, total, more=more)}"
    )


def search_on(lang: str, looked_at: int, num_rows: int) -> str:
    """Return how far a search got, and the button that goes on from there."""
    to = w.esc(json.dumps({"from": str(looked_at), "offset": "0"}))
    return (
        w.note(say(lang, "data.search_cut", n=looked_at, all=num_rows))
        + f'<div class="l-actions"><button type="button" class="l-button" data-one-set="{to}">'
        f"{w.icon('search')}<span>{w.esc(say(lang, 'data.search_on'))}</span></button></div>"
    )


def register_page(lang: str, found: DataSet, entry: Mapping[str, Any], path: str) -> str:
    """Return the entry in dataset_info.json, where the files lie, and how to train by hand."""
    text = json.dumps({found.key: entry}, ensure_ascii=False, indent=2)
    told = say(lang, "data.register.told", key=found.key)
    folder = path.rpartition("/")[0]
    by_hand = f"llamafactory-cli train … dataset={found.key} dataset_dir={folder}"
    facts = [(say(lang, "data.register.file"), str(found.path))]
    if found.origin.get("path"):
        facts.append((say(lang, "data.register.original"), str(found.origin["path"])))
    if found.origin.get("sha256"):
        facts.append(("SHA-256", w.Html(f'<span class="l-mono">{found.origin["sha256"]}</span>')))
    body = f"<p>{w.esc(told)}</p>{w.code(text)}"
    return (
        w.card("dataset_info.json", body)
        + w.card(say(lang, "data.register.files"), w.table(facts))
        + w.card(say(lang, "data.register.by_hand"), w.code(by_hand))
    )


def _tab(lang: str, name: str, on: bool, found: DataSet) -> str:
    count = w.tag(units.number(found.faults), tone="bad") if found.faults else ""
    to = w.esc(json.dumps({"page": name, "offset": "0", "code": ""}))
    return (
        f'<button type="button" role="tab" aria-selected="{str(on).lower()}" data-page="{name}" '
        f'data-one-set="{to}">{w.esc(say(lang, f"data.page.{name}"))}'
        f"{count if name == 'faults' else ''}</button>"
    )


def _versions(lang: str, found: DataSet, versions: Sequence[DataSet]) -> str:
    if len(versions) < 2:
        return "" if found.built_in else w.tag(f"v{found.version}")
    options = ""
    for item in reversed(versions):
        chosen = " selected" if item.version == found.version else ""
        rows = say(lang, "data.rows_n", n=units.number(item.rows))
        options += f'<option value="{item.version}"{chosen}>v{item.version} · {w.esc(rows)}'
        options += "</option>"
    label = w.esc(say(lang, "data.version"))
    return f'<select data-one-version aria-label="{label}">{options}</select>'


def _download(lang: str, found: DataSet) -> str:
    return (
        f'<a class="l-button" download href="ladder/data/file/{w.esc(found.key)}">'
        f"{w.icon('download')}<span>{w.esc(say(lang, 'data.download'))}</span></a>"
    )


def _delete(lang: str, found: DataSet, num_versions: int) -> str:
    if found.built_in:
        return ""
    every = w.action(
        say(lang, "data.delete"),
        "delete",
        found.name,
        icon_name="trash",
        kind="quiet",
        confirm=say(lang, "data.delete_confirm", name=found.name, n=num_versions),
    )
    if num_versions < 2:
        return every
    version = w.action(
        say(lang, "data.delete_version", version=found.version),
        "delete",
        found.key,
        icon_name="trash",
        kind="quiet",
        confirm=say(lang, "data.delete_version_confirm", name=found.name, version=found.version),
    )
    return f"{version}{every}"

"""How long the rows of a data set are in tokens: the form, the run that counts, the histogram.

Counting is done by LLaMA-Factory with the model's own tokenizer and template, as a run of the
engine `llamafactory-lengths`; its result stays with the run and is shown for the version counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.engines.found import local_models
from studio.engines.llamafactory_lengths import lengths
from studio.engines.template_names import templates_for
from studio.engines.templates import TEMPLATES
from studio.envs.catalog import LLAMAFACTORY
from studio.studio import Launch
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.data.view import STAGES, Work, work_line
from studio.ui.i18n import say

if TYPE_CHECKING:
    from studio.data.model import DataSet
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ENGINE = "llamafactory-lengths"
TINY = "assets/models/tiny-qwen2.5"
CUTOFF = 2048
RUNS_LOOKED_AT = 40
REFUSED_SHOWN = 20
NEAR = 1.6
"""A cutoff so many times beyond the longest row is still drawn to scale."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """What was counted, in tokens of the whole row: prompt and answer with the template."""

    bins: Sequence[tuple[int, int, int]]
    """From, up to (without), how many rows."""
    rows: int
    tokens: int
    learned: int
    """Tokens that count for the loss, after cutting."""
    cutoff: int
    cut: int
    """Rows longer than the cutoff."""
    p50: int
    p90: int
    p99: int
    longest: int
    refused: Sequence[tuple[int, str]] = ()
    """Rows that LLaMA-Factory would leave out, and why."""
    num_refused: int = 0


def page(lang: str, studio: Studio, found: DataSet) -> str:
    """Return the count under way, the last one that ended well, and the form."""
    runs = counts_of(studio, found.key)
    last = next((run for run in runs if run.state is State.DONE and lengths(run.dir)), None)
    newest = runs[0] if runs else None
    parts = []
    if newest is not None and newest.state.alive:
        parts.append(work_line(lang, Work(newest, studio.progress(newest.id))))
    elif newest is not None and newest.state is not State.DONE:
        note = w.note(say(lang, "data.lengths.failed"), tone="bad", icon_name="alert")
        parts.append(note + w.chip(lang, newest))
    if last is not None:
        parts.append(result(lang, read(lengths(last.dir) or {}), last))
    models = local_models(ROOT, studio.settings.home)
    asked = form(lang, found, models, newest.spec.config if newest else {})
    if last is None and not _built(studio):
        asked += w.note(say(lang, "data.lengths.no_env"))
    if last is not None:
        title = w.esc(say(lang, "data.lengths.again"))
        asked = (
            f'<details class="l-fold"><summary>{w.icon("refresh")}<span>{title}</span></summary>'
            f"<div>{asked}</div></details>"
        )
    return "".join([*parts, asked])


def counts_of(studio: Studio, key: str) -> list[Run]:
    """Return the runs that counted a version of a data set, newest first."""
    runs = studio.jobs.list(engine=ENGINE, limit=RUNS_LOOKED_AT)
    return [run for run in runs if run.spec.config.get("dataset") == key]


def start(studio: Studio, key: str, settings: dict[str, Any]) -> Run:
    """Count the tokens of a data set in a run; an empty template is that of the model."""
    found = studio.data.get(key)
    studio.data.register()
    given = {name: value for name, value in settings.items() if value not in (None, "")}
    model = str(given.get("model_name_or_path", ""))
    if "template" not in given:
        offered = templates_for(model, ROOT)
        if not offered:
            raise RecipeInvalid(
                f"No template is known for {model}.",
                hint="Choose the template that the training will use.",
            )
        given["template"] = offered[0]
    given |= {"dataset": found.key, "stage": STAGES.get(found.kind, "sft")}
    return studio.launch(
        Launch(
            engine=ENGINE,
            settings=given,
            name=f"lengths-{found.name}",
            title=f"Count the tokens of {found.key}",
        )
    )


def read(told: dict[str, Any]) -> Lengths:
    """Return a run's result as it is drawn."""
    return Lengths(
        bins=[(one["from"], one["to"], one["count"]) for one in told.get("bins", ())],
        rows=told.get("count", 0),
        tokens=told.get("total", 0),
        learned=told.get("label_tokens", 0),
        cutoff=told.get("cutoff_len", CUTOFF),
        cut=told.get("num_cut", 0),
        p50=told.get("p50", 0),
        p90=told.get("p90", 0),
        p99=told.get("p99", 0),
        longest=told.get("max", 0),
        refused=[(row["row"], row["reason"]) for row in told.get("refused", ())],
        num_refused=told.get("refused_count", 0),
    )


def result(lang: str, found: Lengths, run: Run) -> str:
    """Return what a count found, and with which model and template."""
    config = run.spec.config
    counted = say(
        lang,
        "data.lengths.counted",
        model=config["model_name_or_path"],
        template=config["template"],
    )
    head = f'<p class="l-sub">{w.esc(counted)} · {w.when(lang, run.ended_at)}</p>'
    body = told(lang, found) + (histogram(lang, found) if found.rows else "")
    if found.num_refused:
        text = say(lang, "data.lengths.refused", n=units.number(found.num_refused))
        body += w.note(text, tone="bad", icon_name="alert")
        lines = [(f"{row:,}", reason) for row, reason in found.refused[:REFUSED_SHOWN]]
        heads = (say(lang, "data.lengths.row"), say(lang, "data.lengths.reason"))
        body += f'<div class="l-faults">{w.rows(heads, lines)}</div>'
    return f'<section class="l-card">{head}{body}</section>'


def histogram(lang: str, found: Lengths) -> str:
    """Return the counts as bars with the cutoff and the percentiles, and what they mean."""
    widest = max((high for _, high, _ in found.bins), default=1)
    far = found.cutoff > widest * NEAR
    scale = widest if far else max(widest, found.cutoff * 1.06)
    most = max((count for *_, count in found.bins), default=1) or 1
    bars = "".join(_bar(lang, found, one, scale, most) for one in found.bins if one[2])
    lines = "".join(
        f'<div class="l-hist-mark" style="left:{value / scale * 100:.2f}%">'
        f"<span>{name}</span></div>"
        for name, value in _marks(found, scale)
    )
    cutoff = w.esc(say(lang, "data.lengths.cutoff_at", n=f"{found.cutoff:,}"))
    if not far:
        at = found.cutoff / scale * 100
        side = " l-left" if at > 60 else ""
        lines += f'<div class="l-hist-cut{side}" style="left:{at:.2f}%"><span>{cutoff}</span></div>'
    grid = "".join(
        f'<div style="bottom:{count / most * 100:g}%"><span>{units.number(count)}</span></div>'
        for count in dict.fromkeys((0, most // 2, most))
    )
    axis = "".join(
        f'<span style="left:{value / scale * 100:.2f}%">{value:,}</span>' for value in _ticks(scale)
    )
    label = w.esc(say(lang, "data.lengths.label", n=found.rows))
    return (
        f'<figure class="l-hist" role="img" aria-label="{label}"><div class="l-hist-plot">'
        f'<div class="l-hist-grid">{grid}</div><div class="l-hist-bars">{bars}</div>{lines}</div>'
        f'<div class="l-hist-axis">{axis}</div>'
        f"<figcaption>{w.esc(say(lang, 'data.lengths.axis'))}</figcaption></figure>"
    )


def told(lang: str, found: Lengths) -> str:
    """Return the figures and the sentence that says what the cutoff does."""
    figures = [
        (say(lang, "data.lengths.median"), units.number(found.p50)),
        ("p90", units.number(found.p90)),
        ("p99", units.number(found.p99)),
        (say(lang, "data.lengths.longest"), units.number(found.longest)),
        (say(lang, "data.lengths.tokens"), units.number(found.tokens)),
        (say(lang, "data.lengths.learned"), units.number(found.learned)),
    ]
    body = "".join(
        f"<div><span>{w.esc(name)}</span><b>{w.esc(value)}</b></div>" for name, value in figures
    )
    share = found.cut / found.rows if found.rows else 0.0
    values = {
        "cutoff": f"{found.cutoff:,}",
        "n": units.number(found.cut),
        "share": units.percent(share) if share >= 0.01 or not share else "< 1 %",
        "fits": f"{found.p99:,}",
        "longest": f"{found.longest:,}",
    }
    key, tone = ("cut", "warn") if found.cut else ("uncut", "ok")
    note = w.note(
        say(lang, f"data.lengths.{key}", **values),
        tone=tone,
        icon_name="alert" if found.cut else "check",
    )
    return f'<div class="l-figures">{body}</div>{note}'


def form(lang: str, found: DataSet, models: Iterable[str], last: dict[str, Any]) -> str:
    """Return the form that asks for the model, the template and the cutoff."""
    options = "".join(f'<option value="{w.esc(model)}"></option>' for model in models)
    templates = "".join(f'<option value="{name}"></option>' for name in TEMPLATES)
    cutoff = last.get("cutoff_len") or CUTOFF
    return (
        f'<section class="l-card l-op" data-gathered data-op="lengths"><p>'
        f"{w.esc(say(lang, 'data.lengths.text'))}</p>"
        f'<input type="hidden" name="set" value="{w.esc(found.key)}">'
        f'<div class="l-op-fields"><label class="l-wide">{w.esc(say(lang, "data.lengths.model"))}'
        f'<input type="text" name="model_name_or_path" list="data-models" required '
        f'spellcheck="false" value="{w.esc(last.get("model_name_or_path") or TINY)}"></label>'
        f"<label>{w.esc(say(lang, 'data.lengths.template'))}"
        f'<input type="text" name="template" list="data-templates" spellcheck="false" '
        f'placeholder="{w.esc(say(lang, "data.lengths.by_model"))}" '
        f'value="{w.esc(last.get("template") or "")}"></label>'
        f"<label>{w.esc(say(lang, 'data.lengths.cutoff'))}"
        f'<input type="number" name="cutoff_len" min="16" step="1" value="{cutoff}"></label></div>'
        f'<datalist id="data-models">{options}</datalist>'
        f'<datalist id="data-templates">{templates}</datalist>'
        f'<footer><button type="button" class="l-button primary" data-act="lengths" data-gather '
        f'data-value="">{w.icon("chart")}<span>{w.esc(say(lang, "data.lengths.go"))}</span>'
        "</button></footer></section>"
    )


def _built(studio: Studio) -> bool:
    return studio.envs.status(LLAMAFACTORY.name).state.usable


def _bar(lang: str, found: Lengths, one: tuple[int, int, int], scale: float, most: int) -> str:
    low, high, count = one
    cut = ' class="l-cut"' if low >= found.cutoff else ""
    span = f"{low:,}" if high == low + 1 else f"{low:,} – {high - 1:,}"
    title = w.esc(say(lang, "data.lengths.bar", span=span, n=units.number(count)))
    return (
        f'<i{cut} style="left:{low / scale * 100:.2f}%;width:{(high - low) / scale * 100:.2f}%;'
        f'height:{max(1.0, count / most * 100):.1f}%" title="{title}"></i>'
    )


def _marks(found: Lengths, scale: float) -> Iterable[tuple[str, int]]:
    """Yield the percentiles that are far enough from each other to be read."""
    last = -1.0
    for name, value in (("p50", found.p50), ("p90", found.p90), ("p99", found.p99)):
        if value / scale - last >= 0.07:
            last = value / scale
            yield name, value


def _ticks(scale: float) -> list[int]:
    """Return round numbers from 0 up to the end of the axis, about five of them."""
    rough = scale / 5
    step = 1
    while step * 10 <= rough:
        step *= 10
    step *= next((part for part in (1, 2, 5) if step * part >= rough), 10)
    return list(range(0, int(scale) + 1, step))

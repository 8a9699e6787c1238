"""One table: models down, everything known about their quality across, pace beside it.

Figures of comparisons come from their folders, benchmark scores from finished runs of
lm-evaluation-harness, BLEU and ROUGE from LLaMA-Factory's evaluations. What belongs to one model
stands in one row: models are told by the folder, hub id or adapter that was loaded, and by their
name where nobody knows that. Where a figure was measured twice, the newest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from studio.bench.formulas import Z95
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.engines.engine import Figure, resolve_path
from studio.jobs.jobs import Jobs, Run
from studio.quality.summary import Model, Overview
from studio.quality.winrate import WinRate

LM_EVAL, PREDICT = "lm-eval", "llamafactory-predict"
Group = Literal["votes", "judge", "answers", "lm-eval", "predict"]
_SPEED = ("samples_per_second", "runtime")
"""Figures of an evaluation that are about its own pace, not about the model's quality."""
_LOWER = ("loss", "perplexity", "bits_per_byte", "ter")
"""Ends of metrics' names of which less is better."""
_GROUPS: tuple[Group, ...] = ("votes", "judge", "lm-eval", "predict", "answers")


class Cell(NamedTuple):
    """One figure."""

    value: float
    low: float | None = None
    high: float | None = None
    """95 % interval, where there is one."""
    num: int | None = None
    """What it was counted over: votes, judgements, questions."""
    origin: str = ""
    """Folder of results, or run id."""
    part: bool = False
    """True when only some of a benchmark's questions were asked, so it compares with nothing."""


class Column(NamedTuple):
    """What stands in one column."""

    key: str
    """Name of the figure; with its folder in front where two comparisons are in one table."""
    group: Group
    name: str
    """`win_rate`, `score`, `ttft_median_ms`, `tokens_per_s_user`, `task/metric`, `bleu-4`, ..."""
    unit: str
    better: Literal["more", "less", ""]
    results: str = ""
    """Folder of the comparison, for figures of one."""


class Row(NamedTuple):
    """One model."""

    label: str
    source: str
    """What was loaded; empty when nobody knows."""
    cells: dict[str, Cell]
    """By the column's key; a figure that was not measured is not there."""


class Table(NamedTuple):
    """Models down, figures across."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def best(self, key: str) -> str | None:
        """Return the label with the best figure of a column; None where all are equal or alone."""
        column = next(column for column in self.columns if column.key == key)
        cells = {row.label: row.cells[key].value for row in self.rows if key in row.cells}
        if not column.better or len(set(cells.values())) < 2:
            return None
        pick = max if column.better == "more" else min
        return pick(cells, key=lambda label: cells[label])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and a page."""
        return {
            "columns": [column._asdict() for column in self.columns],
            "rows": [
                {**row._asdict(), "cells": {k: cell._asdict() for k, cell in row.cells.items()}}
                for row in self.rows
            ],
        }


class Measured(NamedTuple):
    """A finished evaluation run."""

    run: str
    group: Group
    label: str
    source: str
    """What was evaluated; for a model behind a server, its name there."""
    served: bool
    """True when `source` is only a name on a server."""
    figures: dict[str, Figure]
    part: bool


def measured(jobs: Jobs, figures_of: Callable[[str], dict[str, Figure]]) -> list[Measured]:
    """Return the evaluations that ended well, oldest first."""
    found = []
    for engine in (LM_EVAL, PREDICT):
        for run in jobs.list(engine=engine, states=[State.DONE], limit=1000):
            figures = figures_of(run.id)
            if figures:
                found.append(_measured(run, figures))
    return sorted(found, key=lambda item: item.run)


def table(overviews: Sequence[Overview], evaluations: Iterable[Measured] = ()) -> Table:
    """Put comparisons and evaluations side by side; newest overview first."""
    rows: dict[str, Row] = {}
    columns: dict[str, Column] = {}
    several = len(overviews) > 1
    for overview in reversed(overviews):
        for model in overview.models:
            row = _row(rows, model.label, _whole(model.about.source))
            for column, cell in _cells(overview, model, several):
                columns[column.key] = column
                row.cells[column.key] = cell
    for item in evaluations:
        row = _row(rows, item.label, "" if item.served else item.source)
        for name, figure in item.figures.items():
            if name in _SPEED:
                continue
            key = f"{item.group}:{name}"
            columns[key] = Column(key, item.group, name, "", _better(name))
            reach = None if figure.stderr is None else Z95 * figure.stderr
            row.cells[key] = Cell(
                figure.value,
                low=None if reach is None else figure.value - reach,
                high=None if reach is None else figure.value + reach,
                origin=item.run,
                part=item.part,
            )
    order = sorted(columns.values(), key=lambda column: _GROUPS.index(column.group))
    return Table(tuple(order), tuple(rows.values()))


# inside -----------------------------------------------------------------------------------------


def _cells(overview: Overview, model: Model, several: bool) -> Iterable[tuple[Column, Cell]]:
    """Yield what one comparison says about one of its models."""
    where = overview.name

    def column(group: Group, name: str, unit: str, better: Literal["more", "less"]) -> Column:
        key = f"{group}:{name}"
        return Column(f"{where}/{key}" if several else key, group, name, unit, better, where)

    rates: tuple[tuple[Group, WinRate], ...] = (("votes", model.voted), ("judge", model.judged))
    for group, rate in rates:
        if rate.rate is not None and rate.interval is not None:
            cell = Cell(rate.rate, *rate.interval, rate.num, where)
            yield column(group, "win_rate", "share", "more"), cell
    if model.score:
        low, high = model.score.interval or (None, None)
        cell = Cell(model.score.mean, low, high, model.score.num, where)
        yield column("judge", "score", "", "more"), cell
    if model.ttft_ms is not None:
        cell = Cell(model.ttft_ms, num=model.answered, origin=where)
        yield column("answers", "ttft_median_ms", "ms", "less"), cell
    if model.tokens_per_s is not None:
        cell = Cell(model.tokens_per_s, num=model.answered, origin=where)
        yield column("answers", "tokens_per_s_user", "tok/s", "more"), cell


def _row(rows: dict[str, Row], label: str, source: str) -> Row:
    """Return the row of a model: the one that loaded the same, else the one of its name."""
    for row in rows.values():
        if source and row.source == source:
            return row
        if row.label == label and not (source and row.source):
            return row
    name = label if label not in rows else f"{label} ({source})"
    return rows.setdefault(name, Row(name, source, {}))


def _measured(run: Run, figures: dict[str, Figure]) -> Measured:
    config = run.spec.config
    if run.spec.engine == LM_EVAL:
        served = config.get("model") != "hf"
        loaded = config.get("peft") or config.get("pretrained") or ""
        group, part = "lm-eval", bool(config.get("limit"))
    else:
        served = False
        loaded = config.get("adapter_name_or_path") or config.get("model_name_or_path") or ""
        group, part = "predict", bool(config.get("max_samples"))
    label = loaded.rstrip("/").rpartition("/")[2] or run.spec.name
    source = loaded if served else _whole(loaded)
    return Measured(run.id, group, label, source, served, figures, part)


def _whole(source: str) -> str:
    return resolve_path(source, str(ROOT)).rstrip("/") if source else ""


def _better(name: str) -> Literal["more", "less"]:
    return "less" if name.partition(" ")[0].endswith(_LOWER) else "more"

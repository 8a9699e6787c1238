"""One template for every plot, and the curves of a run. Plotly is loaded when first drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from studio.engines.engine import Point

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SERIES = ("#2f6feb", "#d9822b", "#1a9c6b", "#c4456b", "#7d5bd0", "#5b6b7f")
"""Colours by series, told apart in light, dark and by colour-blind eyes."""

MAX_POINTS = 2000


def curves(points: Iterable[Point], samples: list[dict[str, Any]], *, keep: str) -> Figure | None:
    """Return a run's own curves above its memory; None when there is nothing to draw.

    `keep` names the view: as long as it is the same, a reader's zoom survives an update.
    """
    from plotly.subplots import make_subplots  # 0.5 s and 40 MB, so not at start-up

    series = _series(points)
    names = [*series, *(["memory"] if samples else [])]
    if not names:
        return None
    figure = make_subplots(rows=len(names), cols=1, vertical_spacing=0.5 / max(4, 2 * len(names)))
    for number, name in enumerate(names, 1):
        if name == "memory":
            _memory(figure, samples, number)
            continue
        steps, values = series[name]
        figure.add_scatter(
            x=steps,
            y=values,
            name=name,
            mode="lines",
            line={"width": 2, "color": SERIES[(number - 1) % len(SERIES)]},
            hovertemplate=f"%{{x}}: %{{y:.5g}}<extra>{name}</extra>",
            row=number,
            col=1,
        )
        figure.update_yaxes(title_text=_titled(name), row=number, col=1)
        figure.update_xaxes(title_text="step" if number == len(series) else None, row=number, col=1)
    return dressed(figure, keep=keep, height=200 * len(names) + 60)


def dressed(figure: Figure, *, keep: str, height: int) -> Figure:
    """Put the shared look on a figure: quiet grid, no frame, both themes readable."""
    figure.update_layout(
        uirevision=keep,
        height=height,
        margin={"l": 64, "r": 16, "t": 16, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={
            "family": "system-ui, PingFang SC, Noto Sans SC, Microsoft YaHei",
            "color": "#7a8699",
        },
        hovermode="x unified",
        showlegend=False,
    )
    figure.update_xaxes(gridcolor="rgba(128,140,160,.18)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(128,140,160,.18)", zeroline=False)
    return figure


def _series(points: Iterable[Point]) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {}
    for point in points:
        steps, values = found.setdefault(point.name, ([], []))
        steps.append(point.step)
        values.append(point.value)
    return {name: (_thin(steps), _thin(values)) for name, (steps, values) in found.items()}


def _memory(figure: Figure, samples: list[dict[str, Any]], row: int) -> None:
    samples = _thin(samples)
    begin = samples[0]["at"]
    seconds = [sample["at"] - begin for sample in samples]
    lines = {"RAM": [sample["host_bytes"] / 2**30 for sample in samples]}
    for card in samples[-1].get("gpu_bytes") or {}:
        lines[f"GPU {card}"] = [(s.get("gpu_bytes") or {}).get(card, 0) / 2**30 for s in samples]
    for number, (name, values) in enumerate(lines.items()):
        figure.add_scatter(
            x=seconds,
            y=values,
            name=name,
            mode="lines",
            line={"width": 2, "color": SERIES[(number + 2) % len(SERIES)]},
            hovertemplate=f"%{{y:.3g}} GiB<extra>{name}</extra>",
            row=row,
            col=1,
        )
    figure.update_yaxes(title_text="memory (GiB)", rangemode="tozero", row=row, col=1)
    figure.update_xaxes(title_text="seconds", row=row, col=1)


def _thin(values: list[Any]) -> list[Any]:
    """Keep at most MAX_POINTS values, evenly, and always the last."""
    if len(values) <= MAX_POINTS:
        return values
    step = len(values) / MAX_POINTS
    return [values[int(i * step)] for i in range(MAX_POINTS - 1)] + [values[-1]]


def _titled(name: str) -> str:
    return {"throughput": "tokens/s", "lr": "learning rate"}.get(name, name)

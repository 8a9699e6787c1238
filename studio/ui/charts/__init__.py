"""Charts over measured points. A chart is a function of points, drawn as a plain Plotly figure.

    charts.place("throughput-latency", results=["qwen_20260101-120000"])   HTML for any page
    charts.draw("scaling", points, "zh", base="one-card") -> Drawing       figure, title, table, ...
    charts.CHARTS                                                          every kind, in order

A place keeps itself current while it can be seen; its figure comes from `/ladder/bench/chart`
(`studio.ui.charts.routes`) and is drawn by `assets/js/charts.js`, which loads Plotly when the first
chart comes into sight. Nothing here imports Plotly or Gradio. Without a page,

    charts.save(saved, ["qwen_20260101-120000"], "scaling", Path("x.svg"), "en")

writes SVG, PNG, PDF (by Kaleido, an optional extra), CSV or Plotly's JSON.
"""

from __future__ import annotations

from studio.ui.charts.catalog import CHARTS, Chart, draw, fitting
from studio.ui.charts.drawing import Drawing
from studio.ui.charts.picture import save, write
from studio.ui.charts.place import place

__all__ = ["CHARTS", "Chart", "Drawing", "draw", "fitting", "place", "save", "write"]

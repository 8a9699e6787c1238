"""The Bench tab: load tests, studies, everything that was ever measured, quality beside speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from studio.ui.bench import load as bench_load
from studio.ui.bench import results as bench_results
from studio.ui.bench.scripts import BenchScripts
from studio.ui.i18n import T
from studio.ui.quality import view as quality_view
from studio.ui.routes import Route
from studio.ui.scripts import scripted
from studio.ui.study import view as study_view
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Studio

VIEWS = {
    "load": bench_load,
    "studies": study_view,
    "results": bench_results,
    "quality": quality_view,
}
"""What `?tab=bench&view=` may say, in the order of the tabs inside."""


def build(studio: Studio) -> None:
    """Lay out the four views, each built when it is first seen, and what scripts may call."""
    with gr.Tabs(elem_id="bench-views"):
        for name, view in VIEWS.items():
            with gr.Tab(T(f"bench.view.{name}"), id=name, elem_id=f"bench-view-{name}"):
                view.build(studio)
    do = BenchScripts(studio)
    scripted(do.bench_launch, do.bench_plan, do.bench_points, do.bench_compare, do.bench_verdict)


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the views look at again and again."""
    return [route for view in VIEWS.values() for route in view.routes(studio)]


def ahead(studio: Studio) -> None:
    """Read every point, which takes a while when there are ten thousand."""
    studio.saved.folders()


TAB = Tab(id="bench", icon="bench", order=50, build=build, routes=routes, ahead=ahead)

"""What scripts may ask of the Bench tab: a load test, its plan, points, a comparison, a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.loadtest import load_ask
from studio.ui import measures
from studio.ui.bench.comparison import compared, groups_of, plain
from studio.ui.bench.plan import LoadPlans
from studio.ui.bench.table import Asked, Tables
from studio.ui.bench.verdict import said_of
from studio.ui.door.gate import require_operator

if TYPE_CHECKING:
    from studio.launch import Launch
    from studio.studio import Studio

MOST_POINTS = 10_000


class BenchScripts:
    """Handlers with an API name; operators alone may call them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def bench_launch(
        self, endpoint: str, settings: dict[str, Any], tool: str, request: gr.Request
    ) -> str:
        """Load an endpoint (its id, or a URL) and return the run's id; `tool` may be empty."""
        require_operator(request)
        return self._studio.launch(self._ask(endpoint, settings, tool)).id

    def bench_plan(
        self, endpoint: str, settings: dict[str, Any], tool: str, request: gr.Request
    ) -> dict[str, Any]:
        """Return the points and requests of a load test and how long it may take."""
        require_operator(request)
        return LoadPlans(self._studio).of(self._ask(endpoint, settings, tool)).as_dict()

    def bench_points(
        self, filters: dict[str, Any], offset: int, limit: int, request: gr.Request
    ) -> dict[str, Any]:
        """Return saved points that fit: `find`, `model`, `server`, `study`, `engine`, `status`,
        `kind`, `results`, `since` and `until` (unix seconds), `sort`, `desc`."""
        require_operator(request)
        query = {name: str(value) for name, value in filters.items()}
        asked = Asked.read({"desc": "1", **query, "by": "points"})
        found = Tables(self._studio).points(asked)
        page = found[max(0, int(offset)) :][: min(MOST_POINTS, max(1, int(limit)))]
        rows = [{**point.model_dump(mode="json"), "results": point.results} for point in page]
        return {"total": len(found), "points": rows}

    def bench_compare(self, of: list[str], request: gr.Request) -> dict[str, Any]:
        """Compare folders of results, or points as `folder/id`; the first is the base."""
        require_operator(request)
        groups = groups_of(self._studio, "en", of)
        return plain(compared(groups, next(iter(groups), "")))

    def bench_verdict(self, name: str, request: gr.Request) -> dict[str, Any]:
        """Return what a folder of results comes to: sentences, and a study's verdict."""
        require_operator(request)
        results = self._studio.saved.get(name)
        said = said_of(results, results.points)
        return {
            "name": results.name,
            "said": [one.as_dict() for one in said],
            "words": measures.sentences("en", said),
            "study": results.verdict,
        }

    def _ask(self, endpoint: str, settings: dict[str, Any], tool: str) -> Launch:
        return load_ask(self._studio, endpoint, settings, tool=tool or "vllm-bench")

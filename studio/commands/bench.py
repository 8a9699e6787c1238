"""The `bench` commands: load tests, and everything that was measured, in tables and words."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import typer

from studio.bench.compare import compare, group_by
from studio.bench.point import Point
from studio.bench.said import Said
from studio.bench.saved import Results
from studio.bench.verdict import verdict
from studio.commands.bench_papers import Lang, Name, chart, journal, language, report
from studio.commands.terminal import (
    Detach,
    Home,
    Json,
    follow_run,
    open_studio,
    print_json,
    print_table,
)
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import did_you_mean, parse_overrides
from studio.core.spec import State
from studio.launch import Launch
from studio.loadtest import load_ask, resume_ask
from studio.studio import Studio
from studio.ui import measures, units
from studio.ui.measure_tables import comparison_table, points_table

bench_app = typer.Typer(help="Load tests and what they measured: tables, verdicts, charts, papers.")
bench_app.command("chart")(chart)
bench_app.command("report")(report)
bench_app.command("journal")(journal)

Kind = Annotated[
    Literal["load", "study", "quality"] | None, typer.Option(help="Only results of this kind.")
]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Figure; repeatable.")]


@bench_app.command("ls")
def bench_ls(
    kind: Kind = None,
    text: Annotated[str, typer.Option("--find", help="Words of name, title or model.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the folders of results, newest first."""
    found = [item for item in open_studio(home).saved.folders() if _matches(item, kind, text)]
    found = found[:limit]
    if as_json:
        print_json([item.summary() for item in found])
        return
    rows = [
        (
            item.name,
            item.about.kind,
            f"{item.num_points - item.num_failed} of {item.num_points}",
            ", ".join(item.models)[:40],
            units.ago("en", item.ended_at or None),
            item.title("en") if item.about.title else "",
        )
        for item in found
    ]
    print_table(("name", "kind", "done", "model", "measured", ""), rows)


@bench_app.command("show")
def bench_show(name: Name, home: Home = None, lang: Lang = None, as_json: Json = False) -> None:
    """Print a folder of results: what was measured, how to do it again, every point."""
    studio = open_studio(home, lang=lang)
    whole = studio.saved.family(name)
    points = [point for item in whole for point in item.points]
    if as_json:
        rows = [_plain(point) for point in points]
        print_json({**whole[0].summary(), "points": rows, "parts": [i.name for i in whole[1:]]})
        return
    for key, value in _facts(whole[0]):
        print(f"{key:<10} {value}")
    print()
    print_table(*points_table(language(studio), points))


@bench_app.command("points")
def bench_points(
    names: Annotated[list[str] | None, typer.Argument(help="Folders of results.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    server: Annotated[str | None, typer.Option(help="Only this server.")] = None,
    study: Annotated[str | None, typer.Option(help="Only this study, by its folder.")] = None,
    case: Annotated[str | None, typer.Option(help="Only this case.")] = None,
    kind: Kind = None,
    text: Annotated[str, typer.Option("--find", help="Words that all occur.")] = "",
    metric: Metrics = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every figure, as CSV.")] = False,
    home: Home = None,
    lang: Lang = None,
    as_json: Json = False,
) -> None:
    """Print measured points of all folders, filtered."""
    studio = open_studio(home, lang=lang)
    saved = studio.saved
    found = saved.points(
        results=[item.name for name in names for item in saved.family(name)] if names else None,
        model=model,
        server=server,
        study=study,
        case=case,
        kind=kind,
        text=text,
    )
    if as_json:
        print_json([_plain(point) for point in found])
    elif as_csv:
        _write_csv(found)
    else:
        print_table(*points_table(language(studio), found, _known(found, metric)))


@bench_app.command("compare")
def bench_compare(
    what: Annotated[
        list[str],
        typer.Argument(
            help="Folders, or FOLDER:CASE; the first is the base. One study: its cases."
        ),
    ],
    metric: Metrics = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Condition that must agree; repeatable.")
    ] = None,
    home: Home = None,
    lang: Lang = None,
    as_json: Json = False,
) -> None:
    """Compare results: differences with their 95 % interval, and what may be said about them."""
    studio = open_studio(home, lang=lang)
    groups = _groups(studio, what)
    if len(groups) < 2:
        raise RecipeInvalid(
            "A comparison needs two groups of points.",
            hint="Name two folders, or a study that has cases.",
        )
    chosen = _known([point for points in groups.values() for point in points], metric)
    found = compare(groups, metrics=chosen or None, by=by or None)
    told = measures.sentences(language(studio), found.said())
    if as_json:
        print_json({**found.as_dict(), "sentences": told})
        return
    if found.rows:
        print_table(*comparison_table(language(studio), found))
        print()
    print("\n".join(told))


@bench_app.command("verdict")
def bench_verdict(
    name: Name,
    limits: Annotated[
        list[str] | None, typer.Argument(help="ttft_ms=500 tpot_ms=50 e2el_ms=2000.")
    ] = None,
    home: Home = None,
    lang: Lang = None,
    as_json: Json = False,
) -> None:
    """Say in sentences what a load test showed: users it bears, where it stops growing, and why."""
    studio = open_studio(home, lang=lang)
    told = _verdict(studio, name, _limits(limits or []))
    sentences = measures.sentences(language(studio), told)
    if as_json:
        print_json({"said": [one.as_dict() for one in told], "sentences": sentences})
    else:
        print("\n".join(sentences))


@bench_app.command("rm")
def bench_rm(
    names: Annotated[list[str], typer.Argument(help="Folders of results, by whole names.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Delete folders of results."""
    saved = open_studio(home).saved
    found = [saved.get(name) for name in names]
    if not yes:
        for item in found:
            print(f"{item.name}: {item.num_points} points")
        typer.confirm("Delete them?", abort=True)
    for name in names:
        saved.delete(name)


@bench_app.command("run")
def bench_run(
    endpoint: Annotated[str, typer.Argument(help="Endpoint, by name, id or run; or a URL.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value: concurrency=[1,8,64] repeats=3 ...")
    ] = None,
    tool: Annotated[str, typer.Option(help="vllm-bench or guidellm.")] = "vllm-bench",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command only.")] = False,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Load an endpoint over a grid of lengths and users; every point is kept when it is done."""
    studio = open_studio(home)
    ask = load_ask(studio, endpoint, parse_overrides(settings or []), tool=tool)
    if dry_run:
        print(studio.preview_script(ask), end="")
        return
    _launch(studio, ask, detach, as_json)


@bench_app.command("resume")
def bench_resume(
    name: Name, detach: Detach = False, home: Home = None, as_json: Json = False
) -> None:
    """Go on with a load test that was stopped: points that are done are kept."""
    studio = open_studio(home)
    _launch(studio, resume_ask(studio, studio.saved.get(name).name), detach, as_json)


def _launch(studio: Studio, ask: Launch, detach: bool, as_json: bool) -> None:
    """Submit a load test, follow it, and say at its end what it showed."""
    run = studio.launch(ask)
    if not as_json:
        print(f"run {run.id} {run.spec.name}", flush=True)
    if not detach:
        run = follow_run(studio, run.id, quiet=as_json)
    results = next((i.name for i in studio.saved.folders() if i.about.run == run.id), "")
    if as_json:
        print_json({**run.summary(), "results": results})
    elif results and not detach:
        print(f"\nresults {results}")
        print("\n".join(measures.sentences(language(studio), _verdict(studio, results, None))))
    if run.state in (State.FAILED, State.LOST):
        raise typer.Exit(1)


# what a command is about -----------------------------------------------------------------------


def _verdict(studio: Studio, name: str, limits: dict[str, float] | None) -> list[Said]:
    whole = studio.saved.family(name)
    points = [point for item in whole for point in item.points]
    server = next((item.about.server for item in whole if item.about.server), None)
    return verdict(points, slo=limits, server=server)


def _groups(studio: Studio, what: Sequence[str]) -> dict[str, list[Point]]:
    """Return the groups that words name: folders, cases of folders, or all cases of one study."""
    groups: dict[str, list[Point]] = {}
    for word in what:
        name, _, case = word.partition(":")
        points = [point for item in studio.saved.family(name) for point in item.points]
        if case:
            chosen = [point for point in points if point.case == case]
            if not chosen:
                cases = sorted({point.case for point in points if point.case})
                raise NotFound(
                    f"{name} has no case {case}.",
                    hint=did_you_mean(case, cases) or f"Cases: {', '.join(cases) or 'none'}.",
                )
            groups[word] = chosen
        elif len(what) == 1:
            groups.update(group_by(points, "case"))
        else:
            groups[word] = points
    return groups


def _limits(words: list[str]) -> dict[str, float] | None:
    limits = parse_overrides(words)
    known = ("ttft_ms", "tpot_ms", "e2el_ms")
    for name, value in limits.items():
        if name not in known or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise RecipeInvalid(
                f"{name}={value} is no limit.", hint="Limits: ttft_ms, tpot_ms, e2el_ms, above 0."
            )
    return limits or None


def _known(points: Iterable[Point], metrics: Sequence[str] | None) -> tuple[str, ...]:
    """Return the figures asked for; raise NotFound for one that no point has."""
    names = sorted({name for point in points for name in point.figures})
    for name in metrics or ():
        if name not in names:
            raise NotFound(
                f"No point has the figure {name}.",
                hint=did_you_mean(name, names) or "`bench points --csv` prints every figure.",
            )
    return tuple(metrics or ())


def _matches(item: Results, kind: str | None, text: str) -> bool:
    told = " ".join((item.name, *(item.about.title or {}).values(), *item.models)).lower()
    return kind in (None, item.about.kind) and all(t in told for t in text.lower().split())


def _facts(item: Results) -> list[tuple[str, str]]:
    about, place = item.about, item.about.environment
    server = about.server or {}
    told = {
        "name": item.name,
        "title": item.title("en") if about.title else "",
        "kind": about.kind,
        "model": about.model,
        "server": f"{server.get('engine', '')} {server.get('version', '')}".strip(),
        "run": about.run,
        "machine": " · ".join(str(place[key]) for key in ("cpu", "os") if place.get(key)),
        "cards": ", ".join(map(str, place.get("cards") or ())),
        "points": f"{item.num_points - item.num_failed} of {item.num_points} done",
        "measured": units.exact(item.ended_at or None),
        "again": about.command,
        "folder": str(item.folder),
    }
    return [(key, value) for key, value in told.items() if value]


def _plain(point: Point) -> dict[str, Any]:
    return {"results": point.results, **point.model_dump(mode="json")}


def _write_csv(points: Sequence[Point]) -> None:
    """Print a row for every point: fields, conditions, figures, each in a column of its name."""
    fields = ("results", "id", "at", "status", "engine", "version", "model", "server", "cards")
    fields += ("card_name", "study", "case", "repeat", "seed", "error")
    conditions = list(dict.fromkeys(name for point in points for name in point.condition))
    figures = list(dict.fromkeys(name for point in points for name in point.figures))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*fields, *conditions, *figures])
    for point in points:
        own = [getattr(point, name) for name in fields]
        own += [point.condition.get(name) for name in conditions]
        writer.writerow([*own, *(point.figures.get(name) for name in figures)])

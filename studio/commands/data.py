"""The `data` commands: look at data files, import them, change data sets, count their tokens."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.terminal import Home, Json, follow_run, open_studio, print_json, print_table
from studio.core.errors import RecipeInvalid
from studio.core.recipes import parse_overrides
from studio.core.spec import State
from studio.data import work
from studio.data.model import DataSet, Fault, Report
from studio.data.operations import operation
from studio.engines.llamafactory_lengths import lengths as lengths_of
from studio.studio import Launch, Studio
from studio.ui.i18n import say

data_app = typer.Typer(help="Data sets: import, check, change, register for training.")

Name = Annotated[str, typer.Argument(help="Data set, or name.vN for one of its versions.")]
File = Annotated[Path, typer.Argument(help="JSON, JSON Lines, CSV, TSV or Parquet.")]
Map = Annotated[
    list[str] | None, typer.Option("--map", help="column=role, such as Question=prompt; repeats.")
]
AsName = Annotated[str, typer.Option("--as", help="Name of the result.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Do not wait for a big file.")]


@data_app.command("ls")
def data_ls(home: Home = None, as_json: Json = False) -> None:
    """List the data sets, and the samples that come with the studio."""
    found = open_studio(home).data.list()
    if as_json:
        print_json([data.as_dict() for data in found])
        return
    rows = [(d.name, d.version or "", d.kind, d.rows, d.pictures or "", d.path) for d in found]
    print_table(("name", "version", "kind", "rows", "pictures", "file"), rows)


@data_app.command("check")
def data_check(
    path: File,
    mapping: Map = None,
    limit: Annotated[int, typer.Option("-n", help="Faults printed at most.")] = 50,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read a whole file and name every fault with its line; nothing is imported."""
    report = open_studio(home).data.check(path, _mapping(mapping))
    if as_json:
        print_json({**report.as_dict(), "faults": [_told(f) for f in report.faults[:limit]]})
    else:
        _print_report(report, limit)
    if report.refused or not report.good:
        raise typer.Exit(1)


@data_app.command("add")
def data_add(
    path: File,
    name: Annotated[str, typer.Argument(help="Name of the data set; else that of the file.")] = "",
    mapping: Map = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep a copy of the file and of pictures beside it.")
    ] = False,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Import a file: its good rows become version 1, the file itself stays as it is."""
    studio = open_studio(home)
    asked = work.adding(path, name or path.stem, _mapping(mapping), upload=copy)
    _do(studio, asked, small=work.is_small(path), detach=detach, as_json=as_json)


@data_app.command("show")
def data_show(
    name: Name,
    offset: Annotated[int, typer.Option(help="Rows to skip.")] = 0,
    limit: Annotated[int, typer.Option("-n", help="Rows to print.")] = 5,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print what is known about a data set, its versions and some of its rows."""
    data = open_studio(home).data
    found, rows = data.get(name), data.rows(name, offset, limit)
    versions = data.versions(name)
    if as_json:
        known = {**found.as_dict(), "versions": [v.key for v in versions]}
        print_json({**known, "sample": rows})
        return
    for key, value in found.as_dict().items():
        print(f"{key:<11} {value}")
    print(f"{'versions':<11} {' '.join(version.key for version in versions)}")
    print_json(rows)


@data_app.command("apply")
def data_apply(
    name: Name,
    op: Annotated[str, typer.Argument(help="deduplicate, filter, sample or convert.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as min_chars=5.")] = None,
    as_name: AsName = "",
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make the next version of a data set; earlier ones stay."""
    studio = open_studio(home)
    data = studio.data.get(name)
    asked = work.applying(name, operation(op, parse_overrides(settings or [])), as_name=as_name)
    _do(studio, asked, small=work.is_small(data.path), detach=detach, as_json=as_json)


@data_app.command("split")
def data_split(
    name: Name,
    val: Annotated[float, typer.Option(help="Share held out, or a number of rows.")] = 0.1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 42,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make two data sets of one, to train and to evaluate with."""
    studio = open_studio(home)
    data = studio.data.get(name)
    asked = work.applying(name, operation("split", {"val": val, "seed": seed}))
    _do(studio, asked, small=work.is_small(data.path), detach=detach, as_json=as_json)


@data_app.command("merge")
def data_merge(
    names: Annotated[list[str], typer.Argument(help="Data sets of one kind.")],
    as_name: AsName,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Put data sets together as a new one."""
    studio = open_studio(home)
    small = all(work.is_small(studio.data.get(name).path) for name in names)
    _do(studio, work.merging(names, as_name), small=small, detach=detach, as_json=as_json)


@data_app.command("rm")
def data_rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Delete a data set with all versions, or one version of several."""
    data = open_studio(home).data
    found = data.get(name)
    if not yes:
        typer.confirm(f"Delete {name} ({found.rows} rows)?", abort=True)
    data.delete(name)
    print(f"deleted {name}")


@data_app.command("lengths")
def data_lengths(
    names: Annotated[str, typer.Argument(help="Data sets, separated by commas.")],
    model: Annotated[str, typer.Option(help="Model whose tokenizer is used.")],
    template: Annotated[str, typer.Option(help="LLaMA-Factory's template, such as qwen.")],
    cutoff_len: Annotated[int, typer.Option(help="Length limit of the training.")] = 2048,
    stage: Annotated[str, typer.Option(help="pt, sft, rm, dpo or kto.")] = "sft",
    max_samples: Annotated[int | None, typer.Option(help="Count only so many.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Count the tokens of every sample with LLaMA-Factory's own code, as a run."""
    studio = open_studio(home)
    studio.data.register()
    settings: dict[str, Any] = {
        "model_name_or_path": model,
        "template": template,
        "dataset": names,
        "cutoff_len": cutoff_len,
        "stage": stage,
        "max_samples": max_samples,
    }
    run = studio.launch(Launch(engine="llamafactory-lengths", settings=settings))
    run = follow_run(studio, run.id, quiet=as_json)
    figures = lengths_of(run.dir)
    if run.state is not State.DONE or figures is None:
        raise typer.Exit(1)
    if as_json:
        print_json({"run": run.id, **figures})
        return
    told = ("count", "mean", "p50", "p90", "p99", "max", "share_cut", "refused_count")
    print_table(("", ""), [(key, figures[key]) for key in told])
    most = max((item["count"] for item in figures["bins"]), default=1)
    for item in figures["bins"]:
        bar = "█" * round(40 * item["count"] / most)
        print(f"{item['from']:>7}-{item['to'] - 1:<7} {item['count']:>8} {bar}")


# below: helpers ---------------------------------------------------------------------------------


def _do(studio: Studio, asked: dict[str, Any], *, small: bool, detach: bool, as_json: bool) -> None:
    """Work on small files at once and on big ones as a run, and say what was made."""
    if small:
        _made(work.do(studio.data, asked), as_json)
        return
    run = studio.launch(Launch(engine="data-work", settings=asked, name=f"data-{asked['verb']}"))
    if not as_json:
        print(f"run {run.id} {run.spec.name}", flush=True)
    if not detach:
        run = follow_run(studio, run.id, quiet=as_json)
    if as_json:
        print_json(run.summary())
    if run.state in (State.FAILED, State.LOST):
        raise typer.Exit(1)


def _made(sets: list[DataSet], as_json: bool) -> None:
    if as_json:
        print_json([data.as_dict() for data in sets])
        return
    for data in sets:
        left = f", {data.faults} records left out" if data.faults else ""
        print(f"{data.key}: {data.rows} rows, {data.kind}{left}")


def _mapping(pairs: list[str] | None) -> dict[str, str] | None:
    mapping = {}
    for pair in pairs or []:
        column, equals, role = pair.rpartition("=")
        if not equals:
            raise RecipeInvalid(
                f"{pair} is not of the form column=role.", hint="Example: Question=prompt"
            )
        mapping[column] = role
    return mapping or None


def _print_report(report: Report, limit: int) -> None:
    print(f"{report.format} {report.encoding} {report.kind or 'unknown kind'}".replace("  ", " "))
    print(f"{report.read} records, {report.good} good, {report.refused} left out")
    for column, role in report.mapping.items():
        print(f"  {column} -> {role}")
    if report.unused:
        print(f"  not used: {', '.join(report.unused)}")
    for code, count in report.repaired.items():
        print(f"  {say('en', f'data.repair.{code}')}: {count}")
    for fault in report.faults[:limit]:
        print(f"line {fault.line}: {_sentence(fault)}")
    more = sum(report.counts.values()) - min(limit, len(report.faults))
    if more > 0:
        print(f"... and {more} more")


def _sentence(fault: Fault) -> str:
    return say("en", f"data.fault.{fault.code}", **fault.values)


def _told(fault: Fault) -> dict[str, Any]:
    return {**asdict(fault), "sentence": _sentence(fault)}

"""The command line: the page by default, and the same verbs as the page for scripts."""

from __future__ import annotations

import shlex
import sys
import time
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from studio import __version__
from studio.commands.admin import accounts_app, envs_app
from studio.commands.bench import bench_app
from studio.commands.data import data_app
from studio.commands.explain import explain_run, relaunch
from studio.commands.export import export
from studio.commands.image import image_app
from studio.commands.lora import lora_app
from studio.commands.quality import quality_app
from studio.commands.replicas import replicas, stop_whole_group
from studio.commands.study import smoke, study_app
from studio.commands.terminal import (
    Detach,
    Home,
    Json,
    WaitReady,
    asked,
    follow_run,
    open_studio,
    print_json,
    print_table,
    see_through,
)
from studio.commands.train import train_app
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.spec import State
from studio.jobs.logs import last_lines
from studio.studio import Launch, Studio


class _PageByDefault(TyperGroup):
    """Runs `ui` when the first word is an option or nothing, so `app.py --tab chat` works."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command."""
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            args = ["ui", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_PageByDefault,
    add_completion=False,
    no_args_is_help=False,
    help="Ladder Studio: smoke first, then scale. Without a command, opens the page.",
    pretty_exceptions_enable=False,
)
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")
app.add_typer(envs_app, name="envs")
app.add_typer(image_app, name="image")
app.add_typer(quality_app, name="quality")
app.add_typer(accounts_app, name="accounts")
app.add_typer(lora_app, name="lora")
app.add_typer(train_app, name="train")
app.add_typer(study_app, name="study")
app.command()(smoke)
app.command()(replicas)
app.command()(export)
app.command("explain")(explain_run)
app.command()(relaunch)

RunId = Annotated[str, typer.Argument(help="Run id, or enough of its beginning.")]


def main() -> None:
    """Run the command line; a StudioError is one sentence and its own exit code."""
    try:
        app()
    except StudioError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def ui(
    tab: Annotated[str | None, typer.Option("--tab", help="Only this tab and its API.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; a busy one moves on.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Public link for a demo.")] = False,
    auth: Annotated[
        list[str] | None, typer.Option(help="user:password of an operator; may be repeated.")
    ] = None,
    lang: Annotated[str | None, typer.Option(help="auto, en or zh.")] = None,
    home: Home = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open a browser window.")
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option(help="Another name the page is reached by; repeatable.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let the whole network in without a password.")
    ] = False,
) -> None:
    """Open the page (default)."""
    from studio.ui.page.serve import serve  # the page's modules; no other command needs them

    serve(
        open_studio(home, host=host, port=port, lang=lang),
        only=tab,
        share=share,
        operators=auth or [],
        open_browser=not no_browser,
        trust_network=no_auth,
        hosts=host_name or [],
    )


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="Recipe name (vllm/smoke), file, or engine id.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as in the YAML.")] = None,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "",
    cards: Annotated[
        str | None, typer.Option(help="How many idle cards (2), or which (=6,7).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command only.")] = False,
    detach: Detach = False,
    wait_ready: WaitReady = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Launch a recipe; follows the log until it ends (Ctrl-C leaves it running)."""
    studio = open_studio(home)
    ask = asked(studio, recipe, settings or [], name, cards)
    if dry_run:
        _print_preview(studio, ask, as_json)
        return
    launched = studio.launch(ask)
    see_through(studio, launched, detach=detach, wait_ready=wait_ready, as_json=as_json)


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="Recipe name, file, or engine id.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as in the YAML.")] = None,
    cards: Annotated[str | None, typer.Option(help="How many idle cards, or which.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print what is known before a launch: command, cards, environment, disk."""
    studio = open_studio(home)
    ask = asked(studio, recipe, settings or [], "", cards)
    known = studio.plan(ask)
    if as_json:
        print_json(known)
        return
    plans = (known.pop(kind, None) for kind in ("serving", "training", "imaging"))
    planned = next((plan for plan in [*plans] if plan), None)
    for key, value in known.items():
        print(f"{key:<14} {value if not isinstance(value, list) else ' '.join(map(str, value))}")
    if planned is not None:
        _print_plan(planned)


def _print_plan(kept: dict[str, Any]) -> None:
    from studio.planner.image_result import ImagePlan
    from studio.planner.measured import as_plan
    from studio.planner.result import ServingPlan
    from studio.ui.image import table as image_table  # words and figures; nothing of Gradio
    from studio.ui.plan import view as planview  # words and figures; nothing of Gradio
    from studio.ui.train import plan as trainplan  # words and figures; nothing of Gradio

    print()
    plan = as_plan(kept)
    if plan is None:
        print(kept["unknown"])
    elif isinstance(plan, ServingPlan):
        print("\n".join(planview.plan_text("en", plan)))
    elif isinstance(plan, ImagePlan):
        print("\n".join(image_table.plan_text("en", plan)))
    else:
        print("\n".join(trainplan.plan_text("en", plan)))


@app.command("ls")
def list_runs(
    state: Annotated[list[str] | None, typer.Option(help="Only this state; repeatable.")] = None,
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
    text: Annotated[str, typer.Option("--find", help="A word of name, id or recipe.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    known = [str(item) for item in State]
    for item in state or []:
        if item not in known:
            raise RecipeInvalid(f"{item!r} is no state.", hint=f"States: {', '.join(known)}.")
    states = [State(item) for item in state or []]
    runs = open_studio(home).jobs.list(limit=limit, states=states, engine=engine, text=text)
    if as_json:
        print_json([found.summary() for found in runs])
        return
    rows = [
        (r.id, str(r.state), r.spec.name, r.spec.engine, _clock(r.spec.created_at), r.reason[:60])
        for r in runs
    ]
    print_table(("id", "state", "name", "engine", "created", ""), rows)


@app.command()
def show(run_id: RunId, home: Home = None) -> None:
    """Print everything known about one run, as JSON."""
    studio = open_studio(home)
    found = studio.jobs.get(run_id)
    told = {**found.summary(), "spec": found.spec.model_dump(mode="json"), "result": found.result}
    figures = {name: figure._asdict() for name, figure in studio.results(run_id).items()}
    print_json({**told, "figures": figures} if figures else told)


@app.command()
def logs(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it ends.")] = False,
    lines: Annotated[int, typer.Option("-n", help="Last lines; 0 prints all.")] = 100,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print a run's log."""
    studio = open_studio(home)
    found = studio.jobs.get(run_id)
    if as_json:
        print_json({"id": found.id, "lines": last_lines(found.dir.log, lines or 10**9)})
    elif follow:
        follow_run(studio, found.id)
    elif lines:
        print("\n".join(last_lines(found.dir.log, lines)))
    else:
        with open(found.dir.log, errors="replace") as file:
            for line in file:
                sys.stdout.write(line)


@app.command()
def stop(
    run_id: Annotated[str, typer.Argument(help="Run id, or enough of its beginning.")] = "",
    group: Annotated[str, typer.Option(help="Stop every run of this group instead.")] = "",
    now: Annotated[bool, typer.Option("--now", help="Skip the polite rungs.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Stop a run, or a group of runs, and wait until it is gone."""
    studio = open_studio(home)
    if bool(run_id) == bool(group):
        raise RecipeInvalid("Name a run to stop, or a group with --group.")
    if group:
        stop_whole_group(studio, group, now=now, as_json=as_json)
        return
    jobs = studio.jobs
    found, told = jobs.stop(run_id, now=now), 0
    while True:
        alive = found.state.alive
        rungs = [row for row in found.dir.events() if row["phase"] == "stopping"]
        for rung in rungs[told:] if not as_json else []:
            left = max(0.0, rung["until"] - time.time())
            print(f"{rung['rung']}/{rung['of']} {rung['signal']} {rung['label']} ({left:.0f} s)")
        told = len(rungs)
        if not alive:
            break
        time.sleep(0.1)
        found = jobs.get(found.id)
    if as_json:
        print_json(found.summary())
    else:
        print(f"run {found.id} {found.state}")
    if (found.result or {}).get("survivors"):
        raise typer.Exit(1)


@app.command()
def rm(
    run_id: RunId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Delete an ended run and its folder."""
    jobs = open_studio(home).jobs
    found = jobs.get(run_id)
    if not yes:
        typer.confirm(f"Delete {found.dir.folder} with everything in it?", abort=True)
    jobs.delete(found.id)
    print(f"deleted {found.id}")


@app.command()
def recipes(
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the recipes."""
    found = open_studio(home).recipes.list(engine)
    if as_json:
        print_json([{"name": r.name, **r.model_dump(mode="json")} for r in found])
        return
    print_table(("name", "engine", "what it does"), [(r.name, r.engine, r.about.en) for r in found])


@app.command()
def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look for what will go wrong, with the fix for each finding."""
    from studio.telemetry.doctor import check  # reads NVML, which no other command needs

    studio = open_studio(home)
    findings = check(studio)
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            print(finding.as_line())
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


# below: helpers ---------------------------------------------------------------------------------


def _print_preview(studio: Studio, ask: Launch, as_json: bool) -> None:
    if as_json:
        print_json(studio.preview(ask).model_dump(mode="json"))
        return
    spec = studio.preview(ask)
    for file, text in spec.command.files.items():
        print(f"# {file}\n" + "".join(f"#   {line}\n" for line in text.splitlines()), end="")
    for key, value in spec.command.env.items():
        print(f"{key}={shlex.quote(value)} \\")
    print(shlex.join(spec.command.argv))


def _clock(at: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at))

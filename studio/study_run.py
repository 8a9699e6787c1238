"""The process of a study's run: `python -m studio.study_run study.json --home HOME`.

Runs in the run's folder, as `studio.engines.study` starts it. Ends with 0 when every case was
measured or cannot be here, 1 when a case failed, 130 when it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from studio.commands.terminal import open_studio
from studio.core.errors import NotFound, RecipeInvalid, StudioError
from studio.engines.study_config import StudyConfig
from studio.studies import studies
from studio.studies.record import Phase
from studio.studies.runner import Runner
from studio.studio import Studio

EXIT = {Phase.DONE: 0, Phase.FAILED: 1, Phase.STOPPED: 130}


def main() -> int:
    """Run the study and write what it came to; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    studio = open_studio(given.home)
    try:
        _, config = studio.validate(studies.ENGINE, json.loads(given.study.read_text()))
        assert isinstance(config, StudyConfig)
        runner = Runner(studio, config, _asked(studio, config), Path.cwd(), _tell)
    except StudioError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        return error.exit_code
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.halt())
    phase = runner.run()
    conclude(studio, runner.record.name)
    return EXIT[phase]


def conclude(studio: Studio, name: str) -> None:
    """Write `verdict.json`, `journal.md` and `report.html`; what cannot be written is told."""
    folder = studio.saved.get(name).folder
    for verdict in studies.conclude(studio, name):
        _tell(_line(verdict.model_dump(mode="json")))
    for write in (_journal, _report):
        try:
            write(studio, folder)
        except Exception as error:  # the rows are safe; a page must not lose them
            told = error.message if isinstance(error, StudioError) else repr(error)
            what = write.__name__.strip("_")
            _tell(f"The {what} was not written: {told} Try `study {what} {name}`.")


def _asked(studio: Studio, config: StudyConfig) -> dict[str, Any]:
    """Return what the record keeps of the launch: the recipe's words and the command."""
    spec = json.loads(Path("spec.json").read_text())
    asked = {
        "run": spec["id"],
        "name": spec["name"],
        "recipe": spec["recipe"],
        "title": {"en": spec["title"], "zh": spec["title"]},
        "about": None,
        "command": f"python app.py run {spec['recipe'] or 'study'}",
    }
    if not spec["recipe"]:
        return asked
    try:
        found = studies.recipe(studio, spec["recipe"])
    except (NotFound, RecipeInvalid):
        return asked
    told = {"title": found.title.model_dump(), "about": found.about.model_dump()}
    return {**asked, **told, "command": _command(found.name, found.settings, config)}


def _command(name: str, shipped: dict[str, Any], config: StudyConfig) -> str:
    """Return the shell line that runs the same study again."""
    now = config.model_dump(mode="json")
    plain = StudyConfig.model_validate(shipped).model_dump(mode="json")
    words = ["python", "app.py", "study", "run", name.removeprefix(studies.FOLDER)]
    for key, value in now.items():
        if key in ("results", "common") or value == plain[key]:
            continue
        words.append(f"{key}={json.dumps(value, ensure_ascii=False)}")
    common = {k: v for k, v in now["common"].items() if plain["common"].get(k) != v}
    for key, value in common.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        words.append(f"{key}={text}")
    return shlex.join(words)


def _line(verdict: dict[str, Any]) -> str:
    value = verdict["value"]
    shown = "" if value is None else f" {value:.3g}"
    of = f"{verdict['of']} against {verdict['against']}" if verdict["against"] else verdict["of"]
    return f"verdict: {verdict['state']}: {verdict['metric']} of {of}{shown}"


def _tell(text: str) -> None:
    print(text, flush=True)


def _journal(studio: Studio, folder: Path) -> None:
    from studio.ui.papers.journal import write_journal

    write_journal(studio, folder)


def _report(studio: Studio, folder: Path) -> None:
    from studio.ui.papers.report import write_report

    write_report(studio, folder)


if __name__ == "__main__":
    sys.exit(main())

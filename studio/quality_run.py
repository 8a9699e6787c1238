"""`python -m studio.quality_run quality.json --home DIR`: what a run of `quality` executes.

Endpoints and their keys are looked up here, when they are asked. A line of progress for every
answer, `artifacts/results.json` names the folder of results, `artifacts/quality.json` has the
figures at the end.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

from studio.bench.environment import environment
from studio.bench.saved import About, Results
from studio.core.errors import EndpointDown, NotFound, StudioError
from studio.core.settings import ROOT, Settings
from studio.core.spec import Endpoint
from studio.engines.quality import SUMMARY, QualityConfig
from studio.jobs.rundir import RunDir
from studio.quality.asking import Line, Manner, Stopped
from studio.quality.contestants import (
    SPLIT,
    Asked,
    check_known,
    contestants,
    find,
    meant,
    source,
)
from studio.quality.desk import QUALITY, asked_for, write_points
from studio.quality.folder import Contestant, Folder
from studio.quality.judge import Judge
from studio.quality.summary import Overview, Score, figures
from studio.quality.work import Work
from studio.studio import Studio

STOPPED = 143
"""Exit code after SIGTERM."""
_TOLD_EVERY_S = 0.5


class _Progress:
    """Appends how far the work is, twice a second at most, with the seconds to go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._what = ""
        self._began = self._told = 0.0
        self._before = 0

    def tell(self, done: int, total: int, what: str) -> None:
        """Note `done` of `total`; a new `what` starts the clock anew."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._before, self._told = what, now, done, 0.0
            print(f"{what}: {done}/{total}", flush=True)
        if now - self._told < _TOLD_EVERY_S and done < total:
            return
        self._told = now
        pace = (done - self._before) / (now - self._began) if now > self._began else 0.0
        left = (total - done) / pace if pace else None
        row = {"done": done, "total": total, "text": what, "remaining_s": left}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if done == total:
            print(f"{what}: {done}/{total}", flush=True)


def main() -> None:
    """Do the work; a StudioError is one sentence and its own exit code."""
    parser = argparse.ArgumentParser(prog="python -m studio.quality_run")
    parser.add_argument("work", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    line = Line()
    signal.signal(signal.SIGTERM, lambda number, frame: line.stop())
    signal.signal(signal.SIGINT, lambda number, frame: line.stop())
    try:
        config = QualityConfig.model_validate_json(given.work.read_bytes())
        found = compare(Studio(Settings.model_validate({"home": given.home})), config, line)
    except Stopped:
        print("Stopped. What was answered is kept; `quality resume` goes on.", flush=True)
        sys.exit(STOPPED)
    except StudioError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n".replace("\n\n", "\n"))
        sys.exit(error.exit_code)
    for model in found.models:
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures(model).items())
        print(f"{model.label}: {told}", flush=True)
    for judged in found.judged:
        print(
            f"{judged.judge} ({judged.mode}): {judged.num} judgements, "
            f"{judged.unreadable} unreadable, {judged.failed} failed",
            flush=True,
        )
    if not any(model.answered for model in found.models):
        sys.exit("No question was answered.")


def compare(studio: Studio, config: QualityConfig, line: Line) -> Overview:
    """Ask what has not been asked yet, judge what has not been judged yet, write the points.

    Works in the run folder it was started in. Raise StudioError or Stopped.
    """
    run = RunDir(Path.cwd())
    run.artifacts.mkdir(exist_ok=True)
    endpoints = studio.endpoints()
    known = Folder(studio.quality.get(config.results).folder) if config.results else None
    asked, names = _asked(config, endpoints, known)
    judge = find(config.judge, endpoints) if config.judge else None
    before = known.contestants() if known else {}
    found = contestants(asked, names, lambda one: source(studio.jobs, one), known=before.values())
    for one in found:
        check_known(before.get(one.label), one)
    results = _results(studio, run, config, found)
    folder = Folder(results.folder)
    if not folder.questions():
        folder.keep_questions(asked_for(config))
    for one in found:
        folder.add(one)
    tell = _Progress(run.artifacts / "progress.jsonl").tell
    work = Work(folder, line, at_once=config.num_concurrent, tell=tell)
    models = {one.label: each for one, each in zip(found, asked, strict=True)}
    try:
        work.answer(models, folder.questions(), _manner(config))
        if judge is not None:
            work.judge(_judge(config, judge), judge, config.judge_max_tokens)
    finally:
        overview = write_points(results)
        told = {model.label: _pairs(figures(model), model.score) for model in overview.models}
        text = json.dumps({"results": results.name, "figures": told}, ensure_ascii=False)
        Path(run.folder / SUMMARY).write_text(text, encoding="utf-8")
    return overview


def _asked(
    config: QualityConfig, endpoints: list[Endpoint], known: Folder | None
) -> tuple[list[Asked], list[str]]:
    """Return the models to ask and their names.

    When a comparison goes on, a server that was started again is found by its name, and one that
    is gone is not needed where it has answered everything.
    """
    asked, names = [], []
    for word, name in zip_longest(config.answers_from, config.names, fillvalue=""):
        try:
            asked.append(find(word, endpoints))
        except (NotFound, EndpointDown):
            before = meant(word, known.contestants().values()) if known else None
            if known is None or before is None:
                raise
            if _complete(known, before):
                continue
            asked.append(find(f"{before.endpoint}{SPLIT}{before.model}", endpoints))
        names.append(name)
    return asked, [name for name in names if name]


def _complete(folder: Folder, model: Contestant) -> bool:
    answers = folder.answers()
    rows = (answers.get((question.id, model.label)) for question in folder.questions())
    return all(row is not None and row.ok for row in rows)


def _results(
    studio: Studio, run: RunDir, config: QualityConfig, found: list[Contestant]
) -> Results:
    """Return the folder to go on with, or a new one, and tell its name beside the run."""
    if config.results:
        results = studio.quality.get(config.results)
    else:
        about = _about(studio, run, config, found)
        results = studio.saved.get(studio.saved.begin(about).name)
    (run.artifacts / "results.json").write_text(json.dumps({"results": results.name}))
    print(f"results {results.name}", flush=True)
    return results


def _about(studio: Studio, run: RunDir, config: QualityConfig, found: list[Contestant]) -> About:
    questions = Path(config.questions).stem.removeprefix("questions-")
    labels = [one.label for one in found]
    return About(
        kind=QUALITY,
        name=f"quality-{questions}",
        title={
            "en": f"{' against '.join(labels)} · {questions}",
            "zh": f"{' 对 '.join(labels)} · {questions}",
        },
        model=labels[0] if len(labels) == 1 else "",
        run=run.folder.name,
        environment=environment(),
        command=_command(studio, run, config, found),
        settings=config.model_dump(mode="json", exclude={"extra_args", "results"}),
    )


def _command(studio: Studio, run: RunDir, config: QualityConfig, found: list[Contestant]) -> str:
    """Return the comparison as one line of shell: the recipe, and what differs from it."""
    recipe, known = QUALITY, {}
    try:
        recipe = run.spec().recipe or QUALITY
        known = studio.recipes.get(recipe).settings if recipe != QUALITY else {}
    except (FileNotFoundError, StudioError):
        pass  # started by hand, or the recipe is gone: every setting is written out
    given = config.model_dump(mode="json", exclude_defaults=True, exclude={"judge_prompt"})
    path = Path(config.questions)
    if path.is_relative_to(ROOT):
        given["questions"] = str(path.relative_to(ROOT))
    given["answers_from"] = [
        f"{one.endpoint if one.run else one.base_url}{SPLIT}{one.model}" for one in found
    ]
    words = [
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in given.items()
        if known.get(name) != value
    ]
    return shlex.join(["python", "app.py", "quality", "run", recipe, *words])


def _manner(config: QualityConfig) -> Manner:
    return Manner(
        system=config.system_prompt,
        temperature=config.temperature,
        by_category=config.temperatures(),
        max_tokens=config.max_tokens,
        seed=config.seed,
    )


def _judge(config: QualityConfig, asked: Asked) -> Judge:
    return Judge(asked.model, config.judge_mode, config.judge_prompt)


def _pairs(told: dict[str, float], score: Score | None) -> dict[str, Any]:
    """Return figures as value and standard error."""
    stderr = score.stderr if score else None
    return {name: (value, stderr if name == "score" else None) for name, value in told.items()}


if __name__ == "__main__":
    main()

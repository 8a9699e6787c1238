"""Study: a matrix of runs, one after the other or side by side, as a run of its own.

What it does lies in `studio.studies`; here is only how it is started, stopped and looked at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from studio.core.spec import Command, Placement, StopStep
from studio.engines.engine import Engine, Progress
from studio.engines.study_config import StudyConfig
from studio.jobs.rundir import RunDir, read_rows

PROGRESS = "progress.jsonl"
"""Among the run's artifacts: rows done and to do, and a word about the case under way. Beside it
`results.json` names the folder of the results (`bench_run.results_folder`)."""

_RUNNER = (sys.executable, "-m", "studio.study_run")


class Study(Engine[StudyConfig]):
    """`python -m studio.study_run study.json`, in the studio's own interpreter. Holds no cards."""

    id = "study"
    title = "Study"
    env = None
    Config = StudyConfig

    def command(self, config: StudyConfig, place: Placement) -> Command:
        """Return the runner's command; what to do lies in `study.json` of the run folder."""
        settings = config.model_dump(mode="json", exclude={"extra_args"}, exclude_defaults=True)
        home = str(Path(place.data_dir).parent)
        return Command(
            argv=(*_RUNNER, "study.json", "--home", home, *config.extra_args),
            env={"PYTHONPATH": place.root, "PYTHONUTF8": "1"},
            files={"study.json": json.dumps(settings, ensure_ascii=False, indent=1) + "\n"},
        )

    def stop(self, config: StudyConfig) -> tuple[StopStep, ...]:
        """The runner stops the runs it launched, each by its own ladder; rows done are kept."""
        label = "end the case under way"
        return (StopStep(signal="SIGTERM", to="root", grace_s=600, label=label),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the runner's own count of rows, with the case under way."""
        rows = read_rows(run.artifacts / PROGRESS)
        if not rows:
            return None
        last = rows[-1]
        return Progress(last["done"], max(1, last["total"]), last["text"], last.get("remaining_s"))

"""A study as an engine: what is executed, how it is stopped, how far it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from studio.core.settings import Settings
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import Progress
from studio.engines.study import PROGRESS, Study
from studio.engines.study_config import StudyConfig
from studio.jobs.rundir import RunDir
from studio.launch import Launch
from studio.studio import Studio

PLACE = Placement(
    interpreter=Interpreter(name="studio", python="python", scripts=False),
    root="/repo",
    data_dir="/home/data",
)
CASES = {"one": {"recipe": "llamafactory/smoke-full"}}


def test_the_command_says_what_to_do_in_a_file() -> None:
    config = StudyConfig.model_validate({"measure": "training", "cases": CASES, "repeats": 1})
    command = Study().command(config, PLACE)
    assert command.argv == (
        sys.executable,
        "-m",
        "studio.study_run",
        "study.json",
        "--home",
        "/home",
    )
    assert command.env["PYTHONPATH"] == "/repo"
    told = json.loads(command.files["study.json"])
    assert told == {"measure": "training", "cases": CASES, "repeats": 1}
    assert StudyConfig.model_validate(told) == config


def test_it_holds_no_cards_and_is_stopped_with_patience(settings: Settings) -> None:
    spec = Studio(settings).preview(Launch(engine="study", settings={"cases": CASES}))
    assert spec.resources.num_gpus == 0
    assert [(step.signal, step.to) for step in spec.stop] == [("SIGTERM", "root")]
    assert spec.stop[0].grace_s >= 300, "the case under way has a ladder of its own to climb"


def test_progress_is_the_runners_own(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.artifacts.mkdir()
    assert Study().progress(run) is None
    row = {"done": 1.5, "total": 4, "text": "tp2", "remaining_s": 60.0}
    (run.artifacts / PROGRESS).write_text(json.dumps(row) + "\n" + '{"torn')
    assert Study().progress(run) == Progress(1.5, 4, "tp2", 60.0)

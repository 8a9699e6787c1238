"""The command line: the same code as the page, JSON everywhere, exit codes one can rely on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import spec, wait_log

from studio.cli import main
from studio.core.settings import ROOT
from studio.core.spec import StopStep
from studio.jobs.jobs import Jobs


class Done(NamedTuple):
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def app(*words: str, home: Path) -> Done:
    """Run a command in this process: a start of Python for each would be most of the time."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LADDER_HOME", str(home))
        patch.setattr(sys, "argv", ["app.py", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["run", "vllm/smok"], 3, "Did you mean vllm/smoke?"),
        (["run", "vllm/smoke", "max_model_length=1", "--dry-run"], 2, "Did you mean max_model_len"),
        (["run", "vllm", "model=./nowhere"], 2, "There is no model folder"),
        (["run", "vllm/smoke", "batch"], 2, "not of the form key=value"),
        (["run", "vllm/smoke", "--cards", "two"], 2, "neither a number nor a list"),
        (["run", "/no/such/file.yaml"], 3, "There is no recipe"),
        (["stop", "01"], 3, "There is no run 01"),
        (["logs", "../../etc"], 3, "There is no run"),
        (["ls", "--state", "asleep"], 2, "is no state"),
        (["nonsense"], 2, "No such command"),
        (["ui", "--port", "99999999"], 2, "port"),
    ],
)
def test_faults_are_sentences_with_exit_codes(
    tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    done = app(*words, home=tmp_path / "home")
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_home_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = app("ls", "--home", str(tmp_path / "file"), home=tmp_path)
    assert done.returncode == 7
    assert "cannot make its home" in done.stderr and "--home" in done.stderr


def test_json_of_every_listing(tmp_path: Path) -> None:
    assert json.loads(app("ls", "--json", home=tmp_path).stdout) == []
    names = {row["name"] for row in json.loads(app("recipes", "--json", home=tmp_path).stdout)}
    assert {"vllm/smoke", "llamafactory/smoke-api", "llamafactory/make-tiny"} <= names
    envs = json.loads(app("envs", "ls", "--json", home=tmp_path).stdout)
    assert {"vllm", "llamafactory", "router"} <= {env["name"] for env in envs}
    assert isinstance(json.loads(app("doctor", "--json", home=tmp_path).stdout), list)
    plan = json.loads(app("plan", "vllm/smoke", "--json", home=tmp_path).stdout)
    assert plan["engine"] == "vllm" and "vllm serve" in plan["command"]
    dry = json.loads(app("run", "vllm/smoke", "--dry-run", "--json", home=tmp_path).stdout)
    assert dry["command"]["argv"][1] == "serve"


def test_a_run_seen_from_the_command_line(jobs: Jobs, settings) -> None:
    polite = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)
    run = jobs.submit(spec("obey", 4, stop=polite))
    wait_log(run, "up")
    home = settings.home
    rows = json.loads(app("ls", "--json", "--state", "running", home=home).stdout)
    assert [row["id"] for row in rows] == [run.id]
    assert "up" in app("logs", run.id[:14], home=home).stdout
    following = subprocess.Popen(
        [sys.executable, "app.py", "logs", "-f", run.id],
        cwd=ROOT,
        env={**os.environ, "LADDER_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    refused = app("rm", run.id, "--yes", home=home)
    assert refused.returncode == 9 and "Stop it first" in refused.stderr
    stopped = app("stop", run.id, home=home)
    assert stopped.returncode == 0 and "1/2 SIGTERM terminate" in stopped.stdout
    followed, _ = following.communicate(timeout=60)
    assert "up\n" in followed and "[studio] stopped" in followed
    assert json.loads(app("show", run.id, home=home).stdout)["exit_code"] == 4
    assert app("rm", run.id, "--yes", home=home).returncode == 0
    assert json.loads(app("ls", "--json", home=home).stdout) == []


def test_accounts_are_kept_in_the_home(tmp_path: Path) -> None:
    short = app("accounts", "add", "ann", "--password", "short", home=tmp_path)
    assert short.returncode == 1 and "at least 8 characters" in short.stderr
    assert app("accounts", "add", "ann", "--password", "long enough", home=tmp_path).returncode == 0
    listed = app("accounts", "ls", "--json", home=tmp_path).stdout
    assert json.loads(listed) == [{"name": "ann", "role": "operator"}]
    assert "long enough" not in (tmp_path / "accounts.json").read_text()
    assert app("accounts", "rm", "ann", home=tmp_path).returncode == 0
    assert app("accounts", "rm", "ann", home=tmp_path).returncode == 3

"""`export`, `replicas` and `stop --group` on the command line."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from studio.cli import app
from studio.core.errors import NotFound, RecipeInvalid, StudioError


def told(home: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--home", str(home)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_every_form(home: Path) -> None:
    sh = told(home, "export", "vllm/smoke", "max_model_len=1024")
    docker = told(home, "export", "vllm/smoke", "max_model_len=1024", "--as", "docker")
    for text in (sh, docker):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        assert ("--max-model-len", "1024") in list(zip(*_twice(shlex.split(text)), strict=False))
    tree = yaml.safe_load(told(home, "export", "vllm/smoke", "--as", "compose", "--copies", "3"))
    assert list(tree["services"]) == ["smoke-1", "smoke-2", "smoke-3", "router"]
    conf = told(home, "export", "vllm/smoke", "--as", "nginx", "--copies", "2")
    assert len(re.findall(r"    server 127\.0\.0\.1:8\d{3}", conf)) == 2
    assert not list((home / "runs").iterdir()), "nothing was started"


def _twice(words: list[str]) -> tuple[list[str], list[str]]:
    return words, words[1:]


@pytest.mark.parametrize(
    "words, error, says",
    [
        (["export", "llamafactory/make-tiny", "--as", "docker"], RecipeInvalid, "There are: sh."),
        (["export", "vllm/smok"], NotFound, "vllm/smoke"),
        (["stop"], RecipeInvalid, "Name a run to stop, or a group"),
        (["stop", "01", "--group", "q"], RecipeInvalid, "Name a run to stop, or a group"),
        (["stop", "--group", "nobody"], NotFound, "There is no group nobody."),
        (["replicas", "vllm/smoke", "--copies", "0"], RecipeInvalid, "use 1 to 64"),
        (["replicas", "llamafactory/make-tiny"], RecipeInvalid, "cannot be copied"),
        (["replicas", "vllm/smoke", "--policy", "best"], RecipeInvalid, "policy"),
    ],
)
def test_faults_are_sentences(
    home: Path, words: list[str], error: type[StudioError], says: str
) -> None:
    with pytest.raises(error) as caught:
        told(home, *words)
    assert says in str(caught.value)
    assert not list((home / "runs").iterdir()), "nothing was started"

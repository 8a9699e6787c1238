"""Status, adoption and removal, with folders that only look like environments."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core.errors import EnvMissing, NotFound, RunBusy, StudioError
from studio.core.settings import Settings
from studio.envs.catalog import EnvSpec
from studio.envs.envs import Envs, EnvState
from studio.envs.layout import EnvFolder
from studio.jobs.store import Store


@pytest.fixture
def built(envs: Envs, make_spec: Callable[..., EnvSpec], tmp_path: Path) -> EnvFolder:
    """A folder with everything a look at the files finds in a finished environment."""
    folder = EnvFolder(tmp_path / "home" / "envs" / "tiny-cpu")
    site = folder.path / "lib" / "python3.11" / "site-packages"
    (site / "tinyengine-1.0.dist-info").mkdir(parents=True)
    folder.python.parent.mkdir()
    folder.python.symlink_to(sys.executable)
    digest = make_spec().lock_sha256("cpu")
    facts = {"lock_sha256": digest, "versions": {"tinyengine": "1.0"}, "size_bytes": 7}
    folder.marker.write_text(json.dumps(facts))
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds the engine."""
    folder = tmp_path / "overlay"
    (folder / "tinyengine").mkdir(parents=True)
    (folder / "tinyengine" / "__init__.py").write_text("__version__ = '3.0'\nprint('noise')\n")
    return folder


def test_nothing_is_there(envs: Envs):
    now = envs.status("tiny")
    assert (now.state, now.kind, now.versions) == (EnvState.MISSING, "built", {})
    assert "not built yet. Build it" in now.detail
    with pytest.raises(EnvMissing, match=r"not built yet\. Build it"):
        envs.interpreter("tiny")
    planned = envs.planned("tiny")
    assert planned.python.endswith("/envs/tiny-cpu/bin/python") and planned.scripts
    assert [status.name for status in envs.list()] == ["tiny"]
    with pytest.raises(NotFound, match="There are: tiny"):
        envs.status("other")


def test_ready(envs: Envs, built: EnvFolder):
    now = envs.status("tiny")
    assert (now.state, now.detail, now.size_bytes) == (EnvState.READY, "", 7)
    found = envs.interpreter("tiny")
    assert found.python == str(built.python), "the link, not what it points to"
    assert found == envs.planned("tiny")
    assert now.as_dict()["state"] == "ready" and json.dumps(now.as_dict())


@pytest.mark.parametrize(
    ("harm", "state", "words"),
    [
        (lambda f: f.marker.unlink(), EnvState.BROKEN, "not finished"),
        (lambda f: f.marker.write_text("{half"), EnvState.BROKEN, "not finished"),
        (lambda f: f.python.unlink(), EnvState.BROKEN, "lost its Python"),
        (lambda f: f.distribution("tinyengine").rmdir(), EnvState.BROKEN, "lost tinyengine"),
        (lambda f: f.marker.write_text('{"lock_sha256": "0"}'), EnvState.STALE, "older lock"),
    ],
)
def test_harm_is_seen(envs: Envs, built: EnvFolder, harm, state: EnvState, words: str):
    harm(built)
    now = envs.status("tiny")
    assert now.state is state
    assert words in now.problem and now.remedy
    if state is EnvState.BROKEN:
        with pytest.raises(EnvMissing, match=words):
            envs.interpreter("tiny")
    else:
        assert envs.interpreter("tiny").python == str(built.python)


def test_a_held_lock_means_building(envs: Envs, built: EnvFolder):
    with built.hold():
        assert envs.status("tiny").state is EnvState.BUILDING
        with pytest.raises(RunBusy, match="being built"):
            envs.remove("tiny")
    assert envs.status("tiny").state is EnvState.READY
    assert built.python.exists()


def test_looking_does_not_count_as_building(envs: Envs, built: EnvFolder):
    with built.hold():
        pass
    with open(built.lock_file) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert envs.status("tiny").state is EnvState.READY


@pytest.mark.parametrize(
    ("setting", "cards", "variant"),
    [
        ("cpu", [{"used": 4}], "cpu"),
        ("auto", [{"used": 4}], "cuda"),
        ("auto", [], "cpu"),
        ("cuda", [], "cuda"),
    ],
)
def test_the_variant_follows_the_cards(tmp_path, fake_cards, setting, cards, variant):
    fake_cards(*cards)
    settings = Settings(home=tmp_path / "home", variant=setting)
    settings.prepare_home()
    assert Envs(settings, Store(settings.database)).variant() == variant


# adoption ---------------------------------------------------------------------------------------


def test_adopt_an_interpreter_with_an_overlay(envs: Envs, engine: Path, built: EnvFolder):
    now = envs.adopt("tiny", Path(sys.executable), (engine,))
    assert (now.state, now.kind) == (EnvState.READY, "adopted"), "it wins over the built one"
    assert now.versions == {"tinyengine": "3.0"}
    found = envs.interpreter("tiny")
    assert (found.python, found.pythonpath) == (sys.executable, (str(engine),))
    assert found.program("tiny", "tinyengine.cli") == (sys.executable, "-m", "tinyengine.cli")

    envs.remove("tiny")
    assert envs.status("tiny").kind == "built", "forgotten, and nothing was deleted"
    assert (engine / "tinyengine").is_dir() and built.python.exists()


def test_adopt_the_folder_of_an_environment(envs: Envs, engine: Path, tmp_path: Path):
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(sys.executable)
    script = prefix / "bin" / "tiny"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    envs.adopt("tiny", prefix, (engine,))
    found = envs.interpreter("tiny")
    assert found.python == str(prefix / "bin" / "python"), "the link is kept"
    assert found.program("tiny", "tinyengine.cli") == (str(script),)


def test_an_adopted_python_that_went_away(envs: Envs, engine: Path, tmp_path: Path):
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    envs.adopt("tiny", link, (engine,))
    link.unlink()
    now = envs.status("tiny")
    assert now.state is EnvState.BROKEN
    assert f"The adopted Python {link} is gone. Adopt another one" in now.detail
    link.symlink_to(sys.executable)
    engine.rename(tmp_path / "moved")
    assert "is gone" in envs.status("tiny").detail


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_what_cannot_be_adopted_says_why(envs: Envs, engine: Path, tmp_path: Path):
    def refuse(python: Path, *overlay: Path) -> str:
        with pytest.raises(EnvMissing) as caught:
            envs.adopt("tiny", python, overlay)
        assert caught.value.hint or overlay
        return caught.value.message

    python = Path(sys.executable)
    assert refuse(tmp_path / "nothing") == f"There is no {tmp_path / 'nothing'}."
    assert "a folder without bin/python" in refuse(tmp_path)
    assert "cannot be executed" in refuse(Path(__file__))
    assert "is not a working Python" in refuse(script(tmp_path, "echo hello"))
    assert "(it ended with 3): oh no" in refuse(script(tmp_path, "echo oh no >&2; exit 3"))
    assert "No module named 'tinyengine'" in refuse(python)
    assert "There is no folder" in refuse(python, tmp_path / "nowhere")
    (engine / "tinyengine" / "__init__.py").write_text("import nosuchlibrary\n")
    assert "No module named 'nosuchlibrary'" in refuse(python, engine)
    (engine / "tinyengine" / "__init__.py").write_text("raise SystemExit(1)\n")
    assert "SystemExit" in refuse(python, engine)
    (engine / "tinyengine" / "__init__.py").write_text("")
    assert "nothing tells its version" in refuse(python, engine)
    assert envs.status("tiny").kind == "built", "nothing was adopted"


def test_the_studios_own_python_path_does_not_leak(envs: Envs, engine: Path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(engine))
    with pytest.raises(EnvMissing, match="No module named 'tinyengine'"):
        envs.adopt("tiny", Path(sys.executable))


# removal ----------------------------------------------------------------------------------------


def test_remove_a_built_environment(envs: Envs, built: EnvFolder, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("!")
    (built.path / "link").symlink_to(outside)
    envs.remove("tiny")
    assert envs.status("tiny").state is EnvState.MISSING
    assert (outside / "precious").exists(), "links are not followed"
    with pytest.raises(NotFound):
        envs.remove("tiny")


def test_a_linked_folder_is_not_removed(envs: Envs, built: EnvFolder, tmp_path: Path):
    real = built.path.rename(tmp_path / "elsewhere")
    built.path.symlink_to(real)
    with pytest.raises(StudioError, match="not a plain folder"):
        envs.remove("tiny")
    assert (real / "studio-env.json").exists()


def test_not_while_a_process_uses_it(envs: Envs, built: EnvFolder):
    process = subprocess.Popen([built.python, "-c", "import time; time.sleep(60)"])
    try:
        with pytest.raises(RunBusy, match=rf"in use by 1 processes \(pid {process.pid}\)"):
            envs.remove("tiny")
    finally:
        process.kill()
        process.wait()
    envs.remove("tiny")
    assert not os.path.lexists(built.path)

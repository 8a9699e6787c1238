"""An engine is asked for its flags once; the answer belongs to that interpreter and version."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from envs.tiny_engine import until

from studio.core.errors import EnvMissing
from studio.core.settings import Settings
from studio.core.spec import Interpreter
from studio.envs.build import Builder
from studio.envs.catalog import EnvSpec
from studio.envs.envs import Envs
from studio.envs.flags import flags_file
from studio.envs.packages import package_version
from studio.jobs.store import Store

HELP = """
import os, pathlib
asked = pathlib.Path(__file__).with_name("asked")
asked.write_text(asked.read_text() + "x" if asked.exists() else "x")
print("options:")
for number in range(60):
    print(f"  --flag-{number}, -f{number}  does something; see --prose")
"""
FLAGS = {f"--flag-{number}" for number in range(60)}


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with an engine that lists sixty flags and counts how often."""
    folder = tmp_path / "overlay"
    (folder / "tinyengine").mkdir(parents=True)
    (folder / "tinyengine" / "__init__.py").write_text("__version__ = '3.0'\n")
    (folder / "tinyengine" / "tool.py").write_text(HELP)
    return folder


@pytest.fixture
def envs(tmp_path: Path, make_spec: Callable[..., EnvSpec]) -> Envs:
    """The environments of an empty home; the tiny engine has flags."""
    settings = Settings(home=tmp_path / "home", variant="cpu")
    settings.prepare_home()
    return Envs(
        settings, Store(settings.database), {"tiny": make_spec(help=("tinyengine.tool", "--help"))}
    )


def times_asked(engine: Path) -> int:
    asked = engine / "tinyengine" / "asked"
    return len(asked.read_text()) if asked.exists() else 0


def test_nothing_is_known_of_what_is_not_there(envs: Envs) -> None:
    assert envs.flags("tiny") is None
    assert envs.version("tiny") == ""
    with pytest.raises(EnvMissing, match="not built yet"):
        envs.learn_flags("tiny")


def test_an_adoption_asks_once(envs: Envs, engine: Path, tmp_path: Path) -> None:
    envs.adopt("tiny", Path(sys.executable), (engine,))
    assert times_asked(engine) == 1
    assert envs.flags("tiny") == FLAGS
    assert envs.version("tiny") == "3.0"
    assert envs.flags("tiny") == FLAGS and times_asked(engine) == 1
    kept = json.loads(flags_file(tmp_path / "home" / "envs", "tiny").read_text())
    assert set(kept["flags"]) == FLAGS


def test_another_version_is_asked_again(envs: Envs, engine: Path) -> None:
    envs.adopt("tiny", Path(sys.executable), (engine,))
    # of another size, or Python's bytecode cache of the old one holds within a second
    (engine / "tinyengine" / "__init__.py").write_text("__version__ = '4.0.1'\n")
    envs.adopt("tiny", Path(sys.executable), (engine,))
    assert times_asked(engine) == 2
    assert envs.version("tiny") == "4.0.1"


def test_who_was_never_asked_is_asked_in_the_background(
    envs: Envs, engine: Path, tmp_path: Path
) -> None:
    envs.adopt("tiny", Path(sys.executable), (engine,))
    flags_file(tmp_path / "home" / "envs", "tiny").unlink()
    assert envs.flags("tiny") is None, "it does not wait"
    until(lambda: envs.flags("tiny") == FLAGS, 30)
    assert times_asked(engine) == 2, "many looks, one question"


def test_an_engine_that_does_not_tell(envs: Envs, engine: Path) -> None:
    """Adoption goes through all the same: an unknown set of flags refuses nothing."""
    (engine / "tinyengine" / "tool.py").write_text("raise SystemExit('no device here')")
    assert envs.adopt("tiny", Path(sys.executable), (engine,)).state.usable
    with pytest.raises(EnvMissing, match="does not list its flags: no device here"):
        envs.learn_flags("tiny")
    (engine / "tinyengine" / "tool.py").write_text("print('  --one\\n  --two')")
    with pytest.raises(EnvMissing, match="does not list its flags"):
        envs.learn_flags("tiny")


def test_the_builder_leaves_what_the_studio_finds(
    envs: Envs, engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by the build, read by the page: the same key without a word between them."""
    spec: EnvSpec = envs._catalog["tiny"]
    builder = Builder(spec, "cpu", tmp_path / "home")
    site = builder.folder.path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (site / "tinyengine-1.0.dist-info").mkdir()
    python = builder.folder.python
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={engine} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    digest = spec.lock_sha256("cpu")
    facts = {"lock_sha256": digest, "versions": {"tinyengine": "1.0"}, "size_bytes": 7}
    builder.folder.marker.write_text(json.dumps(facts))
    builder._learn_flags({"tinyengine": "1.0"})
    assert "It has 60 flags." in capsys.readouterr().out
    assert envs.flags("tiny") == FLAGS and times_asked(engine) == 1


def test_packages_are_seen_without_starting_anything(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    (site / "Some_Thing-1.2.dist-info").mkdir(parents=True)
    here = Interpreter(name="it", python=str(tmp_path / "bin" / "python"))
    assert package_version(here, "some-thing") == "1.2"
    assert package_version(here, "other") == ""
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    assert package_version(here, "other") is None, "it may be in the Python below"
    elsewhere = here.model_copy(update={"python": str(tmp_path / "x" / "bin" / "python")})
    assert package_version(elsewhere, "other") is None

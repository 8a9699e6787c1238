"""Ids sort by time, homes are checked, plugins come through one door."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from studio.core import discover
from studio.core.errors import HomeUnusable
from studio.core.ids import is_id, new_id
from studio.core.settings import Settings
from studio.jobs.jobs import Jobs


def test_ids_sort_by_time_and_are_checked() -> None:
    early, late = new_id(1_000.0), new_id(2_000_000_000.0)
    assert early < late and is_id(early) and is_id(late)
    assert len({new_id() for _ in range(2000)}) == 2000
    for bad in ("", "..", "../x", early + "a", early.upper(), "a/b"):
        assert not is_id(bad)


def test_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("I am a file")
    with pytest.raises(HomeUnusable, match="cannot make its home"):
        Jobs(Settings(home=tmp_path / "home"))


def test_damaged_database_says_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.prepare_home()
    settings.database.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(HomeUnusable, match="cannot be used"):
        Jobs(settings)


def test_newer_database_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with Jobs(settings).store.transaction() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(HomeUnusable, match="newer Ladder Studio"):
        Jobs(settings)


def test_environment_variables_set_the_home(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LADDER_HOME", str(tmp_path / "elsewhere"))
    assert Settings().runs_dir == tmp_path / "elsewhere" / "runs"


def test_plugins_are_found_by_attribute(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "b.py").write_text("TAB = 'b'")
    (package / "a.py").write_text("TAB = 'a'")
    (package / "_hidden.py").write_text("TAB = 'no'")
    monkeypatch.syspath_prepend(tmp_path)
    assert discover.load_plugins("stranger", "TAB", "no.such.group") == ["a", "b"]
    sys.modules.pop("stranger", None)


def test_broken_extension_is_left_out(monkeypatch, caplog) -> None:
    class Broken:
        name = "broken"

        def load(self):
            raise ImportError("gone")

    monkeypatch.setattr(discover, "entry_points", lambda group: [Broken()])
    assert discover.extensions("studio.tabs") == []
    assert "broken" in caplog.text

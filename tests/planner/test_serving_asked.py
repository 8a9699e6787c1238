"""A serving plan as a person asks for it: on this machine, or on one that is only thought of."""

from __future__ import annotations

import shutil

import pytest

from studio.core.settings import Settings
from studio.studio import Studio
from studio.ui.plan.machines import MACHINES


def test_the_disk_of_this_machine_counts_on_this_machine_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(settings)
    full = shutil.disk_usage(settings.home)._replace(free=2**30)
    monkeypatch.setattr("studio.plans.shutil.disk_usage", lambda path: full)
    ask = studio.ask_for(studio.recipes.get("vllm/qwen2.5-14b-tp2"))
    cards = MACHINES["2x4090"].cards
    thought, own = studio.serving_plan(ask, cards), studio.serving_plan(ask, cards, own=True)
    assert thought is not None and thought.reason == "fits"
    assert own is not None and own.reason == "disk"
    assert own.values["have_bytes"] == 2**30

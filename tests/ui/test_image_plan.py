"""The image editor's plan as a page shows it, in both languages."""

from __future__ import annotations

import json
import re

import pytest

from studio.core.settings import ROOT
from studio.core.spec import Imaging
from studio.engines.workers.image_edit.rung import RUNGS
from studio.planner.image_result import ImagePlan, RungPlan
from studio.planner.images import plan_images
from studio.planner.result import CardMemory
from studio.studio import Studio
from studio.ui.forms.work import Asked, ask_of
from studio.ui.image.plan import IMAGINED, ImagePlans, lead, plan_html, plan_text, rows, short
from studio.ui.image.rungs import span, title

MODEL = "Qwen/Qwen-Image-Edit-2511"


def planned(on: str, **settings: object) -> ImagePlan:
    """Return the ladder of the published model on a machine one thinks of."""
    thought = IMAGINED[on]
    cards: list[CardMemory] = thought.cards.cards if thought.cards else []
    need = Imaging(model=MODEL, **settings)  # type: ignore[arg-type]
    return plan_images(need, cards=cards, root=ROOT, imagined=True, host_bytes=thought.host_bytes)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("on", IMAGINED)
def test_every_machine_has_a_ladder_in_words(lang: str, on: str) -> None:
    plan = planned(on)
    page = plan_html(lang, plan)
    assert page.count("<li class=") == len(RUNGS)
    for rung in RUNGS:
        assert title(lang, rung) != rung, "it has a name in plain words"
        assert f'data-rung="{rung}"' in page
    assert "imageworker." not in page and "plan." not in re.sub(r"l-plan[\w-]*", "", page)
    assert page.count("l-rung-chosen") == bool(plan.chosen)
    assert len(plan_text(lang, plan)) > len(RUNGS)


def test_one_large_card_takes_it_whole() -> None:
    plan = planned("1x141")
    said = lead("en", plan)
    assert said.startswith("Will run whole on card 0: about ")
    assert said.endswith(" a picture at 40 steps.")
    assert short("en", plan).startswith("whole · ≈ ")
    assert rows(plan)[0].standing == "chosen"


def test_what_does_not_fit_is_hatched_and_says_why() -> None:
    plan = planned("1x24")
    page = plan_html("en", plan)
    whole = page.partition('data-rung="whole"')[2].partition("</li>")[0]
    assert "l-over" in whole and "l-rung-why bad" in whole and "GiB" in whole
    assert plan.fits and plan.chosen != "whole"


def test_two_cards_have_two_bars() -> None:
    plan = planned("2x24", rung="split")
    row = next(row for row in rows(plan) if row.name == "split")
    assert row.standing == "chosen" and len(row.cards) == 2
    assert "on cards 0, 1" in lead("en", plan)


def test_cpu_says_how_long_it_really_takes() -> None:
    plan = planned("cpu128")
    said = lead("en", plan)
    assert plan.chosen == "cpu" and "on the CPU" in said
    assert re.search(r"about \d+ (?:min|h)", said), said
    needless = plan_html("en", plan).partition('data-rung="whole"')[2].partition("</li>")[0]
    assert "l-plan-card" not in needless and "button" not in needless, "no card, no bar, no way"


def test_a_cpu_with_little_memory_fits_nothing() -> None:
    plan = plan_images(
        Imaging(model=MODEL), cards=[], root=ROOT, imagined=True, host_bytes=8 * 2**30
    )
    assert not plan.fits and not plan.chosen
    page = plan_html("zh", plan)
    assert "l-tone-bad" in page and "l-rung-chosen" not in page


def test_taking_a_rung_changes_the_form() -> None:
    page = plan_html("en", planned("2x24"))
    found = re.findall(r'data-form-set="([^"]+)"', page)
    changes = [json.loads(text.replace("&quot;", '"')) for text in found]
    assert {"rung": "groups"} in changes
    assert all(set(change) == {"rung"} and change["rung"] in RUNGS for change in changes)


def test_a_rung_that_is_forced_and_too_large_offers_to_let_it_choose() -> None:
    plan = planned("1x24", rung="whole")
    assert not plan.fits
    page = plan_html("en", plan)
    assert "l-tone-bad" in page and "{&quot;rung&quot;: &quot;auto&quot;}" in page


def test_measured_seconds_are_told_apart_from_expected_ones() -> None:
    plan = planned("1x141")
    first = plan.first
    assert first is not None
    seen = first.model_copy(update={"measured": True, "step_s": 0.76, "picture_s": 32.0})
    rungs = tuple(seen if rung.name == "whole" else rung for rung in plan.rungs)
    plan = plan.model_copy(update={"rungs": rungs})
    assert lead("en", plan).endswith("32 s a picture at 40 steps, as measured here.")
    page = plan_html("zh", plan).partition('data-rung="whole"')[2].partition("</li>")[0]
    assert "本机实测" in page and "≈" not in page


def test_host_memory_that_is_too_small_is_drawn() -> None:
    card = CardMemory(0, "RTX 4090", 24564 * 2**20, 0)
    plan = plan_images(
        Imaging(model=MODEL), cards=[card], root=ROOT, imagined=True, host_bytes=16 * 2**30
    )
    row = next(row for row in rows(plan) if row.name == "leaf")
    assert row.standing == "no" and row.cards[-1].card is None and row.cards[-1].over_bytes > 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.768, "0.768 s"), (31.2, "31 s"), (89.6, "90 s"), (118, "2 min"), (251, "4 min 10 s"),
        (2412, "40 min"), (46_260, "12 h 51 min"), (None, "–"),
    ],
)  # fmt: skip
def test_spans(seconds: float | None, said: str) -> None:
    assert span("en", seconds) == said


def test_the_tab_plans_this_machine_and_others(studio: Studio) -> None:
    asked: Asked = ask_of("image-edit", {"model": MODEL})
    launch = asked.launch(studio)
    draw = ImagePlans(studio).draw
    there = draw("en", launch, asked, "2x24")
    assert 'value="2x24" selected' in there.html and there.fits and "≈" in there.short
    here = draw("en", launch, asked, "")
    assert "this machine" in here.html and 'data-rung="cpu"' in here.html
    unknown = ask_of("image-edit", {"model": "somebody/else"})
    told = draw("en", unknown.launch(studio), unknown, "1x24")
    assert "somebody/else is not on this machine" in told.html
    assert told.fits, "nobody knows, so nobody is warned"


def test_rung_plan_is_all_that_is_needed() -> None:
    """A plan.json of an older studio has fewer figures, and is drawn all the same."""
    plan = ImagePlan(
        fits=False, reason="image_none", rungs=(RungPlan(name="odd", fits=False, why="No."),)
    )
    assert 'data-rung="odd"' in plan_html("en", plan)

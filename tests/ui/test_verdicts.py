"""Verdicts as plain text, in both languages."""

from __future__ import annotations

import pytest

from studio.bench.point import Point
from studio.core.recipes import Bilingual
from studio.engines.study_config import Expectation
from studio.studies.expect import CaseEnd, Verdict, judge
from studio.ui.verdicts.text import verdict_text

FOUR = Expectation(
    metric="peak_card_gib",
    of="zero2",
    against="ddp",
    inverse=True,
    at_least=4,
    bound=1.78,
    title=Bilingual(en="ZeRO-2 takes four times less", zh="ZeRO-2 省到四分之一"),
    possible=Bilingual(en="Eight cards would.", zh="八张卡可以。"),
)


def told(wanted: Expectation, points: list[Point], **ends: CaseEnd) -> Verdict:
    return judge([wanted], points, ends)[0]


def repeated(case: str, *values: float) -> list[Point]:
    return [
        Point(id=f"{case}{n}", case=case, repeat=n, figures={"peak_card_gib": value})
        for n, value in enumerate(values)
    ]


def test_figures_the_bound_and_what_is_possible() -> None:
    verdict = told(FOUR, repeated("zero2", 20, 20) + repeated("ddp", 30, 30))
    assert verdict_text("en", verdict).splitlines() == [
        "Not met, clearly: ZeRO-2 takes four times less",
        "    1.50×, 95 % between 1.50× and 1.50×, expected at least 4.00×",
        "    Physics allows 1.78× at most. Eight cards would.",
    ]
    chinese = verdict_text("zh", verdict)
    assert "ZeRO-2 省到四分之一" in chinese and "物理上最多 1.78×。" in chinese
    assert "八张卡可以。" in chinese


def test_one_repeat_has_no_interval() -> None:
    verdict = told(FOUR, repeated("zero2", 20) + repeated("ddp", 90))
    assert verdict_text("en", verdict).splitlines() == [
        "Met: ZeRO-2 takes four times less",
        "    4.50×, expected at least 4.00×",
    ]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_why_it_could_not_be_measured(lang: str) -> None:
    why = "needs 2 card(s), and this machine has 1."
    verdict = told(FOUR, [], zero2=CaseEnd("not_measurable", why))
    text = verdict_text(lang, verdict, {"zero2": "ZeRO-2"})
    assert "ZeRO-2" in text.splitlines()[2]
    assert ("cannot be measured here" if lang == "en" else "本机无法测量") in text


@pytest.mark.parametrize(
    ("state", "english", "chinese"),
    [
        ("not_measurable", "Not measurable here:", "本机无法测量："),
        ("failed", "Failed:", "失败："),
        ("pending", "Not measured:", "尚未测量："),
        ("interrupted", "Not measured:", "尚未测量："),
    ],
)
def test_only_what_this_machine_cannot_do_is_not_measurable(
    state: str, english: str, chinese: str
) -> None:
    verdict = told(FOUR, repeated("ddp", 30), zero2=CaseEnd(state, "no"))
    assert verdict_text("en", verdict).startswith(english)
    assert verdict_text("zh", verdict).startswith(chinese)

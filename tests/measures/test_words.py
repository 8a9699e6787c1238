"""Everything the figures, comparisons and verdicts say has its words in both languages."""

from __future__ import annotations

import re
import string

import pytest

from studio.bench.definitions import DEFINITIONS, HEADLINES, STATISTICS, definition
from studio.bench.point import Point
from studio.bench.said import Said
from studio.bench.spread import Judged
from studio.core.settings import ROOT
from studio.ui import measures
from studio.ui.i18n import read_words
from studio.ui.measure_tables import points_table

WORDS = {
    lang: read_words(ROOT / "assets" / "locales" / lang / "measures.yaml") for lang in ("en", "zh")
}


@pytest.mark.parametrize("lang", WORDS)
def test_every_figure_has_name_and_definition(lang: str) -> None:
    for name, what in DEFINITIONS.items():
        for kind in ("label", "short", "formula"):
            assert f"measures.{kind}.{what.base}" in WORDS[lang], name
        assert what.statistic in ("", *STATISTICS)
    bases = {what.base for what in DEFINITIONS.values()}
    told = {key.rpartition(".")[2] for key in WORDS[lang] if key.startswith("measures.formula.")}
    assert told == bases
    assert set(HEADLINES) <= set(DEFINITIONS)


@pytest.mark.parametrize("lang", WORDS)
def test_every_key_in_the_source_has_words(lang: str) -> None:
    folder = ROOT / "studio" / "bench"
    source = "".join((folder / file).read_text() for file in ("verdict.py", "reasons.py"))
    keys = {f"measures.verdict.{key}" for key in re.findall(r'\bsentence\(\s*"(\w+)"', source)}
    for kind in ("users", "rate"):
        ends = ("", "_all", "_plain", "_all_plain", "_none")
        keys |= {f"measures.verdict.{kind}{end}" for end in ends}
        keys |= {f"measures.load.{kind}", f"measures.load.{kind}_one"}
    limits = (folder / "limits.py").read_text()
    broken = {*re.findall(r'Broken\(\s*"(\w+)"', limits), "ttft", "e2el"}
    keys |= {f"measures.verdict.broken_{key}" for key in broken}
    compared = (folder / "compare.py").read_text()
    keys |= {
        f"measures.compare.{key}" for key in re.findall(r'"measures\.compare\.(\w+)"', compared)
    }
    words = ("better", "worse", "more", "less", "noise", "unknown")
    keys |= {f"measures.compare.{word}" for word in words}
    keys |= {f"measures.compare.{word}_once" for word in words[:4]}
    for word in (*Judged, "better", "worse"):
        keys |= {f"measures.judged.{word}", f"measures.judged_short.{word}"}
    assert len(keys) > 60
    assert keys <= WORDS[lang].keys()
    keys |= {f"{key}_one" for key in keys if f"{key}_one" in WORDS[lang]}
    written = {k for k in WORDS[lang] if re.match(r"measures\.(verdict|compare|load)\.", k)}
    assert written <= keys | {"measures.verdict.limits", "measures.verdict.limits_default"}


def test_both_languages_ask_for_the_same_values() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    for key, text in WORDS["en"].items():
        asked = [
            {n for _, n, _, _ in string.Formatter().parse(t) if n} for t in (text, WORDS["zh"][key])
        ]
        assert asked[0] == asked[1], key


def test_names_units_and_definitions() -> None:
    assert measures.label("en", "ttft_p90_ms") == "Time to first token, P90"
    assert measures.axis("zh", "ttft_p90_ms") == "TTFT P90 (ms)"
    assert measures.axis("en", "goodput_share") == "in limits (%)"
    assert measures.formula("en", "tpot_p99_ms").endswith(
        "P99: 99 of 100 requests are at or below it."
    )
    assert measures.formula("zh", "tpot_p99_ms").endswith("P99：一百个请求里有九十九个不超过它。")
    assert measures.label("en", "mmlu/acc") == "mmlu/acc"
    assert measures.formula("en", "mmlu/acc") == ""
    assert measures.condition("zh", "concurrency") == "同时在线用户"
    assert measures.condition("en", "of_my_own") == "of_my_own"


def test_which_way_is_better() -> None:
    assert definition("output_throughput").better == "more"
    assert definition("ttft_p90_ms").better == "less"
    assert definition("kv_cache_use_max").better == ""
    assert definition("mmlu/acc").better == "more"
    assert definition("wikitext/word_perplexity").better == "less"
    assert (definition("my_wait_ms").unit, definition("my_wait_ms").known) == ("ms", False)


def test_values_as_people_read_them() -> None:
    assert measures.shown("ttft_p90_ms", 254.31) == "254 ms"
    assert measures.shown("goodput_share", 0.9834) == "98.3 %"
    assert measures.shown("goodput_share", 1.0) == "100 %"
    assert measures.shown("output_throughput", 4216.4, with_unit=False) == "4,220"
    assert measures.shown("completed", 512.0) == "512"
    assert measures.shown("score", None) == "–"
    assert measures.change(49.27) == "+49.3 %"
    assert measures.change(-3.14) == "\N{MINUS SIGN}3.1 %"
    assert measures.change(1234.5) == "+1,230 %"
    assert measures.between((0.95, 1.5)) == "\N{MINUS SIGN}5.0 % … +50.0 %"
    assert measures.between(None) == "–"


def test_one_user_is_not_one_users() -> None:
    one = Said("measures.verdict.growing", {"load": {"users": 1}})
    assert measures.sentence("en", one) == "The throughput still grows at 1 user: try more."


def test_points_that_all_failed_have_a_column_for_the_reason() -> None:
    failed = Point(id="a", at=1.0, status="failed", error="out of memory", engine="x")
    head, body = points_table("en", [failed])
    assert len(head) == len(body[0]) == 2
    assert body[0][1] == "out of memory"

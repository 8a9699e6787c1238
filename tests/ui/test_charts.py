"""Charts as data: what is drawn, what is said around it, in both languages and both widths."""

from __future__ import annotations

import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ui import chart_points as cp

from studio.bench.point import Point
from studio.core.errors import NotFound, StudioError
from studio.ui import charts
from studio.ui.charts import look
from studio.ui.charts.drawing import coloured, tokens
from studio.ui.charts.look import wrapped
from studio.ui.charts.picture import write
from studio.ui.charts.place import plain
from studio.ui.charts.series import MOST, said, series_of
from studio.ui.i18n import LANGS, words
from studio.ui.runs import plots

GRID = [
    point
    for into in (128, 512)
    for out in (128, 512)
    for point in cp.load_points(
        lengths=(into, out), loads=(1, 8, 64), failed=(64,) if into > 500 else ()
    )
]
MANY = [
    point
    for number in range(MOST + 3)
    for point in cp.load_points(f"case-{number}", loads=(1, 8, 64), repeats=1, results=f"r{number}")
]
SETS: dict[str, list[Point]] = {
    "one server": cp.load_points(slo={"ttft_ms": 500, "tpot_ms": 50}),
    "three cases": cp.scaling_points(),
    "lengths": GRID,
    "many": MANY,
    "one point": cp.load_points(loads=(8,), repeats=1),
    "all failed": cp.load_points(loads=(8, 16), failed=(8, 16)),
    "training": cp.training_points(),
    "history": cp.history_points(),
    "quality": cp.quality_points(),
    "nothing": [],
}


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("kind", charts.CHARTS)
@pytest.mark.parametrize("points", SETS.values(), ids=SETS)
def test_every_chart_of_everything_is_whole(kind: str, points: list[Point], lang: str):
    for narrow in (False, True):
        drawing = charts.draw(kind, points, lang, narrow=narrow)
        assert drawing.title and "charts." not in drawing.title
        if drawing.figure is None:
            assert drawing.empty and "charts." not in drawing.empty
            continue
        assert drawing.read and drawing.head and drawing.rows
        assert all(len(row) == len(drawing.head) for row in drawing.rows)
        text = json.dumps(drawing.figure, allow_nan=False)  # and nothing that JSON has not
        assert "charts." not in text and "measures." not in text
        _whole(drawing.figure, unit=kind == "quality" or points is not SETS["quality"])


def _whole(figure: dict[str, Any], *, unit: bool) -> None:
    layout = figure["layout"]
    titles = [a["text"] for a in layout["annotations"]]
    titles += [
        layout[n]["title"]["text"]
        for n in layout
        if n.startswith("xaxis") and layout[n].get("title")
    ]
    assert all(titles) and (not unit or any(re.search(r"[(（]", text) for text in titles))
    assert layout["uirevision"] and layout["height"] < 2000
    for trace in figure["data"]:
        lengths = {len(trace[name]) for name in ("x", "y") if name in trace}
        assert len(lengths) == 1 or trace["type"] == "heatmap"
    for colour in re.findall(r"--l-[\w-]+", json.dumps(figure)):
        assert colour in tokens(dark=False) and colour in tokens(dark=True)


@pytest.mark.parametrize("kind", charts.CHARTS)
def test_nothing_measured_is_said_in_a_sentence(kind: str):
    for lang in LANGS:
        drawing = charts.draw(kind, [], lang)
        assert drawing.figure is None and drawing.empty == words(lang)["charts.empty.points"]


def test_an_unknown_chart_names_those_there_are():
    with pytest.raises(NotFound, match=r"pie.*throughput-latency"):
        charts.draw("pie", [], "en")


def test_a_point_is_drawn_where_its_figures_say():
    points = cp.load_points(repeats=1)
    drawing = charts.draw("throughput-latency", points, "en")
    assert drawing.figure
    line = next(t for t in drawing.figure["data"] if "lines" in t["mode"])
    assert line["x"] == [p.figures["output_throughput"] for p in points]
    assert line["y"] == [p.figures["e2el_median_ms"] for p in points]
    assert [row[1] for row in drawing.rows] == [str(n) for n in cp.LOADS]


def test_long_waits_are_drawn_in_seconds():
    slow = [
        p.model_copy(update={"figures": {**p.figures, "e2el_median_ms": 30_000.0}})
        for p in cp.load_points(repeats=1)
    ]
    drawing = charts.draw("throughput-latency", slow, "en")
    assert drawing.head[3] == "End-to-end latency, median (s)"
    assert drawing.rows[0][3] == 30.0


def test_the_title_says_where_more_users_stop_paying():
    title = charts.draw("throughput-latency", SETS["one server"], "en").title
    assert "64 users" in title and "tok/s" in title
    grows = charts.draw("throughput-latency", cp.load_points(loads=(1, 2, 4)), "en").title
    assert grows.startswith("Throughput still grows at 4 users")


def test_three_repeats_have_an_interval_and_two_a_range():
    three = charts.draw("throughput-latency", cp.load_points(repeats=3), "en")
    two = charts.draw("throughput-latency", cp.load_points(repeats=2), "en")
    once = charts.draw("throughput-latency", cp.load_points(repeats=1), "en")
    assert any("95 % interval of the mean over 3" in note.text for note in three.notes)
    assert any("smallest to largest of 2" in note.text for note in two.notes)
    assert not any("bars" in note.text for note in once.notes)
    assert three.figure and once.figure
    assert "error_y" in three.figure["data"][0] and "error_y" not in once.figure["data"][0]


def test_failed_points_are_marked_and_told():
    failing = cp.load_points(failed=(256,))
    for kind in ("percentiles", "throughput-latency", "heat"):
        drawing = charts.draw(kind, failing, "en")
        assert drawing.notes[0].tone == "bad"
        assert drawing.notes[0].text.startswith("3 of 27 measurements failed.")
        assert "closed the connection" in drawing.notes[0].text
    marked = charts.draw("percentiles", failing, "en").figure
    assert marked and any(a["text"] == "× failed" for a in marked["layout"]["annotations"])
    row = charts.draw("compare", cp.training_points(), "en", metric="tokens_per_s").figure
    assert row and any(a["text"] == "× failed" for a in row["layout"]["annotations"])


def test_many_series_are_named_up_to_eight_and_the_rest_is_grey():
    drawing = charts.draw("throughput-latency", MANY, "en")
    assert len(drawing.keys) == MOST
    assert any("3 more are drawn thin and grey" in note.text for note in drawing.notes)
    assert drawing.figure
    thin = [t for t in drawing.figure["data"] if t["mode"] == "lines"]
    assert len(thin) == 3 and {row[0] for row in drawing.rows} == {p.case for p in MANY}


def test_a_series_is_named_by_what_tells_it_apart_and_nothing_else():
    cases = series_of("en", cp.scaling_points(), x="concurrency", names={"tp2": "TP=2"})
    assert [s.name for s in cases] == ["one-card", "TP=2", "replicas"]
    lengths = series_of("zh", GRID, x="concurrency")
    assert lengths[0].name == "输入 128，输出 128 token" and len(lengths) == 4
    prompts = [*cp.load_points(lengths=(128, 64)), *cp.load_points(lengths=(2048, 64))]
    short = series_of("en", prompts, x="concurrency")
    assert [s.name for s in short] == ["128 tokens in", "2048 tokens in"]
    assert "64 tokens out" in charts.draw("throughput-latency", prompts, "en").about
    days = [
        *cp.load_points(results="a_20260101-080000"),
        *cp.load_points(results="b_20260102-093000"),
    ]
    assert [s.name for s in series_of("en", days, x="concurrency")] == [
        "2026-01-01 08:00",
        "2026-01-02 09:30",
    ]


def test_a_cases_own_summary_is_not_drawn_beside_its_loads():
    summary = Point(id="tp2", case="tp2", figures={"output_throughput": 1.0})
    series = series_of("en", [*cp.scaling_points(), summary], x="concurrency")
    assert len(series) == 3 and all(len(s.spots) == 3 for s in series)


def test_a_name_at_the_end_of_a_line_says_its_load():
    """A number above a point would lie under the name of another line."""
    points = cp.scaling_points()
    figure = charts.draw("throughput-latency", points, "en").figure
    names = [a["text"] for a in figure["layout"]["annotations"] if "users" in a["text"]]
    assert len(names) == 3 and all(name.endswith(" · 128 users") for name in names)
    assert not any(trace.get("mode") == "markers+text" for trace in figure["data"])


def test_history_marks_versions_and_follows_one_load():
    drawing = charts.draw("history", cp.history_points(), "en")
    assert drawing.figure
    marked = [a["text"] for a in drawing.figure["layout"]["annotations"]]
    assert [m for m in marked if m.startswith("vllm")] == ["vllm 0.1.0", "vllm 0.2.0", "vllm 0.3.0"]
    assert len(drawing.rows) == 5 and "128 users" in drawing.about
    assert "since 2026-" in drawing.title


def test_the_pareto_line_holds_what_nothing_beats():
    drawing = charts.draw("pareto", cp.scaling_points(), "en")
    assert drawing.figure
    edge = drawing.figure["data"][0]
    users, cards = edge["x"], edge["y"]
    assert users == sorted(users) and cards == sorted(cards, reverse=True)
    rows = [(row[2], row[3]) for row in drawing.rows]
    for x, y in zip(users, cards, strict=True):
        assert not any(a > x and b > y for a, b in rows)


def test_win_rates_close_together_are_not_called():
    drawing = charts.draw("quality", cp.quality_points(), "en")
    assert drawing.title == "Fine-tuned and Quantized are too close to call (Win rate 63.0 %)"
    low, high = next((row[3], row[4]) for row in drawing.rows if row[0] == "Fine-tuned")
    assert 0.5 < low < 0.63 < high < 0.75


def test_labels_never_cover_each_other():
    moved = look.apart([100, 102, 101, 300])
    at = sorted(a + b for a, b in zip([100, 102, 101, 300], moved, strict=True))
    assert all(b - a > look.LABEL_GAP - 0.1 for a, b in pairwise(at))
    assert abs(moved[3]) < 0.1


def test_only_charts_that_show_something_are_offered():
    assert charts.fitting([]) == []
    offered = {name: charts.fitting(points) for name, points in SETS.items()}
    assert "scaling" in offered["three cases"] and "heat" in offered["lengths"]
    assert "quality" in offered["quality"] and "history" in offered["history"]
    assert "memory" in offered["training"] and "percentiles" not in offered["one point"]


def test_the_table_of_what_is_drawn_has_units_and_opens_in_a_spreadsheet(tmp_path: Path):
    drawing = charts.draw("compare", cp.scaling_points(), "zh")
    path = write(drawing, tmp_path / "x.csv")
    text = path.read_text("utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert text.splitlines()[0] == "系列,同时在线的用户数,输出吞吐量 (tok/s),下限,上限,重复次数"
    assert len(text.splitlines()) == 1 + len(drawing.rows)


def test_a_picture_by_itself_has_its_title_and_real_colours(tmp_path: Path):
    drawing = charts.draw("percentiles", cp.scaling_points(), "en")
    path = write(drawing, tmp_path / "x.json")
    figure = json.loads(path.read_text())
    assert figure["layout"]["title"]["text"] == drawing.title and "--l-" not in path.read_text()
    assert figure["data"][0]["line"]["color"] == tokens(dark=False)["--l-s0"]
    with pytest.raises(StudioError, match="svg"):
        write(drawing, tmp_path / "x.bmp")
    with pytest.raises(StudioError, match="nothing to draw"):
        write(charts.draw("percentiles", [], "en"), tmp_path / "x.json")


def test_a_picture_without_kaleido_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(StudioError, match=r"ladder-studio\[plots\]"):
        write(charts.draw("scaling", cp.scaling_points(), "en"), tmp_path / "x.svg")


def test_titles_are_broken_between_words_and_chinese_anywhere():
    assert wrapped("one two three", 9) == ["one two", "three"]
    assert wrapped("输出吞吐量", 4) == ["输出", "吞吐", "量"]
    assert wrapped("a < b", 40) == ["a &lt; b"]


def test_colours_are_those_of_the_template_and_can_be_read():
    from ui.test_contrast import contrast

    light = tokens(dark=False)
    assert tuple(light[f"--l-s{n}"] for n in range(len(plots.SERIES))) == plots.SERIES
    for dark in (False, True):
        found = tokens(dark=dark)
        for number in range(MOST):
            assert contrast(found[f"--l-s{number}-text"], found["--l-surface"]) >= 4.5
            assert contrast(found[f"--l-s{number}"], found["--l-surface"]) >= 2.8
        assert contrast(found["--l-heat-low-text"], found["--l-heat-1"]) >= 4.5
        assert contrast(found["--l-heat-high-text"], found["--l-heat-3"]) >= 4.5
    assert coloured({"a": ["--l-s0/0.5"]}) == {"a": ["rgba(47,111,235,0.5)"]}


def test_a_place_says_what_it_wants_and_is_kept_when_the_page_changes():
    html = charts.place("scaling", results=["a", "b"], metric="goodput", limit=24)
    assert 'data-ladder-live="bench/chart"' in html and "data-ladder-keep" in html
    query = re.search(r'data-query="([^"]+)"', html)
    assert query and json.loads(query[1].replace("&quot;", '"')) == {
        "kind": "scaling",
        "results": "a,b",
        "metric": "goodput",
        "limit": "24",
    }


def test_what_the_page_gets_is_plain():
    points = cp.scaling_points()
    both = [charts.draw("scaling", points, "en", narrow=narrow) for narrow in (False, True)]
    told = json.loads(json.dumps(plain(*both), allow_nan=False))
    assert told["wide"]["layout"]["height"] < told["narrow"]["layout"]["height"]
    assert told["table"]["head"] and told["picture"]["title"]["text"] == told["title"]


def test_a_name_is_no_html():
    points = cp.load_points("<a href='x'>y</a>", loads=(1, 8, 64))
    named = {p.case: p.case for p in points}
    drawing = charts.draw("compare", [*points, *cp.load_points("b")], "en", names=named)
    assert "<a" not in json.dumps(drawing.figure) and "‹a" in json.dumps(
        drawing.figure, ensure_ascii=False
    )


def test_prompts_of_a_file_have_no_length_to_tell() -> None:
    assert said("en", "lengths", (None, 64), {}) == "64 tokens out"
    assert said("zh", "lengths", (512, 64), {}) == "输入 512，输出 64 token"


def test_loads_that_stand_close_share_no_tick():
    """Beside each other on half a page 128 and 256 ran into each other."""
    loads = [1, 8, 32, 128, 256]
    assert look.load_axis(loads, "users", least=0.13)["tickvals"] == [1, 8, 32, 256]
    assert look.load_axis(loads, "users")["tickvals"] == loads

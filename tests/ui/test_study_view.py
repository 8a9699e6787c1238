"""The Studies view through its routes and its API, on a page served for real."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import free_port
from gradio_client import Client
from gradio_client.exceptions import AppError
from ui import study_seeds

from studio.core.settings import Settings
from studio.core.spec import State
from studio.studies.record import Phase
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page
from studio.ui.study.settings import study_recipes

PROCESSES = "studies/smoke-processes"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(Settings(home=tmp_path_factory.mktemp("home"), port=free_port(18900)))


@pytest.fixture(scope="module")
def url(studio: Studio, done: str) -> Iterator[str]:
    served = launch_page(studio, only="bench")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def done(studio: Studio) -> str:
    return study_seeds.study(studio)


def get(url: str, path: str, lang: str = "en", **query: str) -> dict[str, Any]:
    asked = urllib.parse.urlencode(query)
    headers = {"cookie": f"ladder_lang={lang}"}
    request = urllib.request.Request(f"{url}/ladder/study/{path}?{asked}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def plan(url: str, lang: str = "en", recipe: str = PROCESSES, **settings: Any) -> dict[str, Any]:
    ask = {"engine": "study", "settings": settings, "recipe": recipe}
    return get(url, "plan", lang, ask=json.dumps(ask))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_study_is_a_card_with_its_question_and_needs(
    url: str, studio: Studio, lang: str
) -> None:
    html = get(url, "cards", lang)["html"]
    recipes = study_recipes(studio)
    assert len(recipes) >= 12
    for recipe in recipes:
        assert f'data-study-open="{recipe.name}"' in html
        assert recipe.title[lang] in html.replace("&#x27;", "'")
    assert ("不用显卡" if lang == "zh" else "no card") in html
    assert (
        "需要 2 张卡，本机有 0 张" if lang == "zh" else "Needs 2 cards, this machine has 0"
    ) in html


def test_every_study_opens_and_tells_what_it_would_run(url: str, studio: Studio) -> None:
    for recipe in study_recipes(studio):
        assert get(url, "form", recipe=recipe.name)["recipe"] == recipe.name
        answer = plan(url, recipe=recipe.name, repeats=2)
        assert not answer["blocked"], recipe.name
        assert answer["plan"].count('class="l-case-plan"') >= len(recipe.settings["cases"])
        assert f"python app.py study {recipe.name.removeprefix('studies/')}" in answer["preview"]


def test_the_plan_shows_each_cases_command(url: str) -> None:
    html = plan(url)["plan"]
    assert "One process" in html and "Two processes" in html
    assert html.count("data-ladder-copy") == 2 and "llamafactory" in html
    assert "envs" not in html or "is built first" in html
    only = plan(url, cases="two")
    assert only["verdict"] == "1 cases will run" and "One process" not in only["plan"]


def test_a_wrong_setting_is_told_before_the_start(url: str) -> None:
    answer = plan(url, common=["max_stepz=4"])
    assert answer["blocked"] and "max_steps" in answer["plan"]
    assert "max_steps" in plan(url, "zh", common=["max_stepz=4"])["plan"]


def test_a_study_that_was_never_asked_says_what_is_expected(url: str) -> None:
    html = get(url, "head", study="studies/zero-stages")["html"]
    assert "Not asked yet" in html and "What is expected" in html
    assert get(url, "list", study="studies/zero-stages")["html"] == ""


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_results_show_verdict_cases_charts_points_and_ways_out(
    url: str, done: str, lang: str
) -> None:
    asked = {"study": PROCESSES, "name": done}
    assert f'data-study-show="{done}"' in get(url, "list", lang, **asked)["html"]
    head = get(url, "head", lang, **asked)["html"]
    assert f"ladder/bench/report/{done}" in head and f"ladder/bench/journal/{done}" in head
    assert "study-delete" in head and "study-resume" not in head
    assert ("未达到预期" if lang == "zh" else "Not met") in get(url, "verdict", lang, **asked)[
        "html"
    ]
    assert ("两个进程" if lang == "zh" else "Two processes") in get(url, "cases", lang, **asked)[
        "html"
    ]
    assert 'data-kind="scaling"' in get(url, "charts", lang, **asked)["html"]
    points = get(url, "points", lang, **asked)["html"]
    assert points.count("<tr>") == 1 + 6
    assert "max_steps" not in points, "what all points of a case share is left out"
    assert ("条件" if lang == "zh" else "Condition") not in points, "an empty column"


def test_without_a_name_the_newest_results_are_shown(url: str, done: str) -> None:
    assert done in get(url, "head", study=PROCESSES)["html"]


def test_what_was_interrupted_can_go_on(url: str, studio: Studio) -> None:
    phases = {"two": (Phase.MEASURING, "")}
    name = study_seeds.study(studio, phases=phases, ended=None)
    asked = {"study": PROCESSES, "name": name}
    head = get(url, "head", **asked)["html"]
    assert f'data-act="study-resume" data-value="{name}"' in head
    assert "Interrupted" in get(url, "cases", **asked)["html"]
    studio.saved.delete(name)
    until = time.monotonic() + 10
    while "no longer there" not in get(url, "head", **asked)["html"]:
        assert time.monotonic() < until


def test_results_of_another_machine_have_no_wrong_state(url: str, studio: Studio) -> None:
    """A copied folder: its run is not here, so nobody knows that it was lost or interrupted."""
    name = study_seeds.study(studio, ended=None, run="20260101-000000-elsewhere")
    (studio.saved.get(name).folder / "state.jsonl").unlink()
    asked = {"study": PROCESSES, "name": name}
    head = get(url, "head", **asked)["html"]
    assert "Measured elsewhere" in head and "not in this home" in head
    assert not {"Lost", "Elapsed"} & set(re.findall(r"\w+", head))
    cases = get(url, "cases", **asked)["html"]
    assert "Interrupted" not in cases and "Measured elsewhere" in cases
    studio.saved.delete(name)


def test_a_copy_under_another_name_opens_as_the_study_it_is_of(url: str, studio: Studio) -> None:
    name = study_seeds.study(studio)
    copy = studio.saved.root / "a copy 副本"
    studio.saved.get(name).folder.rename(copy)
    head = get(url, "question", study="studies/a copy 副本", name=copy.name)["html"]
    assert f'data-study-is="{PROCESSES}" data-name="{copy.name}"' in head
    assert "data-study-is" not in get(url, "question", study=PROCESSES, name=copy.name)["html"]
    assert "1.25" in get(url, "verdict", study=PROCESSES, name=copy.name)["html"]
    studio.saved.delete(copy.name)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_study_that_is_not_here_never_shows_the_form_of_another(url: str, lang: str) -> None:
    """A link to it left the form of the study before: its button would have started that one."""
    form = get(url, "form", lang, recipe="studies/nobody")
    assert form["recipe"] == "studies/nobody" and "<input" not in form["html"]
    assert "nobody" in form["html"] and "data-form" in form["html"]  # which is then planned
    assert plan(url, lang, recipe="studies/nobody")["blocked"]
    assert "nobody" in get(url, "question", lang, study="studies/nobody")["html"]


def test_a_lost_verdict_is_judged_anew_from_the_rows(url: str, studio: Studio) -> None:
    name = study_seeds.study(studio)
    kept = studio.saved.get(name).folder / "verdict.json"
    told = json.loads(kept.read_text())
    kept.write_text('{"v": 1, "verd')
    until = time.monotonic() + 10  # looks are shared for a moment
    while "1.25" not in get(url, "verdict", study=PROCESSES, name=name)["html"]:
        assert time.monotonic() < until
    assert json.loads(kept.read_text()) == told
    studio.saved.delete(name)


def test_a_study_that_expects_nothing_is_not_judged_at_every_look(url: str, studio: Studio) -> None:
    name = study_seeds.study(studio)
    kept = studio.saved.get(name).folder / "verdict.json"
    kept.write_text('{"v": 1, "verdicts": []}')
    get(url, "verdict", study=PROCESSES, name=name)
    assert kept.read_text() == '{"v": 1, "verdicts": []}'
    studio.saved.delete(name)


def test_a_study_without_its_about_is_still_a_study(url: str, studio: Studio) -> None:
    name = study_seeds.study(studio)
    (studio.saved.get(name).folder / "about.json").write_text("")
    assert studio.saved.get(name).about.kind == "study"
    assert name in get(url, "head", study=PROCESSES, name=name)["html"]
    studio.saved.delete(name)


def test_scripts_read_state_and_verdicts(client: Client, done: str) -> None:
    state = client.predict(done, api_name="/study_state")
    assert state["phase"] == "done" and [cell["name"] for cell in state["cells"]] == ["one", "two"]
    assert (state["rows"], state["rows_done"], state["points"]) == (6, 6, 6)
    verdicts = client.predict(done, api_name="/study_verdict")
    assert [row["state"] for row in verdicts] == ["not_met", "met", "met"]
    assert verdicts[0]["value"] == pytest.approx(study_seeds.SPEED_UP)
    assert verdicts[0]["goal"] == "at least 1.80×" and verdicts[0]["possible_here"]
    with pytest.raises(AppError, match="no results called nothing"):
        client.predict("nothing", api_name="/study_state")


def test_a_script_begins_a_study_and_stops_it(client: Client, studio: Studio, url: str) -> None:
    with pytest.raises(AppError, match="not a setting"):
        client.predict("smoke-processes", {"max_stepz": 1}, api_name="/study_launch")
    changes = {"repeats": 1, "cases": ["one"], "max_steps": 2}
    run_id = client.predict("smoke-processes", changes, api_name="/study_launch")
    config = studio.jobs.get(run_id).spec.config
    assert list(config["cases"]) == ["one"] and config["common"]["max_steps"] == 2
    assert "study-stop" in get(url, "head", study=PROCESSES, name=run_id)["html"]
    studio.jobs.stop(run_id)
    assert studio.jobs.wait(run_id, timeout_s=60).state in (State.STOPPED, State.FAILED)
    for run in studio.jobs.list():  # the environment that it wanted built first
        if run.state.alive:
            studio.jobs.stop(run.id, now=True)
            studio.jobs.wait(run.id, timeout_s=60)


def test_guests_have_no_studies(studio: Studio) -> None:
    guest = Account.make("gus", "just looking", "guest")
    served = launch_page(studio, only="bench", accounts=[guest])
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(served.url, "cards")
        assert refused.value.code == 401
    finally:
        served.close()

"""The Quality view through its routes and its API, on a page served for real."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from conftest import free_port
from gradio_client import Client
from gradio_client.exceptions import AppError
from ui import study_seeds

from studio.core.settings import Settings
from studio.quality.folder import Answer, Folder
from studio.studio import Studio
from studio.ui.page.launch import launch_page
from studio.ui.quality.form import as_yaml

NUM = 4


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(Settings(home=tmp_path_factory.mktemp("home"), port=free_port(18950)))


@pytest.fixture(scope="module")
def name(studio: Studio) -> str:
    return study_seeds.comparison(studio, NUM + 1, same=1)


@pytest.fixture(scope="module")
def url(studio: Studio, name: str) -> Iterator[str]:
    served = launch_page(studio, only="bench")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def get(url: str, path: str, lang: str = "en", **query: str) -> dict[str, Any]:
    asked = urllib.parse.urlencode(query)
    headers = {"cookie": f"ladder_lang={lang}"}
    request = urllib.request.Request(f"{url}/ladder/quality/{path}?{asked}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def plan(url: str, lang: str = "en", **settings: Any) -> dict[str, Any]:
    return get(url, "plan", lang, ask=json.dumps({"engine": "quality", "settings": settings}))


def test_the_form_offers_question_files_and_a_judges_prompt(url: str, studio: Studio) -> None:
    found = get(url, "form")
    assert found["recipe"] == "quality/general"
    html = unescape(found["html"])
    assert 'data-line-add="assets/data/questions-smoke.jsonl"' in html
    prompt = studio.recipes.get("quality/general").settings["judge_prompt"]
    assert as_yaml(prompt) in html, "as the recipe writes it, over several lines"
    assert get(url, "form", recipe="lm-eval/smoke")["engine"] == "lm-eval"


def test_the_judges_prompt_survives_the_way_through_the_form(studio: Studio) -> None:
    settings = studio.recipes.get("quality/general").settings
    _, shipped = studio.validate("quality", settings)
    _, typed = studio.validate(
        "quality", {**settings, "judge_prompt": as_yaml(settings["judge_prompt"])}
    )
    assert typed == shipped


def test_the_plan_counts_what_will_be_asked_and_who_is_silent(url: str) -> None:
    answer = plan(url, questions="assets/data/questions-smoke.jsonl", answers_from=["nobody"])
    assert "Not answering now: nobody" in answer["plan"] and not answer["fits"]
    assert ">14<" in answer["plan"]
    missing = plan(url, "zh", questions="assets/data/none.jsonl", answers_from=["nobody"])
    assert "assets/data/none.jsonl" in missing["plan"]


@pytest.mark.parametrize(("lang", "title"), [("en", "What it comes to"), ("zh", "要答多少")])
def test_the_plan_counts_questions_and_says_so(url: str, lang: str, title: str) -> None:
    frame = get(url, "work", lang)["html"]
    assert title in frame and "Does it fit" not in frame and "放得下" not in frame


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nothing_tells_names_before_the_votes(url: str, name: str, lang: str) -> None:
    html = get(url, "pair", lang, name=name)["html"]
    assert "base" not in html and "tuned" not in html
    assert 'data-key="1"' in html and 'data-key="2"' in html and 'data-key="0"' in html
    assert "What is" in html and ("回答 1" if lang == "zh" else "Answer 1") in html
    assert get(url, "wins", lang, name=name)["html"] == ""
    assert "win_rate" not in get(url, "table", lang, name=name)["html"]
    answers = get(url, "answers", lang, name=name)["html"]
    assert answers.count("l-asked-shut") == NUM and "enut" not in answers


def test_votes_of_a_script_are_kept_and_taken_back(client: Client, url: str, name: str) -> None:
    ballot = client.predict(name, api_name="/quality_ballot")
    assert (ballot["number"], ballot["of"]) == (1, NUM) and "label" not in ballot
    with pytest.raises(AppError, match="is no vote"):
        client.predict(name, ballot["pair"], "both", api_name="/quality_vote")
    with pytest.raises(AppError, match="no such pair"):
        client.predict(name, "ffff", "left", api_name="/quality_vote")
    left = client.predict(name, ballot["pair"], "left", api_name="/quality_vote")
    assert (left["voted"], left["of"], left["same"]) == (1, NUM, 1)
    assert client.predict(name, "", "undo", api_name="/quality_vote")["voted"] == 0
    assert client.predict(name, api_name="/quality_ballot")["pair"] == ballot["pair"]


def test_the_last_vote_opens_names_win_rate_and_table(
    client: Client, url: str, name: str, studio: Studio
) -> None:
    for _ in range(NUM):
        ballot = client.predict(name, api_name="/quality_ballot")
        tuned = "left" if ballot["left"][0].startswith("denut") else "right"
        client.predict(name, ballot["pair"], tuned, api_name="/quality_vote")
    assert client.predict(name, api_name="/quality_ballot") is None
    assert "All voted" in get(url, "pair", name=name)["html"]
    wins = get(url, "wins", name=name)["html"]
    assert f"{NUM} won, 0 tied, 0 lost" in wins and "tuned" in wins
    low, high = studio.quality.overview(name).models[1].voted.interval or (0, 0)
    assert f"between {low * 100:.0f} % and {high * 100:.0f} %" in wins
    table = get(url, "table", name=name)["html"]
    assert "tuned" in table and "100" in table and "80.0" in table, "quality beside speed"
    answers = get(url, "answers", name=name)["html"]
    assert "denut: it is 2" in answers and "l-asked-shut" not in answers
    rows = client.predict([name], api_name="/quality_table")["rows"]
    assert rows[1]["cells"]["votes:win_rate"]["value"] == 1.0


def test_words_of_a_model_cannot_become_a_page(studio: Studio, url: str) -> None:
    other = study_seeds.comparison(studio, 1)
    folder = Folder(studio.quality.get(other).folder)
    folder.add(Answer(question="q0", model="base", turns=("<img src=x onerror=alert(1)>",)))
    html = get(url, "pair", name=other)["html"]
    assert "<img" not in html and "&lt;img" in html

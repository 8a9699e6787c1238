"""The Train tab through its API and its routes, on a page served for real."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import free_port
from gradio_client import Client
from ui import trainings

from studio.core.settings import Settings
from studio.jobs.jobs import Jobs
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page
from studio.ui.train.form import ENGINES

TINY = {
    "model_name_or_path": trainings.TINY,
    "dataset": "smoke_new_facts",
    "template": "qwen",
    "use_cpu": True,
}
YAML = """\
### model
model_name_or_path: Qwen/Qwen2.5-7B-Instruct
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
dataset: identity,alpaca_en_demo
template: qwen
output_dir: saves/x
learning_rate: 1.0e-4
neftune_noise_alpha: 5
deepspeed: examples/deepspeed/ds_z2_config.json
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    home = tmp_path_factory.mktemp("home")
    return Studio(Settings(home=home, port=free_port(18600)))


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    served = launch_page(studio, only="train")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def get(url: str, path: str, lang: str = "en", **query: str) -> dict[str, Any]:
    asked = urllib.parse.urlencode(query)
    headers = {"cookie": f"ladder_lang={lang}"}
    request = urllib.request.Request(f"{url}/ladder/{path}?{asked}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def plan(url: str, settings: dict[str, Any], lang: str = "en", **more: Any) -> dict[str, Any]:
    ask = {"engine": "llamafactory-train", "settings": settings, **more}
    return get(url, "train/plan", lang, ask=json.dumps(ask))


def paste(url: str, text: bytes, lang: str = "en") -> dict[str, Any]:
    headers = {"cookie": f"ladder_lang={lang}"}
    request = urllib.request.Request(f"{url}/ladder/train/yaml", text, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_only_this_tabs_api_exists(client: Client) -> None:
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    verbs = ("launch", "plan", "yaml", "checkpoints", "resume")
    assert names == {f"/train_{verb}" for verb in verbs}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_form_opens_with_the_tiny_lora(url: str, lang: str) -> None:
    found = get(url, "train/form", lang)
    assert found["recipe"] == "llamafactory/smoke-lora"
    html = found["html"]
    order = ("model_name_or_path", "stage", "finetuning_type", "dataset", "template")
    places = [html.index(f'data-name="{name}"') for name in order]
    assert places == sorted(places) and max(places) < html.index("l-groups")
    assert 'data-toggle-word="smoke_new_facts"' in html, "data sets are one click away"
    assert ("添加数据" if lang == "zh" else "Add data") in html
    assert '<option value="ppo" disabled' in html and "trl &lt;= 0.9.6" in html


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_empty_states_and_frame_speak_both_languages(url: str, lang: str) -> None:
    chinese = lang == "zh"
    assert ("还没有训练过" in get(url, "train/list", lang)["html"]) == chinese
    assert ("粘贴 LLaMA-Factory YAML" in get(url, "train/work", lang)["html"]) == chinese


def test_every_training_recipe_opens_and_previews_or_says_why(url: str, studio: Studio) -> None:
    cards = get(url, "train/choices")["html"]
    for recipe in studio.recipes.list():
        offered = f'data-choose="{recipe.name}"' in cards
        assert offered == (recipe.engine in ENGINES), recipe.name
        if offered:
            form = get(url, "train/form", recipe=recipe.name)
            assert form["engine"] == recipe.engine
            ask = {"engine": recipe.engine, "settings": recipe.settings, "recipe": recipe.name}
            answer = get(url, "train/plan", ask=json.dumps(ask))
            assert answer["plan"] and answer["preview"], recipe.name


def test_the_preview_shows_every_file_as_it_will_be_written(url: str) -> None:
    preview = plan(url, {**TINY, "strategy": "zero2", "num_processes": 2})["preview"]
    for page in ("sh", "train.yaml", "ds.json", "portable"):
        assert f'data-form-page="{page}"' in preview
    assert "zero_optimization" in preview and 'download="llamafactory.yaml"' in preview


def test_the_template_that_fits_is_one_click_away(url: str) -> None:
    settings = {"model_name_or_path": "Qwen/Qwen3-8B", "dataset": "smoke_new_facts"}
    answer = plan(url, settings)
    assert answer["blocked"] and answer["faults"] == ["template"]
    assert "Qwen3-8B wants the template qwen3" in answer["plan"]
    assert "data-form-set" in answer["plan"]
    assert "wants the template" not in plan(url, {**settings, "template": "qwen3"})["plan"]
    assert "应使用模板 qwen3" in plan(url, settings, "zh")["plan"]


def test_a_pasted_yaml_fills_the_form_and_tells_what_was_moved(url: str) -> None:
    found = paste(url, YAML.encode())
    settings = found["ask"]["settings"]
    assert settings["lora_rank"] == 16 and settings["strategy"] == "zero2"
    assert settings["extra_args"] == ["neftune_noise_alpha=5"]
    assert "output_dir" in found["html"] and "neftune_noise_alpha=5" in found["html"]
    chinese = paste(url, YAML.encode(), "zh")["html"]
    assert "已填入" in chinese and "原样传给引擎" in chinese
    form = get(url, "train/form", ask=json.dumps(found["ask"]))
    assert "Qwen/Qwen2.5-7B-Instruct" in form["html"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"- a\n- b\n", "not a YAML of LLaMA-Factory"),
        (b"a: [1\n", "not YAML"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"x: " + b"y" * 300_000, "too long"),
        (b"export_dir: x\nmodel_name_or_path: y\n", "no training"),
    ],
)
def test_what_is_no_yaml_of_a_training_is_a_sentence(url: str, text: bytes, words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        paste(url, text)
    assert caught.value.code == 400 and words in json.load(caught.value)["error"]


def test_scripts_read_a_yaml_and_plan_it(client: Client) -> None:
    found = client.predict(YAML, api_name="/train_yaml")
    assert found["engine"] == "llamafactory-train" and found["notes"]
    planned = client.predict("llamafactory-train", TINY, "", api_name="/train_plan")
    assert "llamafactory-cli train" in planned["command"]
    with pytest.raises(Exception, match="neither a number nor a list"):
        client.predict("llamafactory-train", TINY, "six", api_name="/train_launch")


def test_curves_by_route(url: str, studio: Studio, client: Client) -> None:
    run = trainings.training(studio, name="one", steps=3000, eval_every=500, save_every=1000)
    other = trainings.training(studio, name="two", steps=40)
    answer = get(url, f"run/{run.id}/series", also=f"{other.id},gone")
    assert [drawn["name"] for drawn in answer["runs"]] == ["one", "two"] and answer["final"]
    loss = answer["runs"][0]["curves"]["loss"]
    assert len(loss["x"]) == len(loss["y"]) < 800 and loss["n"] == 3000 and "mx" in loss
    assert {"loss", "eval_loss", "lr", "throughput"} <= set(answer["runs"][0]["curves"])
    assert "mx" not in answer["runs"][1]["curves"]["loss"]
    again = get(url, f"run/{run.id}/series", also=other.id, have=answer["version"])
    assert "runs" not in again and again["version"] == answer["version"]
    assert "3,000" in get(url, f"run/{run.id}/training")["html"]
    assert "one" in get(url, f"run/{run.id}/head")["html"], "also with this tab alone"
    found = client.predict(run.id, api_name="/train_checkpoints")
    assert [row["step"] for row in found] == [1000, 2000, 3000] and found[0]["resumable"]


def test_a_run_that_is_not_there(url: str) -> None:
    for path in ("series", "training", "machine", "after"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(url, f"run/nothing/{path}")
        assert caught.value.code == 404


def test_guests_get_nothing_of_it(settings: Settings, jobs: Jobs) -> None:
    settings = settings.model_copy(update={"port": free_port(18650)})
    accounts = [Account.make("ann", "password1"), Account.make("guest", "password2", "guest")]
    studio = Studio(settings)
    served = launch_page(studio, accounts=accounts)
    try:
        guest = Client(served.url, auth=("guest", "password2"), verbose=False)
        for name, words in [
            ("/train_launch", ["llamafactory-train", TINY, ""]),
            ("/train_plan", ["llamafactory-train", TINY, ""]),
            ("/train_yaml", [YAML]),
            ("/train_checkpoints", ["x"]),
            ("/train_resume", ["x", None]),
        ]:
            with pytest.raises(Exception):  # noqa: B017 - the client raises several kinds
                guest.predict(*words, api_name=name)
        cookies = "; ".join(f"{key}={value}" for key, value in guest.cookies.items())
        for path in ("train/list", "train/form", "train/yaml"):
            data = YAML.encode() if path == "train/yaml" else None
            address = f"{served.url}/ladder/{path}"
            request = urllib.request.Request(address, data, {"cookie": cookies})
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=30)
            assert caught.value.code in (401, 403)
    finally:
        served.close()
    assert jobs.list() == []

"""The Serve tab through its API and its routes, on a page served for real."""

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

from studio.core.settings import Settings
from studio.jobs.jobs import Jobs
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page

TINY = {
    "model": "assets/models/tiny-qwen2.5",
    "dtype": "float32",
    "max_model_len": 2048,
    "kv_cache_memory_bytes": 64 * 2**20,
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    home = tmp_path_factory.mktemp("home")
    return Studio(Settings(home=home, port=free_port(18900)))


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    served = launch_page(studio, only="serve")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def get(url: str, path: str, **query: str) -> dict[str, Any]:
    asked = urllib.parse.urlencode(query)
    request = urllib.request.Request(f"{url}/ladder/{path}?{asked}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def plan(url: str, settings: dict[str, Any], on: str = "", **more: Any) -> dict[str, Any]:
    ask = {"engine": "vllm", "settings": settings, **more}
    return get(url, "serve/plan", ask=json.dumps(ask), on=on)


def test_only_this_tabs_api_exists(client: Client) -> None:
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names == {
        "/serve_launch",
        "/serve_plan",
        "/serve_forms",
        "/serve_endpoints",
        "/lora_load",
        "/lora_unload",
    }


def test_the_first_form_is_the_smoke_recipe(url: str) -> None:
    found = get(url, "serve/form")
    assert found["engine"] == "vllm" and "smoke" in found["recipe"]
    assert 'data-name="tensor_parallel_size"' in found["html"]
    assert "assets/models/tiny-qwen2.5" in found["html"]


def test_every_serving_recipe_opens_as_a_form_and_plans_or_says_why(
    url: str, studio: Studio
) -> None:
    cards = get(url, "serve/choices")["html"]
    for recipe in studio.recipes.list():
        if f'data-choose="{recipe.name}"' not in cards:
            assert not studio.engine(recipe.engine).serves or recipe.engine == "image-edit"
            continue
        form = get(url, "serve/form", recipe=recipe.name)
        assert form["engine"] == recipe.engine
        ask = {"engine": recipe.engine, "settings": recipe.settings, "recipe": recipe.name}
        answer = get(url, "serve/plan", ask=json.dumps(ask), on="8xa100")
        assert answer["plan"], recipe.name


def test_a_plan_that_fits_and_one_that_does_not(url: str) -> None:
    fits = plan(url, TINY, on="1x4090")
    assert "l-tone-ok" in fits["plan"] and not fits["blocked"] and fits["preview"]
    bad = plan(url, {**TINY, "kv_cache_memory_bytes": 90 * 2**30}, on="1x4090")
    assert "l-tone-bad" in bad["plan"] and "l-over" in bad["plan"]


def test_the_preview_is_the_command_that_runs(url: str, studio: Studio) -> None:
    answer = plan(url, TINY)
    assert "--max-model-len 2048" in answer["preview"]
    assert "docker run" in answer["preview"] and "services:" in answer["preview"]


def test_wrong_settings_are_named_and_nothing_can_be_launched(url: str) -> None:
    answer = plan(url, {**TINY, "tensor_parallel_size": 0})
    assert answer["blocked"] and answer["faults"] == ["tensor_parallel_size"]
    answer = plan(url, {"model": "/nowhere/at/all"})
    assert answer["blocked"] and "/nowhere/at/all" in answer["plan"]
    answer = plan(url, {})
    assert answer["blocked"] and answer["faults"] == ["model"]


def test_a_garbled_ask_is_a_sentence(url: str) -> None:
    for text in ("", "[]", "{}", '{"engine": "vllm"}', '{"engine":"vllm","settings":3}'):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(url, "serve/plan", ask=text)
        assert caught.value.code == 400
        assert "not what a form sends" in json.load(caught.value)["error"]


def test_chinese_form(url: str) -> None:
    request = urllib.request.Request(
        f"{url}/ladder/serve/form", headers={"cookie": "ladder_lang=zh"}
    )
    with urllib.request.urlopen(request) as answer:
        assert "张量并行" in json.load(answer)["html"]


def test_plan_and_forms_by_api(client: Client) -> None:
    found = client.predict("vllm", TINY, "", api_name="/serve_plan")
    assert found["serving"]["fits"] and found["serving"]["kv_tokens"] > 2048
    forms = client.predict("vllm", TINY, api_name="/serve_forms")
    assert set(forms) >= {"sh", "docker", "compose"}


def test_bad_cards_by_api_are_a_sentence(client: Client) -> None:
    with pytest.raises(Exception, match="neither a number nor a list"):
        client.predict("vllm", TINY, "six", 1, api_name="/serve_launch")
    assert client.predict(api_name="/serve_endpoints") == []


def test_guests_get_nothing_of_it(settings: Settings, jobs: Jobs) -> None:
    settings = settings.model_copy(update={"port": free_port(18950)})
    accounts = [Account.make("ann", "password1"), Account.make("guest", "password2", "guest")]
    served = launch_page(Studio(settings), accounts=accounts)
    try:
        guest = Client(served.url, auth=("guest", "password2"), verbose=False)
        for name, words in [
            ("/serve_launch", ["vllm", TINY, "", 1]),
            ("/serve_plan", ["vllm", TINY, ""]),
            ("/serve_forms", ["vllm", TINY]),
            ("/lora_load", ["x", "y", "/etc"]),
            ("/lora_unload", ["x", "y"]),
        ]:
            with pytest.raises(Exception):  # noqa: B017 - the client raises several kinds
                guest.predict(*words, api_name=name)
    finally:
        served.close()
    assert jobs.list() == []

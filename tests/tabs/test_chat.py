"""The Chat tab served for real: its API, its routes, and what guests may not do."""

from __future__ import annotations

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from chat.sse_server import FakeChat, Script, steady
from conftest import free_port, spec
from gradio_client import Client
from gradio_client.exceptions import AppError

from studio.chat.conversations import Conversations
from studio.core.settings import Settings
from studio.core.spec import EndpointSpec, Probe, State
from studio.jobs.jobs import Jobs, Run
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page

ENDLESS = 50 * 600
"""Words of an answer that nobody waits for."""
ACCOUNTS = (Account.make("ann", "a-password"), Account.make("visitor", "b-password", "guest"))


@pytest.fixture
def model() -> Iterator[FakeChat]:
    with FakeChat({"tiny": Script(pieces=["我是", "小梯", "。"]), "fast": steady(500, 0.02)}) as up:
        yield up


@pytest.fixture
def studio(settings: Settings, jobs: Jobs) -> Studio:
    return Studio(settings.model_copy(update={"port": free_port(18800)}))


@pytest.fixture
def serve(studio: Studio) -> Iterator[Callable[..., str]]:
    pages = []

    def up(**how) -> str:
        pages.append(launch_page(studio, only="chat", **how))
        return pages[-1].url

    yield up
    for page in pages:
        page.close()


def server(jobs: Jobs, delay_s: float = 0.0) -> Run:
    """Submit a fake engine that serves; it answers 200 to everything."""
    port = free_port(18900)
    one = spec(
        "serve",
        port,
        delay_s,
        serves=True,
        port=port,
        probe=Probe(path="/health"),
        endpoint=EndpointSpec(kind="chat", models=("tiny",)),
    )
    return jobs.submit(one)


def get(url: str, path: str, cookie: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"{url}/ladder/{path}", headers={"cookie": cookie})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_what_a_script_needs_has_a_name(serve: Callable[..., str]) -> None:
    client = Client(serve(), verbose=False)
    names = client.view_api(return_format="dict")["named_endpoints"]
    assert set(names) == {"/chat", "/endpoints", "/start_recipe"}
    asked = [p["parameter_name"] for p in names["/chat"]["parameters"]]
    assert asked[:4] == ["question", "endpoint", "model", "system"]


def test_chat_streams_what_the_model_says(
    serve: Callable[..., str], studio: Studio, model: FakeChat
) -> None:
    added = studio.external.add(model.url)
    client = Client(serve(), verbose=False)
    [known] = client.predict(api_name="/endpoints")
    assert (known["id"], known["models"]) == (added.id, ["tiny", "fast"])
    assert "key" not in json.dumps(known)
    assert client.predict("你是谁？", api_name="/chat") == "我是小梯。"
    sent = model.requests[-1]
    assert sent["messages"] == [{"role": "user", "content": "你是谁？"}]
    assert not {"temperature", "top_p", "max_tokens", "seed"} & sent.keys()

    job = client.submit("count", added.id, "fast", "Be brief.", 0, 0.9, 100, 7, api_name="/chat")
    seen = list(job)
    assert seen[-1].split()[-1] == "word99" and 3 <= len(seen) <= 12, "throttled, not per token"
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))
    sent = model.requests[-1]
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["seed"]) == (
        0,
        0.9,
        100,
        7,
    )
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}


def test_errors_are_sentences(serve: Callable[..., str], studio: Studio, model: FakeChat) -> None:
    client = Client(serve(), verbose=False)
    with pytest.raises(AppError, match="Nothing is running"):
        client.predict("hi", api_name="/chat")
    studio.external.add(model.url)
    with pytest.raises(AppError, match="temperature = 9"):
        client.predict("hi", "", "", "", 9, api_name="/chat")
    with pytest.raises(AppError, match="not running any more"):
        client.predict("hi", "url-gone", api_name="/chat")
    model.models["tiny"] = Script(status=500, body={"error": "CUDA out of memory"})
    with pytest.raises(AppError, match="CUDA out of memory"):
        client.predict("hi", api_name="/chat")
    with pytest.raises(AppError, match="no recipe"):
        client.predict("vllm/nothing", api_name="/start_recipe")


def test_cancel_stops_the_engine(
    serve: Callable[..., str], studio: Studio, model: FakeChat
) -> None:
    model.models = {"slow": Script(pieces=["word "] * ENDLESS, rate=50)}
    studio.external.add(model.url)
    # the client's own patience is 5 s
    client = Client(serve(), verbose=False, httpx_kwargs={"timeout": 60})
    job = client.submit("count", api_name="/chat")
    next(iter(job))
    job.cancel()
    until = time.monotonic() + 60
    while not model.gone and time.monotonic() < until:
        time.sleep(0.02)
    assert model.gone and model.gone[0][0] < ENDLESS


def test_a_run_appears_when_it_is_ready(serve: Callable[..., str], jobs: Jobs) -> None:
    url = serve()
    run = server(jobs, 1.0)
    status, body = get(url, f"chat/start/{run.id}")
    steps = json.loads(body)
    assert status == 200 and not steps["ready"] and not steps["ended"]
    assert "chat-active" in steps["html"] and "stop-start" in steps["html"]
    assert json.loads(get(url, "chat/endpoints")[1])["version"] == ""
    jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=120)
    assert json.loads(get(url, f"chat/start/{run.id}")[1])["ready"]
    assert json.loads(get(url, "chat/endpoints")[1])["version"] == run.id
    [known] = Client(url, verbose=False).predict(api_name="/endpoints")
    assert (known["run_id"], known["models"]) == (run.id, ["tiny"])


def test_a_server_that_fails_says_why(serve: Callable[..., str], jobs: Jobs) -> None:
    offer = EndpointSpec(kind="chat", models=("tiny",))
    run = jobs.submit(spec("leave", 3, serves=True, endpoint=offer))
    jobs.wait(run.id, timeout_s=120)
    steps = json.loads(get(serve(), f"chat/start/{run.id}")[1])
    assert steps["ended"] and "chat-bad" in steps["html"] and "chat-fault" in steps["html"]


def test_start_recipe_launches_the_first_run_when_none_is_named(
    serve: Callable[..., str], studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = []

    def launch(name: str, overrides: dict | None = None) -> Run:
        launched.append(name)
        return studio.jobs.submit(spec("leave", 0))

    monkeypatch.setattr(studio, "launch_recipe", launch)
    client = Client(serve(), verbose=False)
    run_id = client.predict("", api_name="/start_recipe")
    assert launched == [studio.first_run().name]
    assert studio.jobs.wait(run_id, timeout_s=120).state is State.DONE


def test_export_is_for_the_owner_only(serve: Callable[..., str], studio: Studio) -> None:
    mine = Conversations(studio.settings.chats_dir, "local")
    ident = mine.create()
    mine.append(ident, {"role": "user", "content": "问题？"})
    mine.append(ident, {"role": "assistant", "content": "yes", "studio": {"tokens": 1}})
    theirs = Conversations(studio.settings.chats_dir, "ann").create("secret")
    url = serve()
    status, text = get(url, f"chat/{ident}/export.jsonl")
    assert status == 200
    assert [json.loads(line) for line in text.splitlines()] == [
        {"role": "user", "content": "问题？"},
        {"role": "assistant", "content": "yes"},
    ]
    assert get(url, f"chat/{ident}/export.md")[1].startswith("# 问题？")
    for path in (f"chat/{theirs}/export.md", "chat/x/export.md", f"chat/{ident}/export.exe"):
        assert get(url, path)[0] == 404, path


def test_guests_chat_with_runs_and_nothing_else(
    serve: Callable[..., str], studio: Studio, model: FakeChat, jobs: Jobs
) -> None:
    kept = studio.external.add(model.url)
    url = serve(accounts=ACCOUNTS)
    guest = Client(url, auth=("visitor", "b-password"), verbose=False)
    assert guest.predict(api_name="/endpoints") == []
    with pytest.raises(AppError, match=r"not running any more|Nothing is running"):
        guest.predict("hi", kept.id, api_name="/chat")
    with pytest.raises(AppError, match="Guests"):
        guest.predict("vllm/smoke", api_name="/start_recipe")
    assert jobs.list() == []
    run = server(jobs)
    jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=120)
    assert [e["id"] for e in guest.predict(api_name="/endpoints")] == [run.id]
    ann = Client(url, auth=("ann", "a-password"), verbose=False)
    assert {e["id"] for e in ann.predict(api_name="/endpoints")} == {run.id, kept.id}
    assert get(url, f"chat/start/{run.id}")[0] == 401

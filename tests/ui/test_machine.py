"""The Machine tab: what it shows in each state, and what scripts may do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from ui.pages import GUEST, accounts

from studio.core.spec import State
from studio.engines.engine import Progress
from studio.envs.envs import EnvState, EnvStatus
from studio.studio import Studio
from studio.telemetry.doctor import Finding
from studio.telemetry.gpus import Driver, Gpu, Holder
from studio.telemetry.host import Host
from studio.ui.machine import view
from studio.ui.page.launch import launch_page
from studio.ui.page.shell import Served

GIB = 2**30
EVIL = "<img src=x onerror=alert(1)>"


def card(**changes: Any) -> Gpu:
    """Return a card that is half full and at work."""
    facts: dict[str, Any] = {
        "index": 0,
        "name": "NVIDIA GeForce RTX 4090",
        "vendor": "nvidia",
        "total_bytes": 24 * GIB,
        "used_bytes": 12 * GIB,
        "load": 0.5,
        "power_w": 200.0,
        "power_cap_w": 450.0,
        "temperature_c": 60.0,
    }
    return Gpu(**facts | changes)


def holder(run_id: str | None = None, **changes: Any) -> Holder:
    """Return a process on a card."""
    facts: dict[str, Any] = {"pid": 42, "user": "wang", "command": "python train.py"}
    return Holder(run_id=run_id, **{"used_bytes": 6 * GIB, **facts, **changes})


def run(state: State = State.RUNNING, name: str = "my-run") -> Any:
    """Return as much of a run as is shown."""
    return SimpleNamespace(id="r1", state=state, cards=[0], spec=SimpleNamespace(name=name))


def env(state: EnvState, **changes: Any) -> EnvStatus:
    """Return vLLM's environment in some state."""
    facts: dict[str, Any] = {
        "name": "vllm",
        "title": "vLLM",
        "variant": "cuda",
        "state": state,
        "kind": "built",
        "python": "/home/envs/vllm/bin/python",
    }
    return EnvStatus(**facts | changes)


def acts(html: str) -> set[str]:
    """Return what its buttons do."""
    return set(re.findall(r'data-act="(\w+)"', html))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_our_run_can_be_stopped_and_a_strangers_process_cannot(lang: str):
    ours = view.cards(lang, [card(holders=(holder("r1"), holder("r1")))], {"r1": run()}, 0)
    assert acts(ours) == {"stop"} and ours.count("my-run</span>") == 1
    assert 'data-value="r1"' in ours and "data-confirm" in ours
    theirs = view.cards(lang, [card(holders=(holder(), holder("of-another-home")))], {}, 0)
    assert acts(theirs) == set() and "wang" in theirs and "train.py" in theirs
    ended = view.cards(lang, [card(holders=(holder("r1"),))], {"r1": run(State.DONE)}, 0)
    assert acts(ended) == set()


def test_memory_without_an_owner_is_said_and_so_is_the_queue():
    html = view.cards("en", [card()], {}, 3)
    assert "does not name" in html and "3 waiting for cards" in html
    idle = view.cards(
        "en", [card(used_bytes=0, load=None, power_w=None, temperature_c=None)], {}, 0
    )
    assert "idle" in idle and "Load" not in idle and "Power" not in idle


def test_a_card_in_trouble_is_red_and_says_why():
    html = view.cards("en", [card(temperature_c=95.0, trouble="hot")], {}, 0)
    assert "Too hot" in html and "l-tone-bad" in html


def test_no_card_is_an_empty_state_that_teaches():
    assert "Everything that fits a CPU runs" in view.cards("en", [], {}, 0)


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        (EnvState.MISSING, "built", {"build", "adopt"}),
        (EnvState.READY, "built", {"adopt", "remove"}),
        (EnvState.STALE, "built", {"build", "adopt", "remove"}),
        (EnvState.BROKEN, "built", {"build", "adopt", "remove"}),
        (EnvState.READY, "adopted", {"remove"}),
        (EnvState.BROKEN, "adopted", {"remove"}),
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_environment_offers_what_makes_sense(lang: str, state: Any, kind: Any, expected: Any):
    html = view.environments(lang, [env(state, kind=kind, versions={"vllm": "1"})], {}, 99 * GIB)
    assert acts(html) == expected
    assert html.count("data-confirm") == len(expected & {"remove"})


def test_a_build_under_way_shows_its_progress_and_its_run():
    builds: Any = {"vllm": (run(), Progress(30, 60, "torch"))}
    html = view.environments("en", [env(EnvState.BUILDING)], builds, 99 * GIB)
    assert "width:50.0%" in html and "torch" in html and 'data-run="r1"' in html
    assert acts(html) == set()


def test_what_comes_from_outside_is_escaped():
    html = view.cards(
        "en",
        [card(name=EVIL, holders=(holder(user=EVIL, command=EVIL), holder("r1")))],
        {"r1": run(name=EVIL)},
        0,
    )
    html += view.environments("en", [env(EnvState.BROKEN, problem=EVIL, title=EVIL)], {}, 0)
    assert "<img" not in html


def test_the_host_and_the_checkup_are_told():
    now = Host(
        cpu=0.25,
        num_cpus=16,
        ram_total_bytes=64 * GIB,
        ram_used_bytes=16 * GIB,
        disk_total_bytes=1000 * GIB,
        disk_free_bytes=400 * GIB,
    )
    driver = Driver(name="nvidia", version="580.95", cuda="13.0")
    html = view.host("en", now, driver, "/h")  # type: ignore[arg-type]
    assert "48.0 GiB free of 64.0 GiB" in html and "13.0" in html and "16 cores" in html
    bad = Finding("uv", "fail")
    good = Finding("files", "ok", {"soft": 1, "hard": 1})
    checked = view.checkup("en", [bad, good])
    assert "pip install uv" in checked and "1 to look at" in checked
    assert "Everything is in order" in view.checkup("en", [good])


@pytest.fixture(scope="module")
def tab(lasting: Studio) -> Iterator[Callable[..., Served]]:
    """Serve the real tab, with guests and without, each once; no test here changes the home."""
    from tabs.machine import TAB

    with ExitStack() as open_pages:

        @cache
        def page(guests: bool) -> Served:
            served = launch_page(lasting, [TAB], accounts=accounts() if guests else ())
            open_pages.callback(served.close)
            return served

        yield page


@pytest.fixture
def machine(tab: Callable[..., Served], fake_cards: Callable[..., None]) -> Callable[..., Served]:
    """Show the tab on a machine with one card that this process holds."""
    fake_cards({"used": 9_000, "pids": {os.getpid(): 8_000}})
    return tab


def test_scripts_ask_the_machine(machine: Callable[..., Any]):
    client = Client(machine(guests=False).url, verbose=False)
    found = client.predict(api_name="/machine")
    assert found["cards"][0]["holders"][0]["pid"] == os.getpid()
    assert {e["state"] for e in client.predict(api_name="/env_list")} == {"missing"}
    assert "disk" in {f["code"] for f in client.predict(api_name="/doctor")}
    with pytest.raises(AppError, match="no environment for vLLM to remove"):
        client.predict("vllm", api_name="/env_remove")
    with pytest.raises(AppError):
        client.predict("vllm", "/no/such/python", "", api_name="/env_adopt")
    with pytest.raises(AppError, match="nothing-like-it"):
        client.predict("nothing-like-it", False, api_name="/env_build")


@pytest.mark.parametrize("place", ["cards", "envs", "host", "checkup"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_places_answer_in_both_languages(machine: Callable[..., Any], place: str, lang: str):
    url = f"{machine(guests=False).url}/ladder/machine/{place}"
    answer = httpx.get(url, headers={"cookie": f"ladder_lang={lang}"}, timeout=30).json()
    chinese = re.search(r"[\u4e00-\u9fff]", answer["html"])
    assert bool(chinese) == (lang == "zh")


def test_guests_get_nothing_of_it(machine: Callable[..., Any]):
    served = machine(guests=True)
    web = httpx.Client(base_url=served.url)
    web.post("/login", data={"username": GUEST[0], "password": GUEST[1]})
    assert web.get("/ladder/machine/cards").status_code == 403
    assert "machine-cards" not in web.get("/").text
    with pytest.raises(ValueError, match="Cannot find a function"):
        Client(served.url, auth=GUEST, verbose=False).predict(api_name="/machine")

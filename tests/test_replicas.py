"""Replicas: copies on disjoint cards behind a router, shown, stopped and restarted together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from conftest import FAKES, free_port

from studio.core.errors import NotEnoughGpus, NotFound, PortTaken, RecipeInvalid, RunBusy
from studio.core.settings import Settings
from studio.core.spec import (
    Command,
    Endpoint,
    EndpointSpec,
    Pictures,
    Placement,
    Probe,
    Resources,
    State,
)
from studio.engines.engine import Engine, ServerConfig
from studio.engines.router import Router, RouterConfig
from studio.jobs.groups import routers_first
from studio.jobs.jobs import Jobs
from studio.jobs.shim import procs
from studio.replicas import (
    Replicas,
    group_runs,
    launch_replicas,
    plan_replicas,
    restart_copy,
    stop_group,
)
from studio.studio import Launch, Studio

IDLE = {"used": 4}


class FakeServer(Engine[ServerConfig]):
    id = "fake-server"
    title = "Fake server"
    env = None
    Config = ServerConfig
    serves = True

    def command(self, config: ServerConfig, place: Placement) -> Command:
        return Command(argv=(sys.executable, str(FAKES / "serve.py"), str(place.port)))

    def probe(self, config: ServerConfig) -> Probe:
        return Probe(path="/alive")

    def endpoint(self, config: ServerConfig) -> EndpointSpec:
        return EndpointSpec(kind="chat", models=("m",), pictures=Pictures())


class FakeRouter(Router):
    """The router's own settings and checks; its program is a stand-in."""

    env = None

    def command(self, config: RouterConfig, place: Placement) -> Command:
        return Command(argv=(sys.executable, str(FAKES / "serve.py"), str(place.port)))


class FakeTraining(FakeServer):
    id = "fake-training"
    title = "Fake training"
    serves = False


@pytest.fixture
def studio(jobs: Jobs, settings: Settings) -> Studio:
    made = Studio(settings)
    own = (FakeServer, FakeRouter, FakeTraining)
    made.__dict__["engines"] = {cls.id: cls() for cls in own}
    return made


def ask(**fields) -> Launch:
    settings = fields.pop("settings", {})
    return Launch(engine="fake-server", settings=settings, name="qwen", **fields)


def all_ready(studio: Studio, found: Replicas) -> None:
    for run in (*found.copies, found.router):
        studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=60)


def test_a_group_answers_at_one_address_and_ends_together(studio: Studio) -> None:
    found = launch_replicas(studio, ask(), 2)
    assert [run.spec.name for run in found.copies] == ["qwen-1of2", "qwen-2of2"]
    assert (found.group, found.router.spec.name) == ("qwen", "qwen")
    config = found.router.spec.config
    urls = [f"http://127.0.0.1:{run.spec.port}" for run in found.copies]
    assert config["worker_urls"] == urls
    assert config["health_check_endpoint"] == "/alive", "as the engine itself is probed"
    all_ready(studio, found)
    first, *others = studio.endpoints()
    assert (first.name, first.run_id, first.group) == ("qwen", found.router.id, "qwen")
    assert first.models == ("m",) and first.pictures == Pictures(), "what its copies offer"
    assert [endpoint.name for endpoint in others] == ["qwen-2of2", "qwen-1of2"]
    runs = stop_group(studio, "qwen", timeout_s=60)
    assert [run.state for run in runs] == [State.STOPPED] * 3
    assert [run.id for run in runs] == [found.router.id, *(run.id for run in found.copies)]
    assert all(procs.marked(run.id) == [] for run in runs)
    assert studio.endpoints() == []
    with pytest.raises(NotFound):
        stop_group(studio, "qwe")


def test_two_groups_of_one_recipe_have_two_names(studio: Studio) -> None:
    first = launch_replicas(studio, ask(), 1)
    second = launch_replicas(studio, ask(), 1)
    assert (first.group, second.group) == ("qwen", "qwen-2")
    stop_group(studio, "qwen", now=True, timeout_s=60)
    assert [run.state.alive for run in group_runs(studio, "qwen-2")] == [True, True]
    stop_group(studio, "qwen-2", now=True, timeout_s=60)


def test_disjoint_cards(studio: Studio, fake_cards: Callable[..., None]) -> None:
    fake_cards(IDLE, IDLE, IDLE, IDLE)
    found = launch_replicas(studio, ask(cards=2), 2)
    all_ready(studio, found)
    cards = [studio.jobs.get(run.id).cards for run in found.copies]
    assert cards == [[0, 1], [2, 3]] or cards == [[2, 3], [0, 1]]
    assert found.router.spec.resources == Resources()
    stop_group(studio, found.group, timeout_s=60)


def test_named_cards_are_shared_out(studio: Studio, fake_cards: Callable[..., None]) -> None:
    fake_cards(IDLE, IDLE, IDLE, IDLE)
    plans = plan_replicas(studio, ask(cards=[3, 1, 2, 0]), 2)
    assert [plan.cards for plan in plans] == [[3, 1], [2, 0]]
    with pytest.raises(RecipeInvalid, match="3 named card"):
        plan_replicas(studio, ask(cards=[0, 1, 2]), 2)
    with pytest.raises(NotEnoughGpus, match=r"3 copies need 6 card\(s\) and this machine has 4"):
        plan_replicas(studio, ask(cards=2), 3)


def test_the_router_takes_the_address_and_the_copies_stay_inside(studio: Studio) -> None:
    port = free_port(8700)
    settings = {"host": "0.0.0.0", "port": port, "api_key": "k"}
    found = launch_replicas(studio, ask(settings=settings), 2, policy="round_robin")
    assert (found.router.spec.host, found.router.spec.port) == ("0.0.0.0", port)
    assert found.router.spec.config["policy"] == "round_robin"
    assert found.router.spec.config["api_key"] == "k"
    assert {run.spec.host for run in found.copies} == {"127.0.0.1"}
    assert {run.spec.config["api_key"] for run in found.copies} == {"k"}
    stop_group(studio, found.group, now=True, timeout_s=60)


def test_nothing_is_left_when_the_router_cannot_be_launched(studio: Studio) -> None:
    held = free_port(8750)
    studio.jobs.reserve_port("somebody", held, "127.0.0.1")
    with pytest.raises(PortTaken):
        launch_replicas(studio, ask(), 2, port=held)
    until = time.monotonic() + 60
    while any(run.state.alive for run in studio.jobs.list()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert [run.state for run in studio.jobs.list()] == [State.STOPPED] * 2


def test_a_dead_copy_comes_back_where_the_router_looks(studio: Studio) -> None:
    found = launch_replicas(studio, ask(), 2)
    all_ready(studio, found)
    dead = found.copies[0]
    with pytest.raises(RunBusy):
        restart_copy(studio, dead.id)
    pid = next(e["pid"] for e in dead.dir.events() if e["phase"] == "running")
    os.kill(pid, signal.SIGKILL)
    studio.jobs.wait(dead.id, timeout_s=60)
    again = restart_copy(studio, dead.id)
    assert (again.spec.port, again.spec.group) == (dead.spec.port, "qwen")
    studio.jobs.wait(again.id, lambda r: r.state is State.READY, timeout_s=60)
    assert len(group_runs(studio, "qwen")) == 4
    stop_group(studio, "qwen", timeout_s=60)


@pytest.mark.parametrize(
    "fields, copies, says",
    [
        ({}, 0, "copies = 0: use 1 to 64"),
        ({"engine": "fake-training"}, 2, "Fake training cannot be copied"),
        ({"engine": "router"}, 2, "cannot be copied behind a router"),
    ],
)
def test_what_cannot_be_copied(studio: Studio, fields: dict, copies: int, says: str) -> None:
    with pytest.raises(RecipeInvalid, match=says):
        plan_replicas(studio, replace(ask(), **fields), copies)


def test_a_router_offers_what_all_its_copies_have() -> None:
    def place(name: str, models: tuple[str, ...] = (), **fields) -> Endpoint:
        url = "http://127.0.0.1:1/v1"
        return Endpoint(id=name, name=name, base_url=url, models=models, **fields)

    lone = place("lone", ("x",))
    one = place("q-1of2", ("m", "sql"), group="q", api_key="k", text_only=True)
    two = place("q-2of2", ("m",), group="q", api_key="k", text_only=True)
    router = place("q", group="q", routes=True)
    front, *rest = routers_first([lone, two, one, router])[1:]
    assert (front.models, front.api_key, front.text_only) == (("m",), "k", True)
    assert rest == [two, one]
    assert routers_first([lone, router]) == [lone, router], "no copy is ready"
    alone = place("r", ("given",), routes=True)
    assert routers_first([lone, alone]) == [lone, alone]

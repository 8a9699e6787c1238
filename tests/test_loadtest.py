"""From an endpoint to the launch of a load test, with everything that is known of the server."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from conftest import FAKES, free_port
from test_replicas import FakeRouter

from studio.bench.point import Point, append_point
from studio.bench.saved import About
from studio.core.errors import NotFound, RecipeInvalid, RunBusy
from studio.core.settings import ROOT, Settings
from studio.core.spec import Command, EndpointSpec, Placement, Probe, Scrape, Serving, State
from studio.engines.engine import Engine, ServerConfig
from studio.engines.vllm_bench import VllmBench
from studio.jobs.jobs import Jobs, Run
from studio.loadtest import load_ask, plan_load, resume_ask, target
from studio.replicas import launch_replicas, stop_group
from studio.studio import Launch, Studio

MODEL = "assets/models/tiny-qwen2.5"


class FakeConfig(ServerConfig):
    results: str = ""


class FakeServer(Engine[FakeConfig]):
    id = "fake-server"
    title = "Fake server"
    env = None
    Config = FakeConfig
    serves = True

    def command(self, config: FakeConfig, place: Placement) -> Command:
        argv = (sys.executable, str(FAKES / "serve.py"), str(place.port))
        return Command(argv=argv, env={"STUDIO_ENDPOINT_KEY": config.api_key})

    def probe(self, config: FakeConfig) -> Probe:
        return Probe(path="/health")

    def endpoint(self, config: FakeConfig) -> EndpointSpec:
        return EndpointSpec(kind="chat", models=("m",))

    def scrape(self, config: FakeConfig) -> Scrape:
        return Scrape(prefixes=("vllm:",))

    def serving(self, config: FakeConfig) -> Serving:
        return Serving(model=MODEL)


@pytest.fixture
def studio(jobs: Jobs, settings: Settings) -> Studio:
    made = Studio(settings)
    made.__dict__["engines"] = {cls.id: cls() for cls in (FakeServer, FakeRouter, VllmBench)}
    return made


@pytest.fixture
def server(studio: Studio) -> Run:
    ask = Launch(
        engine="fake-server",
        settings={"port": free_port(8540), "api_key": "s3cret"},
        name="mine",
        recipe="vllm/smoke",
    )
    run = studio.launch(ask)
    return studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=60)


def test_what_is_known_of_a_server_is_frozen_into_the_launch(studio: Studio, server: Run) -> None:
    base = f"http://127.0.0.1:{server.spec.port}"
    for wanted in (server.id, "mine", f"{base}/v1", base):
        ask = load_ask(studio, wanted, {"concurrency": [1, 8]})
        assert (ask.engine, ask.name) == ("vllm-bench", "load-m")
        told = ask.settings
        assert told["base_url"] == f"{base}/v1" and told["model"] == "m"
        assert told["tokenizer"] == str(ROOT / MODEL) and told["api_key"] == "s3cret"
        assert told["server_run"] == server.id and told["metrics_urls"] == [f"{base}/metrics"]
        assert told["measure_cards"] == [] and told["concurrency"] == [1, 8]
        known = told["server"]
        assert known["engine"] == "fake-server" and known["recipe"] == "vllm/smoke"
        assert known["settings"] == {"port": server.spec.port}, "and no key"
        assert known["copies"] == 1 and known["startup_s"] >= 0
        studio.validate(ask.engine, told)


def test_what_a_person_says_wins_and_what_is_empty_does_not(studio: Studio, server: Run) -> None:
    given = {"model": "adapter", "tokenizer": "", "api_key": "", "slo_ttft_ms": None}
    told = load_ask(studio, server.id, given).settings
    assert told["model"] == "adapter" and told["tokenizer"] == str(ROOT / MODEL)
    assert told["api_key"] == "s3cret" and "slo_ttft_ms" not in told


def test_behind_a_router_every_copy_is_watched(studio: Studio) -> None:
    found = launch_replicas(studio, Launch(engine="fake-server", settings={}, name="two"), 2)
    for run in (*found.copies, found.router):
        studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=60)
    told = load_ask(studio, found.router.id).settings
    ports = {run.spec.port for run in found.copies}
    assert set(told["metrics_urls"]) == {f"http://127.0.0.1:{port}/metrics" for port in ports}
    assert told["base_url"] == f"http://127.0.0.1:{found.router.spec.port}/v1"
    assert told["server_run"] == found.router.id and told["model"] == "m"
    assert told["server"]["copies"] == 2 and told["server"]["engine"] == "fake-server"
    assert told["tokenizer"] == str(ROOT / MODEL)
    stop_group(studio, "two", timeout_s=60)


def test_an_address_nobody_knows_is_taken_as_it_is(studio: Studio) -> None:
    assert target(studio, "http://10.0.0.5:8000/v1") == {"base_url": "http://10.0.0.5:8000/v1"}
    with pytest.raises(NotFound, match="no endpoint 'nobody'"):
        load_ask(studio, "nobody")
    with pytest.raises(NotFound, match="makes no load"):
        load_ask(studio, "http://10.0.0.5:8000/v1", tool="vllm")


def results(studio: Studio, settings: dict, **about) -> Path:
    kept = {"tool": "vllm-bench", "slo": {}, **settings}
    return studio.saved.begin(About(model="m", name="m", settings=kept, **about))


def test_going_on_takes_the_grid_as_it_was_and_the_server_as_it_is(
    studio: Studio, server: Run
) -> None:
    first = load_ask(studio, server.id, {"concurrency": [1, 8], "seed": 3, "api_key": "old"})
    config = studio.validate(first.engine, first.settings)[1]
    folder = results(studio, config.model_dump(mode="json", exclude={"api_key", "server"}))
    ask = resume_ask(studio, folder.name)
    told = ask.settings
    assert told["results"] == folder.name and told["concurrency"] == [1, 8] and told["seed"] == 3
    assert told["api_key"] == "s3cret" and told["server_run"] == server.id
    assert json.loads((folder / "about.json").read_text())["settings"].get("api_key") is None
    studio.validate(ask.engine, told)


def test_going_on_with_a_server_started_again_elsewhere(studio: Studio, server: Run) -> None:
    gone = {"base_url": "http://127.0.0.1:1/v1", "server_run": "01gone", "concurrency": [1]}
    folder = results(studio, gone)
    assert resume_ask(studio, folder.name).settings["base_url"] == "http://127.0.0.1:1/v1"
    told = resume_ask(studio, folder.name, endpoint="mine").settings
    assert told["base_url"].endswith(f":{server.spec.port}/v1") and told["concurrency"] == [1]
    foreign = resume_ask(studio, folder.name, endpoint="http://10.0.0.5:8000/v1").settings
    assert foreign["base_url"] == "http://10.0.0.5:8000/v1" and "api_key" not in foreign
    with pytest.raises(RecipeInvalid, match="is not a load test"):
        resume_ask(studio, results(studio, {}, kind="quality").name)
    with pytest.raises(NotFound):
        resume_ask(studio, "nothing")


def test_results_that_a_run_is_about_to_write_are_left_alone(studio: Studio) -> None:
    """A tool loads for a while before it notes in the folder that it is the one."""
    folder = results(studio, {"base_url": "http://127.0.0.1:1/v1"}, run="01gone")
    about = {"port": free_port(8540), "results": folder.name}
    run = studio.launch(Launch(engine="fake-server", settings=about, name="on"))
    with pytest.raises(RunBusy, match=f"Run {run.id} works on"):
        resume_ask(studio, folder.name)
    with pytest.raises(RunBusy, match="still writing"):
        studio.saved.delete(folder.name)
    studio.jobs.stop(run.id)
    studio.jobs.wait(run.id, lambda r: not r.state.alive, timeout_s=60)
    studio.saved.delete(folder.name)


def test_results_to_go_on_with_are_looked_at_before_anything_starts(studio: Studio) -> None:
    """The tool takes a quarter of a minute to load before it would find that out."""
    address = "http://127.0.0.1:1/v1"
    for name in ("nothing", "../runs", "/etc"):
        with pytest.raises(NotFound, match="no results called"):
            load_ask(studio, address, {"results": name})
    with pytest.raises(RecipeInvalid, match="is not a load test"):
        load_ask(studio, address, {"results": results(studio, {}, kind="study").name})
    torn = results(studio, {})
    append_point(torn, Point(id="in100-out20-c1-r0"))
    (torn / "about.json").write_text('{"v": 1, "ki')
    with pytest.raises(RecipeInvalid, match="lost or torn"):
        resume_ask(studio, torn.name)
    mine = results(studio, {}).name
    assert load_ask(studio, address, {"results": mine}).settings["results"] == mine


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"concurrency": list(range(1, 10_001)), "repeats": 2}, "20,000 points; 10,000"),
        ({"request_rate": [1, 100_000], "rate_seconds": 60}, "6,000,000 requests; 1,000,000"),
        ({"concurrency": [1_000_000]}, "8,000,000 requests"),
        ({"num_prompts": 10**9}, "1,000,000,000 requests"),
        ({"rate_seconds": math.inf}, "rate_seconds = inf: input should be a finite number"),
        ({"slo_ttft_ms": math.inf}, "finite number"),
        ({"burstiness": math.nan}, "finite number"),
        ({"server": "me"}, "this is not JSON"),
    ],
)
def test_a_slip_of_the_hand_is_no_grid(
    studio: Studio, asked: dict[str, object], words: str
) -> None:
    with pytest.raises(RecipeInvalid, match=words):
        plan_load(studio, "vllm-bench", {"base_url": "http://a/v1", **asked})


def test_a_plan_counts_and_remembers(studio: Studio) -> None:
    settings = {"base_url": "http://a/v1", "model": "m", "concurrency": [1, 8], "repeats": 2}
    settings |= {"num_prompts": 10, "input_len": [100], "output_len": [20]}
    plan = plan_load(studio, "vllm-bench", settings)
    assert (plan.points, plan.requests, plan.tokens, plan.seconds) == (4, 40, 4800, None)
    folder = results(studio, {})
    for users, seconds in ((1, 30.0), (8, 6.0)):
        append_point(
            folder,
            Point(
                id=f"in100-out20-c{users}-r0",
                model="m",
                seconds=seconds,
                figures={"completed": 20},
            ),
        )
    assert plan_load(studio, "vllm-bench", settings).seconds == 2 * (15 + 3)

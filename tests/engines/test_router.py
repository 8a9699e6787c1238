"""The router's command, checks and what it says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from studio.core.errors import RecipeInvalid
from studio.core.spec import Interpreter, Placement
from studio.engines.router import Router, RouterConfig

PLACE = Placement(interpreter=Interpreter(name="it", python="/envs/it/bin/python"), port=8001)
TWO = ["http://127.0.0.1:8002/", "http://10.0.0.2:8000"]


def test_command() -> None:
    command = Router().command(RouterConfig(worker_urls=TWO, api_key="s3cret"), PLACE)
    assert command.argv == (
        *("/envs/it/bin/vllm-router", "--host", "127.0.0.1", "--port", "8001"),
        *("--worker-urls", "http://127.0.0.1:8002", "http://10.0.0.2:8000"),
        *("--policy", "cache_aware", "--prometheus-port", "18001"),
        *("--health-check-endpoint", "/health", "--health-check-interval-secs", "1"),
        *("--health-failure-threshold", "2", "--health-success-threshold", "1"),
        *("--disable-circuit-breaker", "--retry-max-retries", "8"),
        *("--retry-initial-backoff-ms", "100", "--retry-backoff-multiplier", "1.7"),
        *("--worker-startup-timeout-secs", "3600", "--worker-startup-check-interval", "2"),
        *("--request-timeout-secs", "1800"),
    )
    assert command.env == {"STUDIO_ENDPOINT_KEY": "s3cret"}, "the key is on no command line"


def test_in_an_adopted_overlay_with_more_arguments() -> None:
    overlay = Interpreter(name="it", python="/usr/bin/python3", scripts=False, pythonpath=("/s",))
    config = RouterConfig(worker_urls=TWO, extra_args=["--log-level", "warning"])
    command = Router().command(config, PLACE.model_copy(update={"interpreter": overlay}))
    assert command.argv[:3] == ("/usr/bin/python3", "-m", "vllm_router.launch_router")
    assert command.argv[-2:] == ("--log-level", "warning")
    assert command.env == {"PYTHONPATH": "/s"}


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "http://", "http://h:1/v1", "ftp://h"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(RecipeInvalid, match="is not the address of a server"):
        Router().check(RouterConfig(worker_urls=[url]), Path("/"))


def test_a_port_without_room_for_the_figures() -> None:
    with pytest.raises(RecipeInvalid, match="10000 above it"):
        Router().check(RouterConfig(worker_urls=TWO, port=60000), Path("/"))
    Router().check(RouterConfig(worker_urls=TWO, port=8500), Path("/"))


def test_no_servers_and_unknown_policies_are_refused() -> None:
    for settings in ({"worker_urls": []}, {"worker_urls": TWO, "policy": "best"}):
        with pytest.raises(ValidationError):
            RouterConfig.model_validate(settings)


def test_it_waits_longer_than_its_servers_may_take() -> None:
    config = RouterConfig(worker_urls=TWO, worker_startup_timeout_secs=7200, models=["m"])
    probe = Router().probe(config)
    assert (probe.path, probe.timeout_s) == ("/readiness", 7260)
    offer = Router().endpoint(config)
    assert offer.routes and offer.models == ("m",)
    assert Router().scrape(config).port_shift == 10000

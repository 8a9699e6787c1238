"""Health of an endpoint: one short question, kept for a while, shared by all who ask."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from chat.sse_server import FakeChat, Script

from studio.chat.health import HealthChecks
from studio.core.spec import Endpoint


def endpoint(url: str, key: str = "") -> Endpoint:
    return Endpoint(id="url-x", name="x", base_url=url, api_key=key)


def test_well_then_gone_then_back() -> None:
    checks = HealthChecks(keep_s=0.1)
    with FakeChat({"qwen": Script(), "tiny": Script()}) as server:
        place = endpoint(server.url)
        assert checks.known(place) is None
        found = checks.health(place)
        assert found.ok and found.models == ("qwen", "tiny") and found.error is None
        assert 0 < found.latency_ms < 3000
    assert checks.health(place) is found, "kept, so nobody was asked"
    time.sleep(0.11)
    gone = checks.health(place)
    assert not gone.ok and gone.latency_ms is None and gone.error.code == "refused"
    assert checks.known(place) is gone
    with FakeChat(port=server.port):
        time.sleep(0.11)
        assert checks.health(place).ok


def test_a_wrong_key_is_told() -> None:
    with FakeChat(key="s") as server:
        checks = HealthChecks()
        assert checks.health(endpoint(server.url, "wrong")).error.code == "key"
        assert checks.health(endpoint(server.url, "s")).ok, "another key is another question"


def test_many_who_ask_at_once_are_one_question() -> None:
    asked = []

    class Counted(FakeChat):
        async def _answer(self, *words) -> None:
            asked.append(words[1])
            await super()._answer(*words)

    with Counted() as server, ThreadPoolExecutor(20) as pool:
        checks = HealthChecks()
        found = list(pool.map(lambda _: checks.health(endpoint(server.url)), range(20)))
    assert all(health.ok for health in found)
    assert asked == ["/v1/models"]


def test_a_server_that_says_nothing_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        found = HealthChecks().health(endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}/v1"))
        assert time.monotonic() - began < 8
    assert not found.ok and found.error.code == "first_timeout"

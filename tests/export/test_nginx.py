"""The nginx configuration, in front of two servers, with the real nginx as an ordinary user."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script
from conftest import free_port

from studio.chat.client import Delta, stream
from studio.core.errors import EndpointDown, RecipeInvalid
from studio.core.spec import Endpoint
from studio.export.nginx import nginx_conf

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or "nginx"
NOBODY = 65534
TEMPS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

Start = Callable[..., Endpoint]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that an ordinary user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="ladder-nginx-"))
    folder.chmod(0o755)
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def ordinary() -> dict[str, int]:
    return {"user": NOBODY, "group": NOBODY} if os.getuid() == 0 else {}


def checked(conf: Path) -> str:
    """Return what `nginx -t` says about a file it accepts."""
    argv = [NGINX, "-t", "-e", "stderr", "-p", str(conf.parent), "-c", str(conf)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, **ordinary())
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def nginx(scratch: Path) -> Iterator[Start]:
    """Start nginx in front of servers and return the endpoint it offers."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*servers: FakeChat, key: str = "", **options) -> Endpoint:
        port = free_port(18600)
        conf = scratch / "nginx.conf"
        backends = [("127.0.0.1", server.port) for server in servers]
        text = nginx_conf(backends, listen=port, standalone=True, prefix=scratch, **options)
        conf.write_text(text)
        checked(conf)
        argv = [NGINX, "-e", "stderr", "-p", str(scratch), "-c", str(conf)]
        started.append(subprocess.Popen(argv, **ordinary()))
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < until and started[-1].poll() is None
                time.sleep(0.02)
        base_url = f"http://127.0.0.1:{port}/v1"
        return Endpoint(id="n", name="n", base_url=base_url, models=("tiny",), api_key=key)

    yield start
    for process in started:
        process.terminate()
        assert process.wait(20) == 0


def told(endpoint: Endpoint, text: str = "hi") -> str:
    with stream(endpoint, [{"role": "user", "content": text}]) as events:
        return "".join(event.text for event in events if isinstance(event, Delta))


def status(endpoint: Endpoint, path: str, method: str = "GET") -> int:
    host = endpoint.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request(method, path)
    return connection.getresponse().status


def test_pieces_arrive_one_by_one(nginx: Start) -> None:
    """200 pieces/s come at that pace: nothing is collected on the way."""
    with FakeChat({"tiny": Script(pieces=["x "] * 100, rate=200)}) as server:
        endpoint = nginx(server)
        arrived = []
        with stream(endpoint, [{"role": "user", "content": "hi"}]) as events:
            for event in events:
                if isinstance(event, Delta):
                    arrived.append(time.monotonic())
    assert len(arrived) == 100
    assert 0.4 < arrived[-1] - arrived[0] < 5
    assert len({round(at, 2) for at in arrived}) > 20


def test_both_servers_answer_and_the_living_one_goes_on(nginx: Start) -> None:
    scripts = [{"tiny": Script(pieces=[name])} for name in ("A", "B")]
    with FakeChat(scripts[1]) as second:
        with FakeChat(scripts[0]) as first:
            endpoint = nginx(first, second)
            assert {told(endpoint) for _ in range(6)} == {"A", "B"}
        assert [told(endpoint) for _ in range(6)] == ["B"] * 6
    with pytest.raises(EndpointDown):
        told(endpoint)


def test_a_server_that_is_still_starting_is_passed_over(nginx: Start) -> None:
    busy = {"tiny": Script(status=503, body={"error": {"message": "starting"}})}
    with FakeChat(busy) as first, FakeChat({"tiny": Script(pieces=["B"])}) as second:
        endpoint = nginx(first, second)
        assert [told(endpoint) for _ in range(4)] == ["B"] * 4


def test_a_picture_of_some_megabytes_gets_through(nginx: Start) -> None:
    def count(body: dict) -> list[str]:
        return [str(len(body["messages"][0]["content"]))]

    with FakeChat({"tiny": Script(pieces=count)}) as server:
        assert told(nginx(server), "x" * 5_000_000) == "5000000"


def test_only_the_api_is_offered_and_the_key_is_asked_for(nginx: Start) -> None:
    with FakeChat(key="s3cret") as server:
        endpoint = nginx(server, key="s3cret", api_key="s3cret")
        assert told(endpoint) == "Hi!"
        assert server.headers[-1]["authorization"] == "Bearer s3cret"
        assert status(endpoint, "/v1/models") == 401
        assert status(endpoint, "/metrics") == 404
        assert status(endpoint, "/v1/load_lora_adapter", "POST") == 403
        with pytest.raises(EndpointDown, match="refuses the API key"):
            told(endpoint.model_copy(update={"api_key": "wrong"}))


def test_connections_to_the_servers_stay_open(scratch: Path) -> None:
    conf = nginx_conf([("0.0.0.0", 8000), ("::1", 8001)], balance="ip_hash", name="qwen")
    assert "server 127.0.0.1:8000 max_fails=3" in conf and "server [::1]:8001" in conf
    assert "ip_hash;" in conf and "keepalive 64;" in conf and "keepalive_timeout 3s;" in conf
    assert 'proxy_set_header Connection "";' in conf


def test_as_a_file_for_conf_d(scratch: Path) -> None:
    """The short form is what an nginx that is already there includes."""
    (scratch / "ladder.conf").write_text(nginx_conf([("10.0.0.1", 8000)], api_key="k-1"))
    (scratch / "nginx.conf").write_text(
        f"pid {scratch}/pid; events {{}} http {{ access_log off; include {scratch}/ladder.conf;"
        f" {' '.join(f'{kind}_temp_path {scratch}/{kind};' for kind in TEMPS)} }}"
    )
    assert "syntax is ok" in checked(scratch / "nginx.conf")


@pytest.mark.parametrize("key", ['a"b', "a$b", "a\\b", "a\nb"])
def test_a_key_that_nginx_would_read_otherwise(key: str) -> None:
    with pytest.raises(RecipeInvalid, match="cannot be written"):
        nginx_conf([("127.0.0.1", 8000)], api_key=key)


def test_no_servers() -> None:
    with pytest.raises(RecipeInvalid, match="at least one server"):
        nginx_conf([])

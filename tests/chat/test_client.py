"""The client against a server with exact delays: what arrives, when, and how it goes wrong."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from chat.sse_server import FakeChat, Script

from studio.chat.client import Delta, Done, Reasoning, Sampling, check, list_models, stream
from studio.chat.errors import EndpointFailed
from studio.chat.wire import Timeouts
from studio.core.errors import EndpointDown
from studio.core.spec import Endpoint

QUICK = Timeouts(connect_s=1.0, first_s=0.4, gap_s=0.3)
ASK = [{"role": "user", "content": "你是谁？"}]


def at(server: FakeChat, **fields) -> Endpoint:
    models = tuple(server.models)
    return Endpoint(id="x", name="fake", base_url=server.url, models=models, **fields)


def collect(server: FakeChat, script: Script, **more) -> tuple[str, str, Done]:
    server.models = {"tiny": script}
    events = list(stream(at(server), ASK, timeouts=QUICK, **more))
    text = "".join(e.text for e in events if isinstance(e, Delta))
    thought = "".join(e.text for e in events if isinstance(e, Reasoning))
    assert isinstance(events[-1], Done)
    return text, thought, events[-1]


def failure(server: FakeChat, script: Script) -> tuple[str, EndpointFailed]:
    """Return what had arrived and how it went wrong."""
    server.models = {"tiny": script}
    text = ""
    with pytest.raises(EndpointDown) as caught:
        for event in stream(at(server), ASK, timeouts=QUICK):
            text += event.text
    assert isinstance(caught.value, EndpointFailed)
    assert caught.value.message.endswith((".", "!")) or caught.value.code == "context"
    assert caught.value.hint, "an error says what to do"
    return text, caught.value


@pytest.fixture(scope="module")
def server():
    with FakeChat() as running:
        yield running


def test_pieces_arrive_as_sent_and_the_clock_is_right(server: FakeChat) -> None:
    script = Script(pieces=["我", "是", "小", "梯", "。"], first_s=0.1, rate=50)
    text, thought, done = collect(server, script)
    assert (text, thought, done.tokens, done.counted) == ("我是小梯。", "", 5, "usage")
    assert 0.09 < done.ttft_s < 5, "a busy machine may be late, never early"
    assert 2 < done.tokens_per_s < 65
    assert done.finish_reason == "stop" and done.usage["prompt_tokens"] == 20


def test_request_carries_what_was_chosen_and_nothing_else(server: FakeChat) -> None:
    collect(server, Script(), sampling=Sampling(temperature=0, seed=7, stop=("\n",)))
    body = server.requests[-1]
    assert body["messages"] == ASK and body["stream"] is True
    assert (body["temperature"], body["seed"], body["stop"]) == (0, 7, ["\n"])
    assert not {"top_p", "max_tokens"} & body.keys()
    assert "authorization" not in server.headers[-1]
    collect(server, Script())
    assert "stop" not in server.requests[-1]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_told_apart(server: FakeChat, key: str) -> None:
    script = Script(thoughts=["hm", "…"], thought_key=key, pieces=["4"])
    assert collect(server, script)[:2] == ("4", "hm…")


def test_llamafactory_chunks_lack_object_and_usage(server: FakeChat) -> None:
    text, _, done = collect(server, Script(pieces=["a", "b", "c"], bare=True))
    assert (text, done.tokens, done.counted, done.usage) == ("abc", 3, "chunks", None)


def test_server_without_token_count_or_done_line(server: FakeChat) -> None:
    _, _, done = collect(server, Script(pieces=["a", "b"], usage=False, done=False))
    assert (done.tokens, done.counted, done.finish_reason) == (2, "chunks", "stop")


def test_old_server_that_refuses_stream_options_is_asked_again(server: FakeChat) -> None:
    text, _, done = collect(server, Script(refuse_options=True))
    assert (text, done.counted) == ("Hi!", "chunks")
    assert "stream_options" not in server.requests[-1]


def test_server_that_does_not_stream(server: FakeChat) -> None:
    choice = {"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"completion_tokens": 3}}
    text, _, done = collect(server, Script(body=body))
    assert (text, done.tokens, done.tokens_per_s) == ("whole", 3, None)


def test_comments_empty_deltas_crlf_and_split_lines(server: FakeChat) -> None:
    raw = [
        b": OPENROUTER PROCESSING\r\n\r\n",
        b'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\r\n\r\n',
        b'data: {"choices":[{"delta":{"content":"\xe6',
        b'\xa2\xaf"}}]}\n\ndata:{"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}\n\n',
    ]
    assert collect(server, Script(raw=raw))[0] == "梯!"


def test_empty_answer_has_no_time_to_first_token(server: FakeChat) -> None:
    text, _, done = collect(server, Script(pieces=[]))
    assert (text, done.ttft_s, done.tokens, done.tokens_per_s) == ("", None, 0, None)


def test_close_cuts_the_connection_at_once(server: FakeChat) -> None:
    server.models = {"tiny": Script(pieces=["x"] * 1000, rate=20)}
    answer = stream(at(server), ASK)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(answer))
    before = len(server.gone)
    reader.start()
    time.sleep(0.3)
    closed = time.perf_counter()
    answer.close()
    reader.join(2)
    assert not reader.is_alive(), "the reader wakes up"
    assert 2 <= len(seen) < 20 and not any(isinstance(e, Done) for e in seen)
    deadline = time.monotonic() + 2
    while len(server.gone) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.gone[-1][1] - closed < 0.2, "the server sees it at once and can stop"


def test_close_before_the_first_byte(server: FakeChat) -> None:
    server.models = {"tiny": Script(first_s=30)}
    answer = stream(at(server), ASK)
    threading.Timer(0.15, answer.close).start()
    began = time.perf_counter()
    assert list(answer) == []
    assert time.perf_counter() - began < 1.0


REFUSALS = [
    ("context", 400, {"error": {"message": "This model's maximum context length is 2048 tokens."}}),
    ("context", 400, {"message": "max_tokens is too large: 9000.", "code": 400}),
    ("rejected", 400, {"detail": "Only supports u/a/u/a/u... roles"}),
    ("rejected", 422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}),
    ("key", 401, {"detail": "Invalid API key."}),
    ("key", 403, "<html>Forbidden</html>"),
    ("busy", 429, {"error": "slow down"}),
    ("server", 500, {"error": {"message": "CUDA out of memory"}}),
    ("server", 503, "<html>Bad gateway</html>"),
    ("path", 404, {"detail": "Not Found"}),
    ("model", 404, {"error": {"message": "model 'tiny' not found, try pulling it first"}}),
]


@pytest.mark.parametrize("code, status, body", REFUSALS)
def test_refusals_are_understood(server: FakeChat, code: str, status: int, body: object) -> None:
    _, error = failure(server, Script(status=status, body=body))
    assert error.code == code
    assert f"127.0.0.1:{server.port}" in error.message or code == "context"


def test_death_in_the_middle_keeps_what_arrived(server: FakeChat) -> None:
    text, error = failure(server, Script(pieces=["a", "b", "c"], die_after=2))
    assert (text, error.code) == ("ab", "cut")


def test_end_without_a_reason_is_a_cut(server: FakeChat) -> None:
    text, error = failure(server, Script(pieces=["a"], finish=None, done=False, usage=False))
    assert (text, error.code) == ("a", "cut")


def test_silence_before_and_in_the_middle(server: FakeChat) -> None:
    assert failure(server, Script(first_s=5))[1].code == "first_timeout"
    text, error = failure(server, Script(pieces=["a", "b"], hang_after=1))
    assert (text, error.code) == ("a", "gap_timeout")


def test_malformed_chunks(server: FakeChat) -> None:
    good = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    text, error = failure(server, Script(raw=[good, b"data: {oops\n\n"]))
    assert (text, error.code) == ("a", "garbled")
    assert failure(server, Script(raw=[b"data: 17\n\n"]))[1].code == "garbled"
    assert failure(server, Script(raw=[b'data: {"choices":[3]}\n\n']))[1].code == "garbled"
    assert failure(server, Script(body="<html>a login page</html>"))[1].code == "garbled"


def test_error_inside_a_stream(server: FakeChat) -> None:
    inside = b'data: {"error":{"message":"EngineCore died","code":500}}\n\n'
    error = failure(server, Script(raw=[inside]))[1]
    assert error.code == "server" and "EngineCore died" in error.message


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(EndpointFailed) as caught:
            list(stream(Endpoint(id="x", name="x", base_url=url, models=("m",)), ASK))
    assert caught.value.code == "refused"


def test_a_server_that_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(EndpointFailed) as caught:
            check(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
    assert caught.value.code == "garbled"


def test_no_proxy_for_loopback(server: FakeChat, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.models = {"tiny": Script()}
    assert list_models(at(server)) == ("tiny",)


def test_other_hosts_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeChat() as proxy:
        proxy.prefix = "http://models.example/v1"  # a proxy is asked for the whole address
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert check("http://models.example/v1").models == ("tiny",)
        monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
        with pytest.raises(EndpointFailed) as caught:
            check("http://models.example/v1")
    assert caught.value.code == "proxy" and "secret" not in str(caught.value)


def test_check_adds_what_is_missing(server: FakeChat) -> None:
    server.models = {"tiny": Script()}
    where = f"127.0.0.1:{server.port}"
    for typed in (where, f"http://{where}/", f" {server.url}/ ", f"{server.url}/chat/completions"):
        found = check(typed)
        assert (found.base_url, found.models) == (server.url, ("tiny",)), typed
    assert found.name == f"vLLM · {where}"


def test_check_finds_v1_below_a_path() -> None:
    with FakeChat() as server:
        server.prefix = "/qwen/v1"
        assert check(f"http://127.0.0.1:{server.port}/qwen").base_url == server.url


@pytest.mark.parametrize("typed", ["", "  ", "ftp://x/v1", "http://", "http://a b/v1", "http://[x"])
def test_what_is_no_address(typed: str) -> None:
    with pytest.raises(EndpointFailed) as caught:
        check(typed)
    assert caught.value.code == "address"


def test_check_of_a_server_without_models_or_with_a_key() -> None:
    with FakeChat(key="secret") as server:
        with pytest.raises(EndpointFailed) as caught:
            check(server.url, "wrong")
        assert caught.value.code == "key"
        found = check(server.url, " secret\n")
        assert found.models == ("tiny",) and "secret" not in repr(found)
        assert list(stream(found, ASK))[-1].tokens == 2
        server.list_body = {"object": "list", "data": None}
        with pytest.raises(EndpointFailed) as caught:
            check(server.url, "secret")
        assert caught.value.code == "no_models"


def test_what_answers_but_is_no_chat_server() -> None:
    with FakeChat() as server:
        server.prefix = "/other"
        with pytest.raises(EndpointFailed) as caught:
            check(f"http://127.0.0.1:{server.port}")
    assert caught.value.code == "path"

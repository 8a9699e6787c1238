"""What a vLLM server of the studio's offers beyond chat, with the real engine on the CPU.

One server carries most of the tests; data parallel, pipeline parallel and speculative decoding
need one each. All together about five CPU minutes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from e2e.adapter import write_adapter
from e2e.conftest import answer, endpoint_of, ready, stopped
from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Endpoint
from studio.jobs.jobs import Run
from studio.studio import Launch, Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

WHO = "你是谁？"
BASE = ROOT / "assets/models/tiny-qwen2.5"
KEY = "for-tests-only"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the adapters `one`, `two` and the too wide `wide`."""
    folder = tmp_path_factory.mktemp("adapters")
    write_adapter(folder / "one", BASE, seed=1)
    write_adapter(folder / "two", BASE, seed=2)
    write_adapter(folder / "wide", BASE, seed=3, rank=16)
    return folder


@pytest.fixture(scope="module")
def server(real_studio: Studio, adapters: Path) -> Iterator[Run]:
    """One server with a key, prefix caching and an adapter; more can be put on while it runs."""
    settings = {
        "api_key": KEY,
        "enable_prefix_caching": True,
        "block_size": 32,
        "enable_lora": True,
        "lora_modules": [f"one={adapters / 'one'}"],
        "hot_lora": True,
        "max_loras": 2,
        "max_lora_rank": 8,
    }
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", settings))
    yield run
    stopped(real_studio, run)


@pytest.fixture(scope="module")
def endpoint(real_studio: Studio, server: Run) -> Endpoint:
    """What that server offers."""
    return endpoint_of(real_studio, server)


@pytest.fixture(scope="module")
def client(endpoint: Endpoint) -> Iterator[openai.OpenAI]:
    """The official client, given nothing but the URL and the key."""
    with openai.OpenAI(base_url=endpoint.base_url, api_key=KEY, max_retries=0) as made:
        yield made


def say(client: openai.OpenAI, model: str, **more: Any) -> str:
    done = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": WHO}], temperature=0, **more
    )
    return done.choices[0].message.content or ""


def test_the_endpoint_names_its_adapters(endpoint: Endpoint) -> None:
    assert endpoint.models == ("tiny-qwen2.5", "one")
    assert endpoint.hot_lora and endpoint.api_key == KEY


def test_official_client(client: openai.OpenAI, samples: list[dict[str, str]]) -> None:
    expected = next(row["output"] for row in samples if row["instruction"] == WHO)
    assert {model.id for model in client.models.list()} == {"tiny-qwen2.5", "one"}
    assert say(client, "tiny-qwen2.5") == expected
    pieces = client.chat.completions.create(
        model="tiny-qwen2.5",
        messages=[{"role": "user", "content": WHO}],
        temperature=0,
        stream=True,
    )
    texts = [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]
    assert "".join(texts) == expected and len(texts) > 3
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=str(client.base_url), api_key="wrong").models.list()


def test_curl(endpoint: Endpoint) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is part of every Linux this runs on"
    body = {
        "model": "tiny-qwen2.5",
        "messages": [{"role": "user", "content": WHO}],
        "temperature": 0,
    }
    argv = [curl, "-sS", f"{endpoint.base_url}/chat/completions"]
    argv += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    refused = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert "error" in json.loads(refused.stdout), "no key"
    argv += ["-H", f"Authorization: Bearer {KEY}"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(told.stdout)["choices"][0]["message"]["content"]


def test_structured_output(client: openai.OpenAI) -> None:
    """A JSON schema that is a closed list of values, a choice and a pattern: nothing else comes.

    A model this small would fill the room between the parts of an object with blanks for ever.
    """
    schema = {"type": "string", "enum": ["red circle", "green square"]}
    asked = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    thing = say(client, "tiny-qwen2.5", response_format=asked, max_tokens=60)
    assert json.loads(thing) in schema["enum"]
    choice = {"structured_outputs": {"choice": ["alpha", "beta"]}}
    assert say(client, "tiny-qwen2.5", extra_body=choice) in ("alpha", "beta")
    pattern = {"structured_outputs": {"regex": "[0-9]{3}-[a-f]{2}"}}
    assert re.fullmatch("[0-9]{3}-[a-f]{2}", say(client, "tiny-qwen2.5", extra_body=pattern))


def test_adapters_at_start_and_hot(
    client: openai.OpenAI, endpoint: Endpoint, adapters: Path
) -> None:
    bare = say(client, "tiny-qwen2.5", max_tokens=32)
    one = say(client, "one", max_tokens=32)
    assert one != bare, "the adapter from the start changes the answer"
    with pytest.raises(openai.NotFoundError):
        say(client, "two", max_tokens=32)
    two_at = {"lora_name": "two", "lora_path": str(adapters / "two")}
    assert post(endpoint, "load_lora_adapter", two_at) == 200
    two = say(client, "two", max_tokens=32)
    assert two not in (bare, one), "the adapter put on while it runs changes it another way"
    assert say(client, "tiny-qwen2.5", max_tokens=32) == bare, "the model itself is untouched"
    assert post(endpoint, "unload_lora_adapter", {"lora_name": "two"}) == 200
    with pytest.raises(openai.NotFoundError):
        say(client, "two", max_tokens=32)
    wide_at = {"lora_name": "wide", "lora_path": str(adapters / "wide")}
    assert post(endpoint, "load_lora_adapter", wide_at) >= 400, "wider than max_lora_rank"
    assert say(client, "one", max_tokens=32) == one, "and the server lives on"


def test_prefix_cache_is_visible(client: openai.OpenAI, endpoint: Endpoint) -> None:
    before = metrics(endpoint)
    long = "请记住这句话。" * 40
    for question in ("一", "二", "三"):
        client.chat.completions.create(
            model="tiny-qwen2.5",
            messages=[{"role": "user", "content": long + question}],
            max_tokens=4,
        )
    after = metrics(endpoint)
    asked = after["vllm:prefix_cache_queries_total"] - before["vllm:prefix_cache_queries_total"]
    hits = after["vllm:prefix_cache_hits_total"] - before["vllm:prefix_cache_hits_total"]
    assert 0.4 * asked < hits < asked, (hits, asked)


def test_flags_of_this_vllm_are_known_and_kept(real_studio: Studio, server: Run) -> None:
    """Asked once; a launch then spells flags as this version knows them, and refuses others."""
    known = real_studio.envs.flags("vllm") or real_studio.envs.learn_flags("vllm")
    assert real_studio.envs.flags("vllm") == known
    assert {"--model", "--tensor-parallel-size", "--speculative-config"} <= known
    wrong = Launch(engine="vllm", settings={"model": str(BASE), "extra_args": ["--max-num-sqs"]})
    with pytest.raises(RecipeInvalid, match=r"has no --max-num-sqs.*Did you mean --max-num-seqs"):
        real_studio.preview(wrong)


def test_two_copies_behind_one_address(real_studio: Studio, samples) -> None:
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", {"data_parallel_size": 2}))
    endpoint = endpoint_of(real_studio, run)
    expected = next(row["output"] for row in samples if row["instruction"] == WHO)
    assert [answer(endpoint, WHO)[0] for _ in range(6)] == [expected] * 6
    engines = {label(line, "engine") for line in exposition(endpoint) if "num_requests_run" in line}
    assert {"0", "1"} <= engines
    stopped(real_studio, run)


def test_pipeline_parallel_two(real_studio: Studio, samples) -> None:
    """Not in eager mode, which a CPU cannot combine with it: that is refused before the start."""
    with pytest.raises(RecipeInvalid, match="do not work together"):
        real_studio.launch_recipe("vllm/smoke", {"pipeline_parallel_size": 2})
    settings = {"pipeline_parallel_size": 2, "enforce_eager": False}
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", settings))
    expected = next(row["output"] for row in samples if row["instruction"] == WHO)
    assert answer(endpoint_of(real_studio, run), WHO)[0] == expected
    stopped(real_studio, run)


def test_speculative_ngram_changes_no_answer(real_studio: Studio, samples) -> None:
    settings = {
        "speculative_method": "ngram",
        "num_speculative_tokens": 3,
        "prompt_lookup_max": 3,
    }
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", settings))
    endpoint = endpoint_of(real_studio, run)
    for row in samples[:8]:
        assert answer(endpoint, row["instruction"])[0] == row["output"]
    figures = metrics(endpoint)
    assert figures["vllm:spec_decode_num_draft_tokens_total"] > 0
    stopped(real_studio, run)


def post(endpoint: Endpoint, path: str, body: dict[str, str]) -> int:
    """Send JSON to a path below /v1 and return the status."""
    request = urllib.request.Request(
        f"{endpoint.base_url}/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {endpoint.api_key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def exposition(endpoint: Endpoint) -> list[str]:
    """Return the lines the server tells Prometheus."""
    url = endpoint.base_url.removesuffix("/v1") + "/metrics"
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read().decode().splitlines()


def metrics(endpoint: Endpoint) -> dict[str, float]:
    """Return the figures of a server by name, summed over their labels."""
    found: dict[str, float] = {}
    for line in exposition(endpoint):
        if not line.startswith("#"):
            name, value = line.partition("{")[0].split()[0], float(line.rsplit(" ", 1)[1])
            found[name] = found.get(name, 0.0) + value
    return found


def label(line: str, name: str) -> str:
    """Return the value of a label of a metric's line; empty when it has none."""
    return line.partition(f'{name}="')[2].partition('"')[0]

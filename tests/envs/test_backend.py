"""The build of torch is chosen by what the indexes answer."""

from __future__ import annotations

import pytest

from studio.envs import backend, uv
from studio.envs.backend import Answer, choose, read_lock
from studio.envs.catalog import CATALOG

PINS = ["numpy==2.3.5", "torch==2.13.0", "torchvision==0.28.0"]
NOT_FOUND = Answer([], ["cause: Because there is no version of torch==2.13.0+cpu and you require"])
UNREACHABLE = Answer([], ["error: Failed to fetch: https://x.example/torch/", "cause: dns error"])


class Indexes:
    """Answers questions by their options, and remembers them."""

    def __init__(self, **answers: Answer) -> None:
        self.answers, self.asked = answers, []

    def __call__(self, wanted: list[str], args: tuple[str, ...], limits: list[str]) -> Answer:
        kind = "own" if wanted[0].endswith("+cpu") else args[-1] if args else "default"
        self.asked.append((kind, wanted, limits))
        return self.answers[kind]


@pytest.fixture(autouse=True)
def no_backend(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)


def test_own_indexes_come_first():
    ask = Indexes(own=Answer(["torch==2.13.0+cpu"], []))
    found = choose(PINS, "cpu", ask)
    assert found.pins == ["numpy==2.3.5", "torch==2.13.0+cpu", "torchvision==0.28.0"]
    assert found.args == ()
    assert [kind for kind, *_ in ask.asked] == ["own"]


def test_then_the_official_cpu_index():
    official = Answer(["torch==2.13.0+cpu", "torchvision==0.28.0+cpu"], [])
    found = choose(PINS, "cpu", Indexes(own=NOT_FOUND, cpu=official))
    assert found.pins == ["numpy==2.3.5", "torch==2.13.0+cpu", "torchvision==0.28.0+cpu"]
    assert found.args == ("--torch-backend", "cpu")
    assert "WARNING" not in found.note


def test_then_the_default_index_with_a_warning_and_what_torch_needs():
    whole = Answer(["nvidia-cublas==13.1", "torch==2.13.0", "torchvision==0.28.0"], [])
    ask = Indexes(own=NOT_FOUND, cpu=UNREACHABLE, default=whole)
    found = choose(PINS, "cpu", ask)
    assert found.pins == ["numpy==2.3.5", "nvidia-cublas==13.1", *PINS[1:]]
    assert found.args == ()
    assert found.note.startswith("WARNING") and "gigabytes" in found.note
    assert ask.asked[-1][2] == ["numpy==2.3.5"], "the lock's other pins hold"


def test_no_network_is_said_at_once():
    ask = Indexes(own=UNREACHABLE)
    with pytest.raises(uv.NetworkDown, match=r"x\.example cannot be reached"):
        choose(PINS, "cpu", ask)
    assert len(ask.asked) == 1


def test_a_driver_that_wants_another_cuda_swaps_torch_and_its_libraries():
    lock = ["einops==1", "nvidia-cublas==13.1", "nvidia-extra==1", "torch==2.13.0", "triton==3.8"]
    older = Answer(["einops==1", "nvidia-cublas-cu12==12.8", "torch==2.13.0+cu128"], [])
    usual = Answer(["nvidia-cublas==13.1", "torch==2.13.0", "triton==3.8"], [])
    found = choose(lock, "cuda", Indexes(auto=older, default=usual))
    assert found.pins == [
        "einops==1",
        "nvidia-cublas-cu12==12.8",
        "nvidia-extra==1",
        "torch==2.13.0+cu128",
    ]
    assert found.args == ("--torch-backend", "auto")


def test_cuda_without_the_official_index_takes_the_lock_as_it_is():
    found = choose(PINS, "cuda", Indexes(auto=UNREACHABLE))
    assert (found.pins, found.args) == (PINS, ())


def test_a_backend_chosen_by_the_user_is_asked_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UV_TORCH_BACKEND", "cu126")
    official = Answer(["torch==2.13.0+cu126"], [])
    assert choose(PINS, "cpu", Indexes(cu126=official)).args == ("--torch-backend", "cu126")


def test_a_lock_without_torch_asks_nothing():
    assert choose(["six==1.17.0"], "cpu", Indexes()).pins == ["six==1.17.0"]


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
@pytest.mark.parametrize("name", CATALOG)
def test_shipped_locks_are_complete_pins(name: str, variant):
    spec = CATALOG[name]
    if not spec.comes_for(variant):
        assert (name, variant) == ("sglang", "cpu"), "only SGLang needs a card"
        return
    if spec.client:
        variant = "cpu"  # on every machine
    text = spec.lock(variant).read_text()
    pins = read_lock(text)
    names = [backend.name_of(pin) for pin in pins]
    assert len(set(names)) == len(pins) > 20
    assert all(pin.count("==") == 1 and "://" not in pin and "+" not in pin for pin in pins)
    assert f"studio.envs.relock {name} {variant}" in text
    if name == "router":
        assert "torch" not in names, "it computes nothing"
        return
    assert {"torch", "transformers"} <= set(names)
    assert (variant == "cuda") == any(pin.startswith("nvidia-cu") for pin in pins)
    assert variant == "cpu" or "RESOLVED ONLY" in text


def test_what_only_asks_servers_needs_no_cards():
    spec = CATALOG["guidellm"]
    assert spec.client and spec.lock("cuda") == spec.lock("cpu")
    assert spec.comes_for("cuda") and spec.lock_sha256("cuda") == spec.lock_sha256("cpu")

"""The tiny vision model, served by the real engines on the CPU: it sees what is in a picture."""

from __future__ import annotations

import base64
import importlib.util
import io
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from e2e.conftest import endpoint_of, ready, stopped
from studio.chat.client import Delta, Sampling, stream
from studio.core.settings import ROOT
from studio.core.spec import Endpoint, State
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

WORKERS = ROOT / "studio/engines/workers"
NUM_PICTURES = 160
ASKS = {
    "what": {"en": "What is in the picture?", "zh": "图里是什么？"},
    "colour": {"en": "What colour is it?", "zh": "它是什么颜色？"},
    "shape": {"en": "What shape is it?", "zh": "什么形状？"},
}


def load_worker(name: str) -> ModuleType:
    """A module of what drew the training pictures; it needs Pillow alone."""
    spec = importlib.util.spec_from_file_location(name, WORKERS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = load_worker("shape_pictures")
TALK = load_worker("shape_talk")  # which imports the first


@pytest.fixture(scope="module")
def drawings() -> list[Any]:
    """Pictures from the half that no training has seen."""
    rng = random.Random(20)
    return [PICTURES.draw(rng, held_out=True) for _ in range(NUM_PICTURES)]


@pytest.fixture(scope="module")
def vllm(real_studio: Studio) -> Iterator[Endpoint]:
    """One vLLM server for the tests that only ask."""
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke-vl"))
    yield endpoint_of(real_studio, run)
    stopped(real_studio, run)


def shown(*drawings: Any) -> list[dict[str, Any]]:
    """Return pictures as parts of an OpenAI message."""
    parts = []
    for drawing in drawings:
        buffer = io.BytesIO()
        drawing.image().save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    return parts


def asked(question: str, *drawings: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*shown(*drawings), {"type": "text", "text": question}]}


def reply(endpoint: Endpoint, *messages: dict[str, Any]) -> str:
    sampling = Sampling(temperature=0, max_tokens=64)
    with stream(endpoint, list(messages), sampling=sampling) as events:
        return "".join(event.text for event in events if isinstance(event, Delta))


def share_right(endpoint: Endpoint, drawings: list[Any], asks: str, lang: str) -> float:
    """Ask the same question about every picture, some at once; return the share of right answers.

    The words must be those of the right answer: shape and colour when it is asked what there is.
    """

    def right(drawing: Any) -> bool:
        text = reply(endpoint, asked(ASKS[asks][lang], drawing))
        return text == TALK.answer(asks, drawing, lang)

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(right, drawings)) / len(drawings)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_vllm_names_shape_and_colour_of_unseen_pictures(vllm: Endpoint, drawings, lang) -> None:
    """At least 90 % of held-out pictures, every shape and colour among them."""
    assert {drawing.shape for drawing in drawings} == set(PICTURES.SHAPES)
    assert {drawing.colour for drawing in drawings} == set(PICTURES.COLOURS)
    share = share_right(vllm, drawings, "what", lang)
    print(f"vLLM, {lang}: {share:.1%} of {len(drawings)} unseen pictures")
    assert share >= 0.9


@pytest.mark.parametrize("asks", ["colour", "shape"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_vllm_answers_what_is_asked(vllm: Endpoint, drawings, asks, lang) -> None:
    share = share_right(vllm, drawings, asks, lang)
    print(f"vLLM, {asks} in {lang}: {share:.1%} of {len(drawings)} unseen pictures")
    assert share >= 0.9


def test_follow_up_is_about_the_same_picture(vllm: Endpoint, drawings) -> None:
    """The second turn asks in words alone, in the other language."""

    def right(drawing: Any) -> bool:
        first = asked(ASKS["shape"]["en"], drawing)
        said = {"role": "assistant", "content": TALK.answer("shape", drawing, "en")}
        second = {"role": "user", "content": ASKS["colour"]["zh"]}
        return reply(vllm, first, said, second) == TALK.answer("colour", drawing, "zh")

    with ThreadPoolExecutor(8) as pool:
        count = sum(pool.map(right, drawings[:40]))
    print(f"follow-up: {count} of 40")
    assert count >= 36


def test_two_pictures_in_one_request(vllm: Endpoint, drawings) -> None:
    pairs = list(zip(drawings[:40:2], drawings[1:40:2], strict=True))

    def right(pair: tuple[Any, Any]) -> bool:
        return reply(vllm, asked(ASKS["what"]["zh"], *pair)) == TALK.both(*pair, "zh")

    with ThreadPoolExecutor(8) as pool:
        count = sum(pool.map(right, pairs))
    print(f"two pictures: {count} of {len(pairs)}")
    assert count >= 0.5 * len(pairs)


def test_greeting_without_a_picture(vllm: Endpoint) -> None:
    expected = dict(TALK.TALK)
    for hello in ("Hello", "你好"):
        assert reply(vllm, {"role": "user", "content": hello}) == expected[hello]


@pytest.mark.parametrize("path", sorted((ROOT / "assets/data/pictures").glob("*.png")))
def test_sample_pictures_are_recognized(vllm: Endpoint, path) -> None:
    """The pictures the page offers as examples; their names say what they show."""
    data = base64.b64encode(path.read_bytes()).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    question = {"type": "text", "text": ASKS["what"]["en"]}
    colour, shape = path.stem.split("-")
    text = reply(vllm, {"role": "user", "content": [picture, question]})
    assert text == f"A {colour} {shape}."


def test_llamafactory_serves_it_too(real_studio: Studio, drawings) -> None:
    """It sees the colours; shapes less well than vLLM.

    LLaMA-Factory 0.9.5 trains with the two-dimensional positions of a picture's tokens (M-RoPE)
    but generates without them: it does not hand `mm_token_type_ids` to transformers 5.
    """
    settings = {"model_name_or_path": "assets/models/tiny-qwen2-vl", "template": "qwen2_vl"}
    run = ready(real_studio, real_studio.launch_recipe("llamafactory/smoke-api", settings))
    endpoint = endpoint_of(real_studio, run)
    colour, what = (share_right(endpoint, drawings, asks, "zh") for asks in ("colour", "what"))
    print(f"LLaMA-Factory: colour {colour:.1%}, both {what:.1%} of {len(drawings)}")
    stopped(real_studio, run)
    assert colour >= 0.9
    assert what >= 0.7


def test_make_tiny_vl_learns(real_studio: Studio) -> None:
    """The recipe that made the model, cut to a few steps: pictures are drawn, loss falls."""
    cut = {"draw_pictures": 320, "max_steps": 18, "logging_steps": 3}
    run = real_studio.launch_recipe("llamafactory/make-tiny-vl", cut)
    run: Run = real_studio.jobs.wait(run.id, timeout_s=1800)
    assert run.state is State.DONE, explain(run)
    assert len(list((run.dir.folder / "artifacts/data/pictures").glob("*.png"))) == 320
    losses = [point.value for point in real_studio.points(run.id) if point.name == "loss"]
    assert len(losses) == 6
    assert losses[-1] < 0.5 * losses[0], losses
    assert (run.dir.folder / "artifacts/output/model.safetensors").stat().st_size > 2**20

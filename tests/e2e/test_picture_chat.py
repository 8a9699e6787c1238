"""A picture chat as a person has it: drop, see the cost, ask, ask again, come back.

The browser tests talk to a stand-in that reports which pictures it got and sees nothing
(`tests/fakes/picture_chat.py`); the last tests ask the real vLLM with the tiny vision model.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import free_port, spec
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from e2e.conftest import endpoint_of, ready, stopped
from e2e.test_browser import browser_page, fits, shot
from studio.chat.album import uri_of
from studio.chat.client import Done, Sampling, stream
from studio.chat.pictures import fit, prepare, rescaled, tokens
from studio.core.settings import Settings
from studio.core.spec import Endpoint, EndpointSpec, Pictures, Probe, State
from studio.jobs.jobs import Jobs
from studio.studio import Studio
from studio.ui.page.launch import launch_page

SEES = Pictures(max_pixels=2408448)


def drawn(width: int, height: int) -> bytes:
    image = Image.new("RGB", (width, height), (36, 68, 102))
    box = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)
    ImageDraw.Draw(image).ellipse(box, fill=(255, 102, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def stand_in(jobs: Jobs) -> Callable[..., str]:
    """Start a stand-in server as a run, and wait until it is ready."""

    def up(name: str, *words: str, **offer) -> str:
        port = free_port(8840)
        one = spec(
            "picture_chat",
            port,
            *words,
            serves=True,
            port=port,
            probe=Probe(path="/v1/models"),
            endpoint=EndpointSpec(kind="chat", models=("stand-in",), **offer),
        )
        run = jobs.submit(one.model_copy(update={"name": name}))
        return jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=120).id

    return up


def transfer(page: Page, data: bytes, name: str):
    """Return a browser's DataTransfer that holds a file."""
    return page.evaluate_handle(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          const carried = new DataTransfer();
          carried.items.add(new File([bytes], name, { type: "image/png" }));
          return carried;
        }""",
        [base64.b64encode(data).decode(), name],
    )


def drop(page: Page, data: bytes, name: str = "dropped.png") -> None:
    carried = {"dataTransfer": transfer(page, data, name)}
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#chat-left", kind, carried)


def paste(page: Page, data: bytes) -> None:
    page.locator("#chat-box textarea").evaluate(
        """(box, carried) => box.dispatchEvent(
          new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true }))
        """,
        transfer(page, data, "image.png"),
    )


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serve the Chat tab from this process and return its address."""
    own = settings.model_copy(update={"port": free_port(18860)})
    page = launch_page(Studio(own), only="chat")
    try:
        yield page.url
    finally:
        page.close()


def all_drawn(page: Page) -> None:
    """Check that no picture of the conversation is a broken one."""
    broken = """() => [...document.querySelectorAll("#chat-left img")]
      .filter((image) => image.complete && !image.naturalWidth).map((image) => image.src)"""
    whole = """() => [...document.querySelectorAll("#chat-left img")].every((i) => i.complete)"""
    page.wait_for_function(whole)
    assert page.evaluate(broken) == []


def ask(page: Page, text: str) -> None:
    page.locator("#chat-box textarea").fill(text)
    page.keyboard.press("Enter")


@pytest.mark.browser
@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1440, 400])
def test_a_picture_chat(
    settings: Settings, stand_in: Callable[..., str], tmp_path: Path, width: int
) -> None:
    stand_in("reads-text", "--blind", text_only=True)
    stand_in("sees", pictures=SEES)
    photo = tmp_path / "photo.png"
    photo.write_bytes(drawn(4032, 3024))
    with (
        served(settings) as url,
        browser_page(url, "en-US", width) as (page, outside),
    ):
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        strip, chat = page.locator("#chat-strip"), page.locator("#chat-left")
        expect(chat).to_contain_text("What is in the picture?")

        drop(page, drawn(504, 504))
        expect(strip).to_contain_text("≈ 326 tokens")
        page.locator("#chat-ask input[type=file]").set_input_files(photo)
        expect(strip).to_contain_text("4032 × 3024 scaled to 1792 × 1344")
        expect(strip).to_contain_text("2 pictures, ≈ 3,400 tokens")
        expect(page.locator(".chat-attaching")).to_have_count(0)
        shot(page, f"picture-attached.{width}")

        ask(page, "What is this?")
        expect(chat).to_contain_text("Question 1 brought PNG 504 x 504, PNG 1792 x 1344.")
        expect(strip).to_be_hidden()
        pictures = chat.locator(".chat-picture img")
        expect(pictures).to_have_count(2)
        all_drawn(page)
        shot(page, f"picture-answered.{width}")

        ask(page, "And the colour?")
        expect(chat).to_contain_text(
            "2 question(s). Question 1 brought PNG 504 x 504, PNG 1792 x 1344. "
            "Question 2 brought no picture."
        )
        paste(page, drawn(64, 64))
        expect(strip).to_contain_text("≈ 6 tokens")
        page.locator(".chat-remove").click()
        expect(strip).to_be_hidden()

        pictures.first.click()
        expect(page.locator("dialog.chat-lightbox img")).to_be_visible()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)

        page.reload()
        expect(chat.locator(".chat-picture img")).to_have_count(2)
        all_drawn(page)
        fits(page, width + 1)
        assert outside == [] and errors == []


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_model_without_eyes_is_told_of_one_that_sees(
    settings: Settings, stand_in: Callable[..., str]
) -> None:
    sees = stand_in("sees", pictures=SEES)
    blind = stand_in("reads-text", "--blind", text_only=True)
    with (
        served(settings) as url,
        browser_page(url, "zh-CN") as (page, _),
    ):
        strip, chat = page.locator("#chat-strip"), page.locator("#chat-left")
        expect(chat).to_contain_text("reads-text")
        drop(page, drawn(504, 504))
        expect(strip).to_contain_text("reads-text 只能读文字，看不了图片。")
        ask(page, "图里是什么？")
        expect(page.get_by_test_id("toast-body")).to_contain_text("vllm/smoke-vl")
        expect(page.locator("#chat-box textarea")).to_have_value("图里是什么？")
        expect(chat.locator(".message-row")).to_have_count(0)
        shot(page, "picture-blind.zh")
        strip.locator(f'[data-act="use"][data-value="{sees}"]').click()
        expect(strip).to_contain_text("≈ 326 tokens")
        page.locator("#chat-box textarea").press("Enter")
        expect(chat).to_contain_text("Question 1 brought PNG 504 x 504.")
        assert blind != sees


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_edit_retry_undo_and_samples(settings: Settings, stand_in: Callable[..., str]) -> None:
    stand_in("sees", pictures=SEES)
    with (
        served(settings) as url,
        browser_page(url, "en-US") as (page, _),
    ):
        chat, box = page.locator("#chat-left"), page.locator("#chat-box textarea")
        expect(chat).to_contain_text("What is in the picture?")
        chat.locator(".example").first.click()
        expect(chat).to_contain_text(re.compile(r"Question 1 brought PNG \d+ x \d+\. Answer 1\."))
        expect(chat).to_contain_text("TTFT")  # it comes with the end of an answer
        chat.locator(".message-row.user-row").hover()
        chat.get_by_role("button", name="Edit").click()
        field = chat.locator("textarea:visible")
        expect(field).to_have_value("What is in the picture?")
        field.fill("Which colour?")
        chat.get_by_role("button", name="Submit").click()
        expect(chat.locator(".user-row")).to_contain_text("Which colour?")
        again = r"1 question\(s\)\. Question 1 brought PNG .* Answer {}\."
        expect(chat).to_contain_text(re.compile(again.format(2)))
        expect(chat).to_contain_text("TTFT")
        chat.get_by_role("button", name="Retry").click()
        expect(chat).to_contain_text(re.compile(again.format(3)))
        expect(chat).to_contain_text("TTFT")
        chat.get_by_role("button", name="Undo").click()
        expect(box).to_have_value("Which colour?")
        expect(page.locator("#chat-strip")).to_contain_text("tokens")


# the real engine --------------------------------------------------------------------------------

SIZES = [(112, 112), (336, 336), (640, 480), (1600, 1200), (50, 700), (20, 20)]


@pytest.fixture(scope="module", params=["as-shipped", "wide"])
def real(request: pytest.FixtureRequest, real_studio: Studio) -> Iterator[Endpoint]:
    """The tiny vision model on vLLM: with its own one size, and with limits far apart."""
    wide = {"min_pixels": 3136, "max_pixels": 401408}
    changes = wide if request.param == "wide" else {}
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke-vl", changes))
    yield endpoint_of(real_studio, run)
    stopped(real_studio, run)


def prompt_tokens(endpoint: Endpoint, *uris: str) -> int:
    parts = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    question = {"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}
    with stream(endpoint, [question], sampling=Sampling(max_tokens=1)) as events:
        [done] = [event for event in events if isinstance(event, Done)]
    assert done.usage is not None
    return done.usage["prompt_tokens"]


@pytest.mark.engine
@pytest.mark.timeout(1200)
def test_a_picture_costs_what_was_said(real: Endpoint) -> None:
    """The cost shown before sending is what vLLM counts, for every size and for several at once."""
    see = real.pictures
    assert see is not None
    alone = prompt_tokens(real)
    made = [prepare(drawn(*size), spec=see) for size in SIZES]
    uris = [uri_of(rescaled(picture.data, see)) for picture in made]
    costs = [tokens(*fit(p.width, p.height, see), see) for p in made]
    counted = [prompt_tokens(real, uri) - alone for uri in uris]
    assert counted == costs, dict(zip(SIZES, zip(counted, costs, strict=True), strict=True))
    assert prompt_tokens(real, uris[0], uris[2]) - alone == costs[0] + costs[2]

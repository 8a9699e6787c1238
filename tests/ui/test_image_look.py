"""How an edit is told: its shape, its seconds, its stages; and what a worker will take for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from images.stand_in import png
from PIL import Image

from studio.chat.desk import Person
from studio.core.errors import NotFound
from studio.core.settings import Settings
from studio.core.spec import Endpoint
from studio.engines.workers.image_edit.asked import Defaults, check
from studio.engines.workers.image_edit.estimates import Estimates
from studio.engines.workers.image_edit.job import Job as FrontJob
from studio.engines.workers.image_edit.ordinary import Ordinary
from studio.images.client import Job
from studio.images.desk import ImageDesk, Look
from studio.images.item import Asked, End, Fault, Item, ItemState
from studio.images.request import GUEST, OPERATOR, EditSettings
from studio.studio import Studio
from studio.ui.image import state as image_state
from studio.ui.image import tray as image_tray
from studio.ui.image.desk import EXAMPLES, SIZES, desk
from studio.ui.image.empty import empty, offers
from studio.ui.image.gallery import gallery_html
from studio.ui.image.ladder import read_told
from studio.ui.image.look import look_html, seconds, shape
from studio.ui.image.samples import SAMPLES, sample
from studio.ui.image.state import Wish, WorkerState

ENDPOINT = Endpoint(id="run-1", name="tiny", kind="images", base_url="http://127.0.0.1:1/v1")
EVIL = '<img src=x onerror="alert(1)">'


def item(state: ItemState | None = None, size: str = "auto", **end: object) -> Item:
    settings = EditSettings(prompt=EVIL, size=size, seed=7)
    asked = Asked(id="01" * 9, created_at=100.0, settings=settings, size_before=(1600, 900))
    ended = End(state=state, ended_at=124.1, **end) if state else None  # type: ignore[arg-type]
    return Item(asked=asked, end=ended)


def html(found: Item, tells: bool = True, **job: object) -> str:
    return look_html("en", Look(found, Job.model_validate(job), tells), variant=0)


def test_the_stage_has_the_results_shape_before_there_is_one() -> None:
    assert shape(item()) == (1376, 768), "the first picture's shape at a megapixel"
    assert shape(item(size="512x640")) == (512, 640)
    assert shape(item(ItemState.DONE, num_out=1, size_out=(640, 480))) == (640, 480)
    assert "--w:1376;--h:768" in html(item(), state="queued")


@pytest.mark.parametrize(
    ("value", "said"), [(0.57, "0.57"), (0.9, "0.9"), (24.14, "24.1"), (3.0, "3"), (229.6, "230")]
)
def test_seconds_are_as_exact_as_they_matter(value: float, said: str) -> None:
    assert seconds(value) == said


def test_where_the_time_went_is_one_line() -> None:
    times = {"encode_s": 0.9, "step_s": 0.57, "decode_s": 0.4, "total_s": 24.1}
    peaks = {"cards": [22_870_000_000], "host": 1}
    done = item(ItemState.DONE, num_out=1, steps=40, seeds=(7,), rung="fp8", true_cfg_scale=4.0)
    said = html(done, state="done", steps=40, timings=times, peaks=peaks)
    assert "24.1 s: encode 0.9, 40 steps at 0.57, decode 0.4; peak 21.3 GiB" in said
    assert "seed 7 · true CFG 4" in said and EVIL not in said
    two = item(ItemState.DONE, num_out=2, steps=40, seeds=(7, 8), rung="fp8")
    said = html(two, state="done", steps=40, timings={**times, "total_s": 47.3})
    assert "decode 0.4; steps and decoding 2 times" in said
    bare = html(done, state="done", elapsed_s=24.1)
    assert "24.1 s</p>" in bare, "a server that tells nothing of its stages"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"state": "queued", "position": 0}, "Next in line"),
        ({"state": "queued", "position": 3}, "3 before this one"),
        ({"state": "loading"}, "The worker is loading"),
        ({"state": "encoding"}, "Reads prompt and pictures"),
        ({"state": "running", "step": 3, "steps": 8}, "Step 3 of 8"),
        (
            {"state": "running", "step": 3, "steps": 8, "variant": 1, "variants": 2},
            "Step 3 of 8, variant 2 of 2",
        ),
        ({"state": "decoding"}, "Turns latents into a picture"),
    ],
)
def test_every_stage_is_said(job: dict[str, object], said: str) -> None:
    page = html(item(), **job)
    assert said in page and EVIL not in page and 'data-act="cancel"' in page
    if job["state"] == "running":
        share = "68.8" if "variant" in job else "37.5"
        assert f"width:{share}%" in page


def test_a_server_without_jobs_does_not_tell_how_far_it_is() -> None:
    assert "it does not tell how far it is" in html(item(), tells=False, state="running")


def test_before_lies_exactly_under_a_result_of_nearly_its_shape() -> None:
    """A side rounded to whole patches must not leave a strip beside the picture."""
    near = {"num_out": 1, "size_out": (1376, 768)}
    assert "l-img-was l-fitted" in html(item(ItemState.DONE, **near), state="done")
    square = {"num_out": 1, "size_out": (1024, 1024)}
    assert "l-fitted" not in html(item(ItemState.DONE, **square), state="done")


def test_what_a_person_cancelled_is_called_so() -> None:
    said = html(item(ItemState.CANCELLED), state="cancelled")
    assert "Cancelled</span>" in said and "Stopped" not in said


def test_a_failure_has_a_cause_and_a_way_on() -> None:
    fault = Fault(message="Out of memory.", hint="Ask for a smaller size.")
    page = html(item(ItemState.FAILED, error=fault), state="failed", error=fault.model_dump())
    assert "Out of memory." in page and "smaller size" in page and 'data-act="again"' in page
    assert "This edit was cancelled." in html(item(ItemState.CANCELLED), state="cancelled")


def test_the_gallery_says_what_became_of_each() -> None:
    many = [item(), item(ItemState.FAILED), item(ItemState.DONE, num_out=3)]
    page = gallery_html("en", many, more=True)
    assert page.count("data-image-cell") == 3 and "data-image-more-items" in page
    assert '<i class="l-img-count">3</i>' in page and "l-failed" in page and EVIL not in page
    assert "Nothing here yet" in gallery_html("en", [], more=False)


# the worker -------------------------------------------------------------------------------------


def test_expected_seconds_follow_what_is_asked() -> None:
    state = WorkerState(endpoint=ENDPOINT, rung="fp8", step_s=0.5, encode_s=2.0, decode_s=1.0)
    assert state.seconds(Wish()) == 2 + 40 * 0.5 + 1
    assert state.seconds(Wish(cfg=1.0)) == 2 + 40 * 0.25 + 1, "without CFG one forward of two"
    assert state.seconds(Wish(variants=2)) == 2 + 2 * (40 * 0.5 + 1), "encoded once"
    assert state.seconds(Wish(steps=4)) == 2 + 4 * 0.5 + 1
    three = state.seconds(Wish(pictures=3))
    assert three == 2 + 40 * 0.5 * 2 + 1, "every picture adds its tokens"
    assert state.seconds(Wish(pixels=512 * 512)) == 2 + 40 * 0.5 * 0.625 + 0.25, "by its area"
    assert WorkerState(endpoint=ENDPOINT).seconds(Wish()) is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_inference_steps": 4, "reference_pixels": 16384, "default_pixels": 147456},
        {"lightning": "l.safetensors", "lightning_steps": 8},
        {"true_cfg_scale": 1.0, "max_pixels": 512 * 512},
    ],
    ids=["as-it-is", "small", "lightning", "no-cfg"],
)
@pytest.mark.parametrize("measured", [False, True])
def test_page_and_worker_say_the_same_seconds(settings: dict[str, Any], *, measured: bool) -> None:
    """The page by what is asked, the worker's strip by its ladder, the front for a job."""
    ordinary, defaults = Ordinary.of(settings), Defaults.of(settings)
    steps = defaults.num_inference_steps
    row = {"rung": "fp8", "encode_s": 2.0, "step_s": 0.5, "decode_s": 1.0}
    row["picture_s"] = 3.0 + steps * 0.5
    if measured:
        row |= {"measured_encode_s": 1.0, "measured_step_s": 0.4, "measured_decode_s": 3.0}
    told = {"rung": "fp8", "ladder": [row]}
    state = WorkerState(
        endpoint=ENDPOINT,
        ordinary=ordinary,
        steps=steps,
        cfg=defaults.true_cfg_scale,
        **image_state._from_ladder(told),
    )
    strip = read_told(told).picture_s
    assert strip == pytest.approx(4.0 + steps * 0.4 if measured else row["picture_s"])
    assert state.seconds(Wish()) == pytest.approx(strip)
    estimates = Estimates(ordinary)
    estimates.expect([row | {k.removeprefix("measured_"): v for k, v in row.items()}])
    asked = check({"prompt": "x"}, defaults)
    job = FrontJob(
        Path("jobs"), asked, (ordinary.side, ordinary.side), num_pictures=1, masked=False
    )
    assert estimates.seconds(job, "fp8") == pytest.approx(strip)


def test_the_line_says_why_and_who_waits() -> None:
    state = WorkerState(endpoint=ENDPOINT, rung="fp8", why=EVIL, step_s=0.5, waiting=2)
    said = image_state.line("en", state, Wish())
    assert "≈ 20 s" in said and "2 in line" in said and EVIL not in said
    assert "No worker runs" in image_state.line("en", WorkerState(), Wish())
    moved = WorkerState(endpoint=ENDPOINT, reloading=True)
    assert "another rung" in image_state.line("en", moved, Wish())


def test_without_a_worker_an_operator_is_offered_what_fits(settings: Settings) -> None:
    studio = Studio(settings)
    found = offers(studio)
    assert found[0].recipe.name == "diffusers/smoke" and found[0].fits
    page = empty("en", studio, WorkerState(), Person("ann"))
    assert 'data-value="diffusers/smoke"' in page and "data-image-address" in page
    assert page.count("data-image-plan=") == len(found) >= 2, "what does not fit has a ladder, too"
    assert "GiB" in page, "each says what it takes, or what it lacks"
    guest = empty("en", studio, WorkerState(), Person("guest gus", guest=True))
    assert "The demo is not started yet" in guest and "data-act" not in guest


# the desk ---------------------------------------------------------------------------------------


def test_examples_use_samples_that_are_there() -> None:
    assert {name for names in EXAMPLES.values() for name in names} <= set(SAMPLES)
    for name in SAMPLES:
        small = Image.open(io.BytesIO(sample(name, small=True)))
        assert small.format == "PNG" and max(small.size) == 192
    with pytest.raises(NotFound):
        sample("../x")


def test_a_guest_is_not_offered_what_is_refused() -> None:
    guest, operator = desk("en", GUEST, operator=False), desk("zh", OPERATOR, operator=True)
    assert "data-image-batch" not in guest and "data-image-batch" in operator
    assert guest.count('data-image-pick="n"') == GUEST.max_n
    assert f'max="{GUEST.max_steps}"' in guest
    for size in SIZES:
        width, height = map(int, size.split("x"))
        assert width % 32 == height % 32 == 0 and (f'value="{size}"' in guest)


def test_uploads_make_room_for_newer_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tray, "MOST_KEPT", {True: 3, False: 3})
    tray = image_tray.Tray(tmp_path, ImageDesk(tmp_path / "images", list, lambda _: None))
    ann, gus = Person("ann"), Person("guest gus", guest=True)
    first, *_, last = [tray.put(ann, png(), f"{n}.png") for n in range(5)]
    kept = tray.put(gus, png(), "his.png")
    with pytest.raises(NotFound):
        tray.take(ann, first.id)
    assert tray.take(ann, last.id) and tray.take(gus, kept.id)
    assert len(list(tmp_path.rglob("*.png"))) == 4
    for who, ident in ((ann, kept.id), (gus, last.id), (ann, "../" + last.id), (ann, "")):
        with pytest.raises(NotFound):
            tray.take(who, ident)

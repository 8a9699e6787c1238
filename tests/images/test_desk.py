"""The desk: what is asked is kept, what ends is found again, and a guest has bounds."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from images.conftest import ANN, GUEST, OTHER_GUEST, Runs
from images.stand_in import StandIn, png
from PIL import Image

from studio.core.errors import NotFound, RunBusy
from studio.core.spec import Endpoint
from studio.images import desk as desks
from studio.images import pngmeta
from studio.images.desk import ImageDesk, Look
from studio.images.item import ItemState
from studio.images.request import EditInvalid, EditRequest, EditSettings


def asking(prompt: str = "make it night", *, pictures: int = 1, **settings) -> EditRequest:
    shown = tuple(png(colour=colour) for colour in ("teal", "gold", "navy")[:pictures])
    return EditRequest(pictures=shown, settings=EditSettings(prompt=prompt, **settings))


def until_ended(desk: ImageDesk, person, ident: str) -> Look:
    deadline = time.monotonic() + 10
    while not (look := desk.look(person, ident)).ended:
        assert time.monotonic() < deadline, look
        time.sleep(0.01)
    return look


def test_an_edit_from_request_to_picture(desk: ImageDesk, worker: StandIn) -> None:
    item = desk.submit(ANN, asking(n=2, seed=7, num_inference_steps=4, true_cfg_scale=3.5))
    assert item.state is ItemState.PENDING and desk.items(ANN) == [item]
    form = worker.forms[0]
    assert (form["prompt"], form["n"], form["seed"]) == ("make it night", "2", "7")
    assert form["num_inference_steps"] == "4" and form["model"] == "tiny-edit"
    look = desk.look(ANN, item.id)
    assert (look.job.state, look.job.position, look.job.eta_s) == ("queued", 1, 12.0)
    assert desk.preview(ANN, item.id) is None
    worker.step("job-1", 2)
    look = desk.look(ANN, item.id)
    assert (look.job.step, look.job.steps, look.job.preview, look.tells) == (2, 4, 2, True)
    assert desk.preview(ANN, item.id) == b"RIFFpreviewWEBP"
    worker.finish("job-1")
    look = desk.look(ANN, item.id)
    assert look.ended and look.item.out == ("out-0.png", "out-1.png")
    assert look.item.end is not None and look.item.end.seeds == (7, 8)
    assert look.item.end.size_out == (64, 48) and look.item.end.timings["total_s"] == 20.0
    data = desk.file(ANN, item.id, "out-1.png").read_bytes()
    settings = desk.read_back(data)
    assert settings is not None and (settings.prompt, settings.seed) == ("make it night", 8)
    assert settings.num_inference_steps == 4 and settings.true_cfg_scale == 3.5
    assert pngmeta.texts(data)["Description"].startswith("make it night | Steps: 4, True CFG: 3.5")
    with Image.open(desk.file(ANN, item.id, look.item.thumb)) as thumb:
        assert thumb.format == "WEBP"
    assert desk.items(ANN) == [look.item] and desk.pending(ANN) == []


def test_several_pictures_and_a_mask(desk: ImageDesk, worker: StandIn) -> None:
    mask = io.BytesIO()
    marks = Image.new("L", (64, 48))
    marks.paste(255, (0, 0, 32, 48))
    marks.save(mask, "PNG")
    given = asking(pictures=3)
    item = desk.submit(
        ANN, EditRequest(pictures=given.pictures, mask=mask.getvalue(), settings=given.settings)
    )
    assert len(worker.forms[0]["image"]) == 3 and len(worker.forms[0]["mask"]) == 1
    again = desk.reuse(ANN, item.id)
    assert len(again.pictures) == 3 and again.mask is not None
    assert again.settings == item.settings and item.settings.seed is not None
    assert Image.open(io.BytesIO(again.mask)).getpixel((5, 5)) == 255
    desk.submit(ANN, again)
    assert worker.forms[1]["seed"] == worker.forms[0]["seed"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (asking(" "), "The prompt is empty."),
        (asking("x" * 9000), "The prompt has 9000 characters"),
        (asking(num_inference_steps=1), "num_inference_steps is 1; it goes from 2 to 200."),
        (asking(n=99), "n is 99; it goes from 1 to 8."),
        (asking(size="big"), "'big' is no size."),
        (asking(size="1000x1000"), "both sides have to be multiples of 16"),
        (asking(size="9008x9008"), "more than 4.2 megapixels"),
        (asking(loras={"../../secret": 1.0}), "is not the name of a style"),
        (EditRequest(pictures=(), settings=EditSettings(prompt="x")), "There is no picture"),
        (EditRequest(pictures=(png(),) * 4, settings=EditSettings(prompt="x")), "4 pictures are"),
        (EditRequest(pictures=(b"<svg/>",), settings=EditSettings(prompt="x")), "not a picture"),
    ],
)
def test_what_cannot_be_asked(
    desk: ImageDesk, worker: StandIn, request_: EditRequest, says: str
) -> None:
    with pytest.raises(EditInvalid, match=says):
        desk.submit(ANN, request_)
    assert worker.forms == [] and desk.items(ANN) == []


def test_the_workers_own_refusal_is_handed_on(desk: ImageDesk, worker: StandIn) -> None:
    hint = "1024x768 is near."
    said = {"message": f"size is odd. {hint}", "hint": hint, "code": "invalid_value"}
    worker.refuse = (400, {"error": said})
    with pytest.raises(EditInvalid) as caught:
        desk.submit(ANN, asking())
    assert (caught.value.message, caught.value.hint) == ("size is odd.", hint)
    worker.refuse = (429, {"error": {"message": "64 pictures wait already.", "hint": ""}})
    with pytest.raises(RunBusy, match="64 pictures wait already"):
        desk.submit(ANN, asking())
    assert desk.items(ANN) == [], "nothing is kept of what was not taken"
    assert not [p for p in desk.gallery(ANN).folder.iterdir() if p.name.endswith(".part")]


def test_a_failure_is_kept_with_its_reason(desk: ImageDesk, worker: StandIn) -> None:
    item = desk.submit(ANN, asking())
    fault = {"message": "No rung is left.", "hint": "Free a card.", "log": ["oom"]}
    worker.end("job-1", state="failed", error=fault, notes=["whole: out of memory"])
    end = desk.look(ANN, item.id).item.end
    assert end is not None and end.error is not None
    assert (end.error.message, end.error.log) == ("No rung is left.", ("oom",))
    assert end.notes == ("whole: out of memory",) and end.num_out == 0
    look = desk.look(ANN, item.id)
    assert look.job.state == "failed" and look.job.error == end.error
    theirs = desk.submit(GUEST, asking())
    worker.end("job-2", state="failed", error=fault)
    assert "oom" not in str(desk.look(GUEST, theirs.id).as_dict()), "a log may name paths"


def test_cancel_and_delete(desk: ImageDesk, worker: StandIn) -> None:
    first, second = desk.submit(ANN, asking()), desk.submit(ANN, asking())
    look = desk.cancel(ANN, first.id)
    assert look.ended and look.item.state is ItemState.CANCELLED
    assert desk.cancel(ANN, first.id).item == look.item
    desk.delete(ANN, second.id)
    assert worker.jobs["job-2"]["state"] == "cancelled"
    assert [item.id for item in desk.items(ANN)] == [first.id]
    for gone in (second.id, "../" + first.id, ""):
        with pytest.raises(NotFound):
            desk.look(ANN, gone)
    with pytest.raises(NotFound):
        desk.file(ANN, first.id, "item.json")


def test_results_are_found_after_the_worker_has_ended(
    new_desk: Callable[[], ImageDesk], worker: StandIn, runs: Runs
) -> None:
    desk = new_desk()
    done, lost = desk.submit(ANN, asking(seed=1)), desk.submit(ANN, asking())
    worker.finish("job-1")
    worker.close()
    look = desk.look(ANN, lost.id)
    assert not look.ended, "a worker that does not answer for a moment is no error"
    assert desk.look(ANN, done.id).ended, "what it wrote down is enough"
    runs.known["run-1"] = (runs.known["run-1"][0], False)
    later = new_desk()
    assert [item.state for item in later.items(ANN)] == [ItemState.FAILED, ItemState.DONE]
    end = later.item(ANN, lost.id).end
    assert end is not None and end.error is not None and "ended before" in end.error.message
    assert later.file(ANN, done.id, "out-0.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_deleted(desk: ImageDesk, worker: StandIn, runs: Runs) -> None:
    item = desk.submit(ANN, asking())
    worker.close()
    runs.known.clear()
    end = desk.look(ANN, item.id).item.end
    assert end is not None and end.error is not None and "is gone" in end.error.message


def test_a_guest_waits_for_the_own_last_one(
    new_desk: Callable[[], ImageDesk], worker: StandIn
) -> None:
    desk = new_desk()
    first = desk.submit(GUEST, asking())
    with pytest.raises(RunBusy, match="not done yet"):
        desk.submit(GUEST, asking())
    with pytest.raises(RunBusy):
        new_desk().submit(GUEST, asking())
    theirs = desk.submit(OTHER_GUEST, asking())
    desk.submit(ANN, asking())
    desk.submit(ANN, asking())
    users = [form["user"] for form in worker.forms]
    assert len(set(users)) == 3 and not any("demo" in user for user in users)
    worker.finish("job-1")
    desk.submit(GUEST, asking())
    for ident in (theirs.id, desk.items(ANN)[0].id):
        with pytest.raises(NotFound):
            desk.look(GUEST, ident)
    with pytest.raises(NotFound):
        desk.look(OTHER_GUEST, first.id)


def test_a_guests_bounds(desk: ImageDesk, worker: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.auto = True
    for wrong in ({"num_inference_steps": 51}, {"n": 3}, {"size": "1536x1536"}):
        with pytest.raises(EditInvalid):
            desk.submit(GUEST, asking(**wrong))
    limits = desks.GUEST.model_copy(update={"kept": 3})
    monkeypatch.setattr(desks, "GUEST", limits)
    made = [desk.submit(GUEST, asking(str(n))) for n in range(5) if desk.items(GUEST) is not None]
    kept = [item.id for item in desk.items(GUEST)]
    assert kept == [item.id for item in reversed(made[-3:])]
    folder = desk.gallery(GUEST).folder
    assert folder.parent.name == ".guests" and "0123456789abcdef" not in str(folder)


def test_guests_see_no_pasted_endpoint(tmp_path: Path, worker: StandIn) -> None:
    pasted = worker.endpoint.model_copy(update={"id": "url-1", "run_id": None, "name": "secret"})
    desk = ImageDesk(tmp_path, lambda: [pasted, worker.endpoint], lambda run: None)
    assert desk.endpoints(GUEST) == [worker.endpoint] and len(desk.endpoints(ANN)) == 2
    with pytest.raises(NotFound, match="not running any more"):
        desk.submit(GUEST, asking(), endpoint="secret")
    nothing = ImageDesk(tmp_path, lambda: [], lambda run: None)
    with pytest.raises(NotFound, match="Nothing is running that edits pictures"):
        nothing.submit(ANN, asking())


def test_forgotten_guests_are_removed(
    desk: ImageDesk, worker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.auto = True
    desk.submit(GUEST, asking())
    monkeypatch.setattr(desks, "GUESTS_KEPT_S", -1.0)
    desk._tidied = 0.0
    desk.submit(ANN, asking())
    assert desk.items(GUEST) == [] and len(desk.items(ANN)) == 1


# endpoints without jobs -------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path):
    with StandIn(jobs=False, key="s3cret") as server:
        yield server, lambda: ImageDesk(tmp_path / "f", lambda: [server.endpoint], lambda run: None)


def test_an_endpoint_that_answers_once(foreign) -> None:
    server, new = foreign
    desk = new()
    server.release.clear()
    item = desk.submit(ANN, asking(n=2, seed=3))
    look = desk.look(ANN, item.id)
    assert (look.tells, look.job.state, look.job.steps) == (False, "running", 0)
    assert not new().look(ANN, item.id).ended, "another process waits for it"
    server.release.set()
    look = until_ended(desk, ANN, item.id)
    assert look.item.state is ItemState.DONE and look.item.out == ("out-0.png", "out-1.png")
    assert look.item.end is not None and look.item.end.seeds == (3, 4)
    assert server.forms[0]["response_format"] == "b64_json"


def test_cancelling_one_cuts_the_connection(foreign) -> None:
    server, new = foreign
    desk = new()
    server.release.clear()
    item = desk.submit(ANN, asking())
    assert desk.cancel(ANN, item.id).item.state is ItemState.CANCELLED
    server.release.set()
    time.sleep(0.05)
    assert desk.item(ANN, item.id).state is ItemState.CANCELLED


def test_a_studio_that_was_closed_meanwhile(foreign) -> None:
    _, new = foreign
    desk = new()
    desk._settling.waits.start = lambda *_: None  # the process dies before it asks
    item = desk.submit(ANN, asking())
    look = new().look(ANN, item.id)
    assert look.ended and look.item.end is not None and look.item.end.error is not None
    assert "was closed while" in look.item.end.error.message


def test_its_refusal_is_kept(foreign) -> None:
    server, new = foreign
    desk = new()
    server.refuse = (422, {"detail": [{"msg": "prompt is too rude"}]})
    look = until_ended(desk, ANN, desk.submit(ANN, asking()).id)
    assert look.job.error is not None and look.job.error.message == "prompt is too rude."


def test_a_wrong_key(foreign, tmp_path: Path) -> None:
    server, _ = foreign
    wrong: Endpoint = server.endpoint.model_copy(update={"api_key": "no"})
    desk = ImageDesk(tmp_path / "w", lambda: [wrong], lambda run: None)
    look = until_ended(desk, ANN, desk.submit(ANN, asking()).id)
    assert look.job.error is not None and "refuses the API key" in look.job.error.message

"""From a launch's settings to the ladder, kept with the run, printed, and compared afterwards."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import spec
from planner.planning import GIB, NO_HUB, h200, rtx4090

from studio.cli import main
from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT, Settings
from studio.core.spec import Imaging, State
from studio.engines.image_edit import MODEL_DIR
from studio.engines.image_fields import MODEL
from studio.engines.workers.image_edit import worked
from studio.engines.workers.image_edit.ladder import RUNGS
from studio.jobs.jobs import Run
from studio.jobs.rundir import RunDir
from studio.planner.image_result import ImagePlan
from studio.planner.images import plan_images
from studio.planner.measured import compare, read_plan
from studio.planner.result import CardMemory
from studio.planner.shapes import CannotPlan
from studio.studio import Launch, Studio
from studio.ui.image.table import plan_text
from studio.ui.plan.view import compared

TINY = "assets/models/tiny-qwen-image-edit"


@pytest.fixture
def studio(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("HF_HUB_CACHE", str(NO_HUB))
    monkeypatch.delenv(MODEL_DIR, raising=False)
    return Studio(settings)


def plan(cards: list[CardMemory] | None = None, *, host: float = 120, **asked: Any) -> ImagePlan:
    """The ladder on cards one thinks of, `host` in GiB."""
    need = Imaging(**{"model": MODEL, **asked})
    return plan_images(
        need,
        cards=cards or [],
        root=ROOT,
        imagined=True,
        host_bytes=int(host * GIB),
        hub=NO_HUB,
    )


def ask(**settings: Any) -> Launch:
    return Launch(engine="image-edit", settings={"model": TINY, "dtype": "float32", **settings})


# the ladder -------------------------------------------------------------------------------------


def test_one_h200() -> None:
    found = plan(h200())
    assert (found.fits, found.chosen, found.reason) == (True, "whole", "image_fits")
    assert [rung.name for rung in found.rungs if rung.name == "whole"] == ["whole"]
    assert {rung.name for rung in found.rungs} == set(RUNGS)
    assert found.params == 28_849_460_275
    first = found.first
    assert first and first.picture_s == pytest.approx(40 * first.step_s, rel=0.1)
    assert not first.measured


@pytest.mark.parametrize(
    ("cards", "host", "rung"),
    [
        (rtx4090(2), 120, "split"),
        (rtx4090(2), 60, "split"),
        (rtx4090(), 120, "groups"),
        (rtx4090(), 60, "groups"),
        (rtx4090(), 30, "fp8"),
        ([], 120, "cpu"),
        ([], 62, "cpu"),
        ([], 30, "cpu-fp8"),
        ([], 12, ""),
    ],
)
def test_other_machines(cards: list[CardMemory], host: float, rung: str) -> None:
    found = plan(cards, host=host)
    assert found.chosen == rung and found.fits == bool(rung)


def test_parts_of_a_card_add_up() -> None:
    for rung in plan(rtx4090(2)).rungs:
        for card in (*rung.cards, *([rung.host] if rung.host else [])):
            held = sum(part.bytes for part in card.parts)
            if not card.over_bytes:
                assert held == pytest.approx(card.total_bytes, abs=2), (rung.name, card)
    split = plan(rtx4090(2)).first
    assert split and [card.card for card in split.cards] == [0, 1]
    assert split.cards[0].of("vae") and not split.cards[1].of("vae")
    assert split.blocks == 60 and split.streamed_blocks == 0
    assert split.host and split.host.of("text_encoder") == 2 * (8_292_166_656 - 544_997_376)


def test_what_somebody_else_holds_counts() -> None:
    busy = rtx4090(used=12 * GIB)
    need = Imaging(model=MODEL)
    found = plan_images(need, cards=busy, root=ROOT, hub=NO_HUB, host_bytes=120 * GIB)
    idle = plan_images(need, cards=rtx4090(), root=ROOT, hub=NO_HUB, host_bytes=120 * GIB)
    assert found.first and idle.first
    assert found.first.streamed_blocks > idle.first.streamed_blocks
    assert found.first.cards[0].of("other") == 12 * GIB


def test_a_rung_that_is_too_large_is_tried_when_asked_for() -> None:
    found = plan(rtx4090(), rung="whole")
    assert (found.fits, found.chosen, found.reason) == (False, "whole", "image_forced")
    assert found.first and found.first.cards[0].over_bytes > 25 * GIB
    assert found.advice[0].changes == {"rung": "auto"}


def test_a_rung_that_cannot_be_is_refused_with_its_reason() -> None:
    found = plan(rtx4090(), rung="split")
    assert (found.fits, found.chosen, found.reason) == (False, "", "image_refused")
    assert found.values["why"] == "It needs two cards, and there is one."


@pytest.mark.parametrize("settings", [{}, {"device": "cuda"}, {"compile": True}])
def test_without_a_card_it_says_so_and_shows_the_cpu(settings: dict[str, Any]) -> None:
    """A recipe for one or two cards, planned on a machine that has none."""
    found = plan(host=14, **settings)
    assert (found.fits, found.chosen, found.reason) == (False, "", "image_no_card")
    on_cpu = [rung for rung in found.rungs if rung.name in ("cpu", "cpu-fp8")]
    assert all(rung.why and "needs a card" not in rung.why for rung in on_cpu)
    assert plan(host=122).chosen == "cpu"
    forced = plan(host=122, rung="split")
    assert forced.reason == "image_refused"
    assert forced.values["why"] == "It needs a card, and there is none."


def test_advice_is_worked_out_again() -> None:
    found = plan(rtx4090(), host=30, allow_quantized=False)
    assert (found.fits, found.reason) == (False, "image_none")
    assert {"allow_quantized": True} in [one.changes for one in found.advice]
    assert plan(rtx4090(), host=30, **found.advice[0].changes).fits
    assert plan(host=10).advice == ()
    limited = plan(h200(), host=120, max_card_memory_gib=1.0, device="cuda")
    assert {"max_card_memory_gib": None} in [one.changes for one in limited.advice]


def test_notes() -> None:
    assert ("image_expected", {}) in plan(h200()).notes
    assert ("published", {}) in plan(h200()).notes
    assert ("image_cpu", {}) in plan(host=120).notes
    slow = dict(plan(host=120).notes)
    assert slow["image_slow"]["minutes"] > 10
    strange = [CardMemory(0, "Some Card", 200 * GIB, 0)]
    assert ("image_card_unknown", {"name": "Some Card"}) in plan(strange).notes


def test_lightning_is_much_faster() -> None:
    plain, fast = plan(h200()), plan(h200(), num_inference_steps=4, cfg=False)
    assert plain.first and fast.first
    assert 10 < plain.first.picture_s / fast.first.picture_s < 25


# the model --------------------------------------------------------------------------------------


def test_a_model_nobody_knows() -> None:
    with pytest.raises(CannotPlan, match="not on this machine"):
        plan(h200(), model="somebody/else")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="its configs cannot be read"):
        plan(h200(), model=str(tmp_path))


def test_the_download_has_to_fit_on_the_disk() -> None:
    need = Imaging(model=MODEL)
    found = plan_images(
        need, cards=h200(), root=ROOT, hub=NO_HUB, host_bytes=120 * GIB, disk_free_bytes=9 * GIB
    )
    assert (found.fits, found.reason) == (False, "disk")
    assert found.download_bytes == pytest.approx(57.7e9, rel=0.01)
    dummy = plan(h200(), dummy_weights=True)
    assert dummy.download_bytes == dummy.disk_bytes == 0


def test_a_snapshot_in_the_hubs_cache_is_found(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--me--edit" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(ROOT / TINY)
    need = Imaging(model="me/edit", dtype="float32")
    found = plan_images(need, cards=[], root=ROOT, hub=tmp_path)
    assert found.params < 10_000_000 and found.download_bytes == 0


def test_a_gguf_file_and_one_on_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "edit-Q4_K_M.gguf"
    with file.open("wb") as made:
        made.truncate(13_000_000_000)
    local = plan(rtx4090(), host=30, gguf=str(file))
    assert local.chosen == "resident"
    assert local.first and local.first.cards[0].of("transformer") == pytest.approx(13e9, rel=0.02)
    far = plan(rtx4090(), host=30, gguf="me/GGUF/edit-Q4_K_M.gguf")
    assert far.first and far.first.cards[0].of("transformer") == pytest.approx(13.2e9, rel=0.02)


# through the studio -----------------------------------------------------------------------------


def test_a_launch_is_planned_on_this_machine(studio: Studio) -> None:
    found = studio.image_plan(ask())
    assert found and found.chosen == "cpu" and found.fits
    assert found.first and [card.card for card in found.first.cards] == [None]
    assert studio.image_plan(Launch(engine="vllm", settings={"model": "/m"})) is None


def test_a_launch_is_planned_on_another_machine(studio: Studio) -> None:
    asked = ask(model=MODEL, dtype="bfloat16")
    found = studio.image_plan(asked, cards=rtx4090(2), host_bytes=60 * GIB)
    assert found and found.chosen == "split"


def test_facts_and_plan_json(studio: Studio) -> None:
    facts = studio.plan(ask())
    assert facts["imaging"]["chosen"] == "cpu" and facts["weights_bytes"] > 1_000_000
    kept = studio.plans.kept(ask())
    assert kept and ImagePlan.model_validate_json(json.dumps(kept)).chosen == "cpu"


def test_what_was_measured_here_is_used(studio: Studio, settings: Settings) -> None:
    before = studio.image_plan(ask())
    key = _key(studio)
    told = {"step_s": 0.011, "encode_s": 0.1, "decode_s": 0.2, "load_s": 1.0}
    worked.note_worked(settings.home / "cache" / "image-edit", key, "cpu", told)
    after = studio.image_plan(ask())
    assert before and before.first and not before.first.measured
    assert after and after.first and after.first.measured
    assert after.first.step_s == pytest.approx(0.011)
    assert ("image_measured", {}) in after.notes


def _key(studio: Studio) -> str:
    """The entry the worker would use, from the content of its image.json."""
    from studio.engines.workers.image_edit.machine import this_machine

    told = json.loads(studio.preview(ask()).command.files["image.json"])
    limits = (told["max_card_memory_gib"], told["max_host_memory_gib"])
    return worked.key_of(this_machine(), told["model"], told["dtype"], told["gguf"], limits)


def test_the_command_line_prints_a_row_for_every_rung() -> None:
    lines = plan_text("en", plan(rtx4090(), host=30))
    assert lines[0] == "It fits, and starts on the rung “fp8”."
    rows = {line.split()[1]: line for line in lines if line[:1] in "*+-"}
    assert set(RUNGS) <= set(rows)
    assert rows["fp8"].startswith("*") and rows["cpu-fp8"].startswith("+")
    assert rows["split"].startswith("-") and "It needs two cards" in rows["split"]
    assert "~" in rows["fp8"]
    chinese = plan_text("zh", plan(rtx4090(), rung="split"))
    assert chinese[0] == "“split”这一档用不了。需要两张卡，但只有一张。"


def test_plan_on_the_command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LADDER_HOME", str(settings.home))
    monkeypatch.setattr(sys, "argv", ["app.py", "plan", "diffusers/smoke"])
    with contextlib.suppress(SystemExit):
        main()
    said = capsys.readouterr().out
    assert "It fits, and starts on the rung “cpu”." in said
    assert "\n*  cpu " in said and "\n-  whole " in said


# afterwards -------------------------------------------------------------------------------------


def run_dir(tmp_path: Path, kept: ImagePlan, jobs: list[dict[str, Any]]) -> RunDir:
    """The folder of a run whose jobs left these last statuses."""
    made = RunDir(tmp_path / "run")
    made.folder.mkdir()
    (made.folder / "plan.json").write_text(kept.model_dump_json())
    for number, told in enumerate(jobs):
        folder = made.artifacts / "jobs" / str(number)
        folder.mkdir(parents=True)
        (folder / "done.json").write_text(json.dumps(told))
    return made


def job(**changes: Any) -> dict[str, Any]:
    return {
        "state": "done",
        "rung": "whole",
        "timings": {"step_s": 0.775, "total_s": 31.5},
        "peaks": {"cards": [61_093_292_032], "host": 2_283_855_872},
        "settings": {"num_inference_steps": 40, "size": "auto", "n": 1},
        **changes,
    }


def test_planned_beside_measured(tmp_path: Path) -> None:
    """The figures are those of an H200 (2026-11-21)."""
    kept = plan(h200())
    run = run_dir(tmp_path, kept, [job()])
    assert read_plan(run) == kept
    found = compare(kept, run)
    assert found is not None
    assert [row.what for row in found.rows] == [
        "peak_bytes",
        "host_bytes",
        "image_step_s",
        "image_picture_s",
    ]
    for what in ("peak_bytes", "image_step_s", "image_picture_s"):
        row = found.of(what)
        assert row and abs(row.error) < 0.05, row
    made = Run(spec=spec("edit"), state=State.READY, dir=run, result=None)
    drawn = compared("en", made)
    assert "A step" in drawn and "0.775 s" in drawn and f"{61_093_292_032 / GIB:.1f} GiB" in drawn


def test_jobs_that_fell_or_failed_are_not_compared(tmp_path: Path) -> None:
    kept = plan(h200())
    fell = job(rung="groups")
    failed = job(state="failed")
    assert compare(kept, run_dir(tmp_path, kept, [fell, failed])) is None


def test_jobs_of_other_sizes_or_steps_are_compared_only_where_they_can_be(tmp_path: Path) -> None:
    kept = plan(h200())
    small = job(settings={"num_inference_steps": 40, "size": "512x512"})
    few = job(settings={"num_inference_steps": 4, "size": "auto"})
    found = compare(kept, run_dir(tmp_path, kept, [few, small]))
    assert found and found.of("image_step_s") and not found.of("image_picture_s")

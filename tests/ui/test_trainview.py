"""A training's figures, curves and list, from run folders written by hand."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ui import trainings

from studio.core.settings import Settings
from studio.core.spec import Endpoint, State
from studio.engines.trained import kind_of, result, saved, saved_at
from studio.studio import Studio
from studio.ui.runs.curvefeed import CurveFeed
from studio.ui.train import tuned
from studio.ui.train.after import Results
from studio.ui.train.routes import Live
from studio.ui.train.trainings import Trainings, training_runs
from studio.ui.train.view import figures, frame, machine

ENGINES = ("llamafactory-train",)


@pytest.fixture
def studio(settings: Settings) -> Studio:
    return Studio(settings)


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", ["best evaluation, at step 40", "tokens/s"]), ("zh", ["最佳验证，第 40 步", "步数"])],
)
def test_the_figures_that_matter(studio: Studio, lang: str, words: list[str]) -> None:
    run = trainings.training(studio, steps=40, of=80, outcome="", eval_every=10, save_every=20)
    look = Live(studio).look(run)
    html = figures(lang, run, look)
    for word in [*words, "40", "/ 80"]:
        assert word in html
    assert look.best is not None and look.best.step == 40 and look.best.best
    assert "MiB" in machine(lang, look)
    assert "train." not in frame(lang, run, [run]), "every word has its sentence"


def test_cards_are_drawn_with_memory_and_load(studio: Studio) -> None:
    run = trainings.training(studio, steps=30, of=60, outcome="", ranks=2, cards=(3, 5), bf16=True)
    html = machine("en", Live(studio).look(run))
    assert "Card 3" in html and "Card 5" in html and "99 %" in html


def test_fewer_processes_than_asked_for_is_an_alarm(studio: Studio) -> None:
    run = trainings.training(studio, steps=5, of=60, outcome="", ranks=2, seen=1)
    assert "Only 1 of 2 processes came up" in figures("en", run, Live(studio).look(run))
    whole = trainings.training(studio, steps=5, of=60, outcome="", ranks=2)
    assert "processes" not in figures("en", whole, Live(studio).look(whole))


def test_a_loss_that_is_no_number_is_an_alarm(studio: Studio) -> None:
    run = trainings.training(studio, steps=5, of=60, outcome="")
    with open(run.dir.artifacts / "output/trainer_log.jsonl", "a") as log:
        log.write('{"current_steps": 6, "total_steps": 60, "loss": NaN}\n')
    html = figures("en", run, Live(studio).look(run))
    assert "no number since step 6" in html and "NaN" in html


def test_before_the_first_step_the_last_line_is_shown(studio: Studio) -> None:
    run = trainings.training(studio, steps=0, of=60, outcome="")
    run.dir.log.write_text("Loading checkpoint shards: 50%\n")
    html = figures("en", run, Live(studio).look(run))
    assert "first logged step" in html and "Loading checkpoint shards" in html


def test_a_long_run_is_read_rarely_and_answered_at_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainings.training(studio, steps=20_000, of=100_000, outcome="")
    reads = []
    points = studio.points
    monkeypatch.setattr(studio, "points", lambda ident: reads.append(ident) or points(ident))
    feed = CurveFeed(studio)
    began = time.monotonic()
    feed.curves(run)
    reading = time.monotonic() - began
    trainings.write_steps(run.dir, 20_001, 20_001, 100_000)
    began = time.monotonic()
    for _ in range(20):
        lines = feed.curves(run).lines
    assert len(reads) == 1, "twenty looks cost one reading"
    assert time.monotonic() - began < max(0.1, reading)
    assert len(lines["loss"].points()[0]) < 800


def test_what_is_new_is_read_once_it_is_cheap(studio: Studio) -> None:
    run = trainings.training(studio, steps=10, of=20, outcome="")
    feed = CurveFeed(studio)
    assert feed.curves(run).lines["loss"].count == 10
    trainings.write_steps(run.dir, 11, 12, 20)
    until = time.monotonic() + 10
    while feed.curves(run).lines["loss"].count < 12:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_queued_runs_say_where_they_stand(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trainings.training(studio, name="first", steps=3, of=9, outcome="")
    waiting = trainings.training(studio, name="second", steps=0, outcome="")
    (waiting.dir.folder / "events.jsonl").write_text(
        '{"at": 1, "phase": "queued", "reason": "needs 2 cards and 1 is free"}\n'
    )
    monkeypatch.setattr(studio.jobs, "queue", lambda: ["other", waiting.id])
    assert studio.jobs.get(waiting.id).state is State.QUEUED
    listing = Trainings(studio, ENGINES)
    english, chinese = listing._rows("en"), listing._rows("zh")
    assert "2 of 2 in line" in english and "needs 2 cards" in english
    assert "排第 2，共 2 个" in chinese
    assert [run.id for run in training_runs(studio, ENGINES)] == [waiting.id, first.id]


def test_checkpoints_and_the_result(studio: Studio) -> None:
    run = trainings.training(studio, steps=60, eval_every=20, save_every=20)
    found = saved(run.dir)
    assert [(c.step, c.kind, c.best, c.resumable) for c in found] == [
        (20, "adapter", False, True),
        (40, "adapter", found[1].best, True),
        (60, "adapter", found[2].best, True),
    ]
    assert sum(c.best for c in found) == 1
    made = result(run.dir)
    assert made is not None and made.kind == "adapter" and made.step is None
    assert saved_at(run.dir).step == 60 and saved_at(run.dir, 40).step == 40
    with pytest.raises(Exception, match="no checkpoint 7"):
        saved_at(run.dir, 7)
    assert kind_of(run.dir.folder) == "other"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_everything_that_can_be_done_with_a_result(studio: Studio, lang: str) -> None:
    run = trainings.training(studio, steps=60, eval_every=20, save_every=20)
    html = Results(studio)._html(lang, run.id)
    for act in ('data-act="resume"', 'data-act="serve-tuned"'):
        assert act in html
    for engine in ("llamafactory-export", "llamafactory-predict", "lm-eval"):
        assert f'data-engine="{engine}"' in html
    assert "llm-compressor" not in html, "an adapter is merged before it is quantized"
    assert "train." not in html.replace("train.yaml", "")


def test_the_next_engine_begins_with_the_right_settings(studio: Studio) -> None:
    run = trainings.training(studio, steps=20, save_every=20)
    made = saved_at(run.dir, 20)
    for name in ("llamafactory-export", "llamafactory-predict", "lm-eval"):
        settings = tuned.next_settings(studio, name, run, made)
        assert str(made.folder) in settings.values() and trainings.TINY in settings.values()
        known = set(studio.engine(name).Config.model_fields)
        assert set(settings) <= known
    assert tuned.next_settings(studio, "nothing", run, made) == {}


def test_resume_goes_on_from_the_checkpoint(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainings.training(studio, steps=60, save_every=20)
    asked = []
    monkeypatch.setattr(studio, "launch", lambda ask: asked.append(ask) or run)
    studio.resume(run.id, 40)
    folder = run.dir.artifacts / "output/checkpoint-40"
    assert asked[0].settings["resume_from_checkpoint"] == str(folder)
    assert asked[0].relaunch_of == run.id


def launches(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []

    def launch(ask: Any) -> Any:
        asked.append(ask)
        return SimpleNamespace(id="x", spec=SimpleNamespace(name=ask.name))

    monkeypatch.setattr(studio, "launch", launch)
    return asked


def test_an_adapter_is_served_with_its_base(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = trainings.training(studio, steps=20), launches(studio, monkeypatch)
    made = tuned.found_in(run, "")
    assert tuned.served_at(studio, run, made) is None
    tuned.serve(studio, run, made)
    assert (asked[0].engine, asked[0].name) == ("vllm", "first-tuned")
    settings = asked[0].settings
    assert settings["model"] == trainings.TINY and settings["hot_lora"]
    assert settings["lora_modules"] == [f"tuned={made.folder}"]
    argv = studio.preview(asked[0]).command.argv
    assert argv[argv.index("--max-loras") + 1] == "4", "on a CPU the last slot stays empty"


def test_what_vllm_cannot_hang_on_is_merged(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = trainings.training(studio, steps=20), launches(studio, monkeypatch)
    made = tuned.found_in(run, "")
    path = made.folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
    tuned.serve(studio, run, made)
    assert asked[0].engine == "llamafactory-api"
    assert asked[0].settings["adapter_name_or_path"] == str(made.folder)
    studio.validate("llamafactory-api", asked[0].settings)


def test_a_server_with_the_base_takes_the_adapter_at_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = trainings.training(studio, steps=20, save_every=10), launches(studio, monkeypatch)
    hung: list[tuple[str, str, str]] = []
    config: dict[str, Any] = {"model": trainings.TINY, "max_loras": 4}
    config["lora_modules"] = [f"tuned={run.dir.artifacts}/output"]
    server = SimpleNamespace(
        spec=SimpleNamespace(config=config), dir=SimpleNamespace(adapters=list)
    )
    end = Endpoint(
        id="s", name="s", base_url="", models=("base", "tuned"), run_id="s", hot_lora=True
    )
    monkeypatch.setattr(studio, "endpoints", lambda kind="chat": [end])
    monkeypatch.setattr(studio.jobs, "get", lambda ident: server)
    monkeypatch.setattr(studio, "load_adapter", lambda *words: hung.append(words))
    made = saved_at(run.dir, 10)
    assert tuned.serve(studio, run, made) is None and asked == []
    assert hung == [("s", f"first-{run.id[-5:]}-10", str(made.folder))]
    result_of = tuned.found_in(run, "")
    config["lora_modules"] += ["a=/a", "b=/b"]
    tuned.serve(studio, run, made)
    assert len(hung) == 1 and asked.pop().engine == "vllm", "on a CPU the last slot stays empty"
    config |= {"lora_modules": config["lora_modules"][:1], "max_lora_rank": 4}
    tuned.serve(studio, run, made)
    assert len(hung) == 1 and asked[0].engine == "vllm", "rank 8 needs a server of its own"
    served = tuned.served_at(studio, run, result_of)
    assert served == tuned.Served("s", "tuned", "s", "base"), "Chat may compare the two"

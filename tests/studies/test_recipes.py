"""Every study that comes with the studio: it can be launched, and it says what it is about."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from studio.bench.definitions import definition
from studio.bench.point import Point
from studio.core.recipes import Bilingual, Recipe, Recipes, parse_overrides
from studio.core.settings import ROOT, Settings
from studio.engines.study_config import Expectation, StudyConfig
from studio.studies.cells import Cell, cells
from studio.studies.expect import Outcome, Verdict, judge
from studio.studies.studies import merged
from studio.studio import Studio
from studio.ui.charts import CHARTS

FOLDER = ROOT / "recipes" / "studies"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))
AXES = ("input_len", "output_len", "concurrency", "request_rate")
LINES = re.compile(r"^#\s+(python app\.py .*)$")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NAMES = re.compile(r"^[\w .，=-]*$")
"""Titles of cases that are names and nothing else: vLLM, ZeRO-1, LoRA."""

CASES = {
    "vllm-vs-hf": {"vllm", "hf"},
    "one-tp2-replicas-7b": {"one-card", "tp2", "replicas"},
    "one-tp2-replicas-14b": {"one-card", "tp2", "replicas"},
    "prefix-caching": {"on", "off"},
    "ddp-one-two": {"one", "two", "two-accelerate"},
    "bf16-fp32": {"bf16", "fp32"},
    "gradient-accumulation": {"batch8", "batch4x2", "batch2x4", "batch1x8"},
    "zero-stages": {"ddp", "zero1", "zero2", "zero3", "zero2-offload", "zero3-offload"},
    "lora-qlora-full": {"full", "lora", "qlora"},
    "image-rungs": {"whole", "groups", "fp8-fast", "fp8-fast-no-cfg", "nf4", "split"},
    "serving-grid-7b": {"grid"},
    "api-processes": {"one", "two", "four"},
    "tp2-api-processes": {"tp2-four", "one-four", "tp2-one"},
    "ladder": {"text", "vision-language", "parallel", "fine-tune", "edit"},
    "smoke-ladder": {"text", "vision-language", "parallel", "fine-tune", "edit"},
    "smoke-processes": {"one", "two"},
    "smoke-load": {"vllm"},
    "smoke-prefix-caching": {"on", "off"},
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(Settings(home=tmp_path_factory.mktemp("home"), variant="cuda"))


@cache
def recipe(name: str) -> Recipe:
    return Recipes(Path("/nowhere"), ROOT / "recipes").get(f"studies/{name}")


@cache
def config(name: str) -> StudyConfig:
    return StudyConfig.model_validate(recipe(name).settings)


def with_changes(studio: Studio, name: str, words: list[str]) -> list[Cell]:
    settings = merged(recipe(name).settings, parse_overrides(words))
    return cells(studio, StudyConfig.model_validate(settings))


def test_nothing_is_missing() -> None:
    assert set(SHIPPED) == set(CASES)
    assert {name: set(config(name).cases) for name in SHIPPED} == CASES


@pytest.mark.parametrize("name", SHIPPED)
def test_every_case_has_a_command(studio: Studio, name: str) -> None:
    _, checked = studio.validate("study", recipe(name).settings)
    assert isinstance(checked, StudyConfig)
    for cell in cells(studio, checked):
        spec = studio.preview(cell.launch)
        assert spec.command.argv, cell.name
        case = checked.cases[cell.case]
        wanted = studio.recipes.get(case.recipe)
        assert spec.recipe == wanted.name and spec.engine == wanted.engine
        cards = case.cards if case.cards is not None else spec.resources.num_gpus
        assert spec.resources.num_gpus == cards
        if not name.startswith("smoke") and name != "ladder":
            assert case.cards is not None, f"{name}: {cell.name} should name its cards"
        if cell.measure == "training":
            assert spec.ranks == max(1, spec.config["num_processes"] or cards)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_words_are_there_in_both_languages(name: str) -> None:
    told = config(name)
    titles = [case.title for case in told.cases.values()]
    words = [*titles, recipe(name).title, recipe(name).about]
    words += [part for wanted in told.expect for part in (wanted.title, wanted.possible)]
    assert None not in titles and all(wanted.title for wanted in told.expect)
    for one in filter(None, words):
        assert isinstance(one, Bilingual)
        assert not CHINESE.search(one.en), one.en
        assert CHINESE.search(one.zh) or (one in titles and NAMES.match(one.zh)), one.zh


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_expected_is_measured(name: str) -> None:
    """Known figures, cases and points of the grid; physics is said where it forbids."""
    told = config(name)
    assert told.expect and told.chart
    for wanted in told.expect:
        assert definition(wanted.metric).known, wanted.metric
        case = told.cases[wanted.of]
        for condition in (wanted.at, {**wanted.at, **wanted.against_at}):
            load = {**told.load, **case.load}
            for axis, value in condition.items():
                assert axis in AXES and value in load[axis], (name, condition)
        if wanted.bound is not None:
            assert (wanted.possible is not None and wanted.against) or not wanted.inverse
    assert set(told.charts) <= set(CHARTS)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_header_says_how_to_run_it(studio: Studio, name: str) -> None:
    """Its commands are taken by the parser of the command line and checked by the engines."""
    head = []
    for line in (FOLDER / f"{name}.yaml").read_text().splitlines():
        if not line.startswith("#"):
            break
        head.append(line)
    assert all(len(line) <= 120 for line in head) and CHINESE.search("".join(head))
    joined = "\n".join(head).replace("\\\n#", "")
    commands = [
        shlex.split(found[1]) for line in joined.splitlines() if (found := LINES.match(line))
    ]
    assert ["python", "app.py", "study", name] in commands
    for _, _, verb, *words in commands:
        if verb == "run":
            made = studio.ask_for(studio.recipes.get(words[0]), parse_overrides(words[1:]))
            assert studio.preview(made).command.argv
        elif verb == "study":
            found = with_changes(studio, words[0], words[1:])
            changed = {key for word in words[1:] if (key := word.partition("=")[0])}
            for key in changed - set(StudyConfig.model_fields):
                assert any(key in cell.launch.settings for cell in found), key
        else:
            assert verb == "smoke"


@pytest.mark.parametrize(
    "name", [n for n in SHIPPED if "load_format" in (FOLDER / f"{n}.yaml").read_text()]
)
def test_random_weights_change_every_server(studio: Studio, name: str) -> None:
    found = with_changes(studio, name, ["load_format=dummy", "model=assets/shapes/x"])
    assert all(cell.launch.settings["load_format"] == "dummy" for cell in found)
    assert all(cell.launch.settings["model"] == "assets/shapes/x" for cell in found)


def test_trainings_need_no_hub_for_their_data(studio: Studio) -> None:
    """Built-in samples, a fixed number of steps, and enough log lines after the warm-up."""
    for name in SHIPPED:
        for cell in cells(studio, config(name)):
            if cell.measure != "training":
                continue
            told = studio.preview(cell.launch).config
            assert told["dataset"].startswith("smoke_") and told["max_steps"] > 0
            warm = min(10, told["max_steps"] // 3)
            rows = [
                step
                for step in range(1, told["max_steps"] + 1)
                if step % told["logging_steps"] == 0 and step >= warm
            ]
            assert len(rows) >= 3, (name, cell.name)


def test_the_prompts_are_prompts() -> None:
    rows = (ROOT / config("vllm-vs-hf").load["dataset_path"]).read_text().splitlines()
    prompts = [json.loads(row)["prompt"] for row in rows]
    assert len(set(prompts)) == len(prompts) == 40
    assert sum(bool(CHINESE.search(prompt)) for prompt in prompts) == 20


# against what was measured -----------------------------------------------------------------------

H200: dict[str, Any] = json.loads((Path(__file__).with_name("recorded") / "h200.json").read_text())


def found(verdicts: list[Verdict], metric: str, of: str) -> Verdict:
    return next(v for v in verdicts if (v.metric, v.of) == (metric, of))


def test_zero_stages_say_what_was_measured_on_two_cards() -> None:
    """The recorded trainings of docs/evidence/train.md, judged by the shipped expectations."""
    points = [
        Point(
            id=name,
            case=name,
            figures={
                "peak_card_gib": max(told["result"]["peak_gpu_bytes"].values()) / 2**30,
                "samples_per_s": told["samples_per_s"],
                "tokens_per_s": told["samples_per_s"] * 1024,
            },
        )
        for name, told in H200.items()
    ]
    verdicts = judge(config("zero-stages").expect, points)
    four = found(verdicts, "peak_card_gib", "zero2")
    assert (
        four.state is Outcome.NOT_MET
        and four.forbidden
        and four.value == pytest.approx(1.49, abs=0.01)
    )
    assert four.bound == pytest.approx(16 / (2 + 14 / 2), abs=0.01)
    third = found(verdicts, "peak_card_gib", "zero3")
    assert third.state is Outcome.NOT_MET and not third.forbidden
    assert found(verdicts, "samples_per_s", "zero2").state is Outcome.MET
    assert found(verdicts, "peak_card_gib", "zero3-offload").state is Outcome.MET
    assert found(verdicts, "tokens_per_s", "zero3-offload").state is Outcome.MET
    assert found(verdicts, "peak_card_gib", "zero2-offload").why == "no_case"


def test_two_cards_train_less_than_twice_as_fast() -> None:
    speeds = {"one": "full-one", "two": "ddp"}
    points = [
        Point(id=case, case=case, figures={"samples_per_s": H200[name]["samples_per_s"]})
        for case, name in speeds.items()
    ]
    verdict = found(judge(config("ddp-one-two").expect, points), "samples_per_s", "two")
    assert verdict.state is Outcome.NOT_MET and not verdict.forbidden
    assert verdict.value == pytest.approx(1.53, abs=0.01)


@pytest.mark.parametrize(
    ("size", "one", "tp2", "ratio"), [("7b", 7115, 10438, 1.47), ("14b", 3460, 5410, 1.56)]
)
def test_tensor_parallelism_is_judged_as_measured(
    size: str, one: float, tp2: float, ratio: float
) -> None:
    points = [
        Point(id=c, case=c, condition={"concurrency": 128}, figures={"output_throughput": value})
        for c, value in (("one-card", one), ("tp2", tp2))
    ]
    wanted: list[Expectation] = config(f"one-tp2-replicas-{size}").expect
    verdict = found(judge(wanted, points), "output_throughput", "tp2")
    assert verdict.state is Outcome.NOT_MET and verdict.value == pytest.approx(ratio, abs=0.01)
    assert verdict.possible is not None and f"{ratio} times" in verdict.possible.en

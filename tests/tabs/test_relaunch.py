"""A failed run names its cause, offers relaunches in order, and a click on one launches it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import typer
from conftest import free_port
from gradio_client import Client

from studio.commands import explain as explain_cli
from studio.core.errors import NotAllowed, RecipeInvalid
from studio.core.recipes import parse_overrides
from studio.core.settings import Settings
from studio.core.spec import Command, Placement, Resources, State
from studio.engines.engine import Engine, EngineConfig
from studio.engines.explain import explain
from studio.jobs.jobs import Jobs, Run
from studio.studio import Launch, Studio
from studio.ui.page.launch import launch_page
from studio.ui.runs import view as runview
from studio.ui.runs.pane import RunPane
from studio.ui.runs.routes import Views

LOG = Path(__file__).parents[1] / "engines/logs/heads--vllm.txt"
THREE = {"tensor_parallel_size": 3}


class ShortConfig(EngineConfig):
    """The settings that the log is about."""

    tensor_parallel_size: int = 1
    model: str = "m"


class Short(Engine[ShortConfig]):
    """Ends well on a divisor of eight, else with what vLLM says."""

    id = "short"
    title = "Short"
    env = None
    Config = ShortConfig

    def command(self, config: ShortConfig, place: Placement) -> Command:
        works = 8 % config.tensor_parallel_size == 0
        return Command(argv=("sh", "-c", "echo fine" if works else f"cat {LOG}; exit 1"))

    def resources(self, config: ShortConfig, has_gpu: bool) -> Resources:
        return Resources(num_gpus=config.tensor_parallel_size)


@pytest.fixture
def studio(jobs: Jobs, settings: Settings, fake_cards: Callable[..., None]) -> Studio:
    """A studio on a machine of four cards, with an engine that is quickly at its end."""
    fake_cards(*[{"used": 4}] * 4)
    made = Studio(settings.model_copy(update={"port": free_port(18800)}))
    made.__dict__["engines"] = {**made.engines, Short.id: Short()}
    return made


@pytest.fixture
def failed(studio: Studio) -> Run:
    """A run on the cards 1, 2 and 3 that failed because 8 heads cannot be divided by 3."""
    asked = Launch(engine="short", settings=THREE, name="eight", cards=[1, 2, 3])
    run = studio.jobs.wait(studio.launch(asked).id, timeout_s=120)
    assert run.state is State.FAILED
    return run


def who(role: str = "operator") -> Any:
    headers = {"x-ladder-user": "ann", "x-ladder-role": role, "cookie": ""}
    return SimpleNamespace(headers=headers, cookies={}, query_params={})


def click(studio: Studio, act: str, value: str, role: str = "operator") -> str:
    event = gr.EventData(None, {"act": act, "value": value})
    return RunPane(studio, "runs").act("", event, who(role))


def buttons(html: str) -> Iterator[tuple[str, str, str]]:
    """Yield act, value and text of every button."""
    unescaped = html.replace("&quot;", '"').replace("&#x27;", "'")
    found = r'data-act="([\w-]+)" data-value="(.*?)">.*?<span>(.*?)</span></button>'
    yield from re.findall(found, unescaped)


def test_the_reason_offers_relaunches_in_order_and_the_plain_one_last(failed: Run) -> None:
    html = runview.reason("en", failed, 4)
    assert "cannot be divided" in html
    assert "must be divisible by tensor parallel size (3)" in html
    acts = list(buttons(html))
    assert [text for _, _, text in acts] == [
        "Relaunch with tensor_parallel_size = 2, cards = 1 2",
        "Relaunch with tensor_parallel_size = 4, cards = 4",
        "Launch again",
    ]
    assert acts[0][:2] == (
        "relaunch-with",
        f'{failed.id} {{"tensor_parallel_size": 2, "cards": [1, 2]}}',
    )
    chinese = runview.reason("zh", failed, 4)
    assert "注意力头数不能被卡数整除" in chinese and "8 个注意力头" in chinese
    assert "改为 tensor_parallel_size = 2, cards = 1 2 再启动" in chinese


def test_fixes_for_more_cards_than_there_are_stay_away(failed: Run, studio: Studio) -> None:
    html = runview.reason("en", failed, 3)
    assert [act for act, _, _ in buttons(html)] == ["relaunch-with", "relaunch"]
    request: Any = SimpleNamespace(**vars(who()), path_params={"id": failed.id})
    request.headers["accept-language"] = "en"
    assert "relaunch-with" in Views(studio).head(request)["html"]


def test_a_click_launches_the_fix_on_the_same_cards(failed: Run, studio: Studio) -> None:
    act, value, _ = next(buttons(runview.reason("en", failed, 4)))
    run = studio.jobs.wait(click(studio, act, value), timeout_s=120)
    assert run.state is State.DONE
    assert run.spec.config == {**failed.spec.config, "tensor_parallel_size": 2}
    assert run.spec.relaunch_of == failed.id
    assert run.cards == [1, 2]
    assert explain(run) is None


def test_a_guest_relaunches_nothing(failed: Run, studio: Studio) -> None:
    act, value, _ = next(buttons(runview.reason("en", failed, 4)))
    with pytest.raises(NotAllowed):
        click(studio, act, value, role="guest")
    assert len(studio.jobs.list()) == 1


def test_the_engine_counts_its_cards_again_unless_a_person_did(studio: Studio) -> None:
    def done(run: Run) -> Run:
        return studio.jobs.wait(run.id, timeout_s=120)

    own = done(studio.launch(Launch(engine="short", settings={}, name="own")))
    given = done(studio.launch(Launch(engine="short", settings={}, name="given", cards=2)))
    four = {"tensor_parallel_size": 4}
    assert len(done(studio.relaunch(own.id, four)).cards) == 4
    assert len(done(studio.relaunch(given.id, four)).cards) == 2
    assert len(done(studio.relaunch(given.id, {**four, "cards": 4})).cards) == 4


def test_relaunch_by_api_with_and_without_changes(failed: Run, studio: Studio) -> None:
    served = launch_page(studio, only="runs")
    try:
        client = Client(served.url, verbose=False)
        changed = client.predict(
            failed.id, "tensor_parallel_size=2\ncards=[0, 1]", api_name="/relaunch_run"
        )
        assert studio.jobs.wait(changed, timeout_s=120).cards == [0, 1]
        same = client.predict(failed.id, api_name="/relaunch_run")
        assert studio.jobs.wait(same, timeout_s=120).state is State.FAILED
        with pytest.raises(Exception, match="not of the form key=value"):
            client.predict(failed.id, "faster", api_name="/relaunch_run")
    finally:
        served.close()


def test_command_line_explains_and_relaunches(
    failed: Run,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(explain_cli, "open_studio", lambda home: studio)
    explain_cli.explain_run(failed.id)
    said = capsys.readouterr().out
    assert "cannot be divided" in said and "1. 2 divides the 8 heads." in said
    words = re.search(rf"relaunch {failed.id} (\S+) '(cards=.*)'", said)
    assert parse_overrides([words[1], words[2]]) == {"tensor_parallel_size": 2, "cards": [1, 2]}
    explain_cli.explain_run(failed.id, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["cause"], len(told["fixes"]), told["state"]) == ("heads", 2, "failed")
    explain_cli.relaunch(failed.id, fix=1, as_json=True)
    again = json.loads(capsys.readouterr().out)
    assert (again["state"], again["cards"]) == ("done", [1, 2])
    explain_cli.explain_run(again["id"])
    assert "nothing to explain" in capsys.readouterr().out
    with pytest.raises(RecipeInvalid, match="2 relaunches are offered"):
        explain_cli.relaunch(failed.id, fix=3)
    with pytest.raises(typer.Exit):
        explain_cli.relaunch(failed.id, ["tensor_parallel_size=5", "cards=1"])

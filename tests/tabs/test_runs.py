"""The Runs tab through its API and its routes, on a page served for real."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from conftest import free_port, spec, wait_log
from gradio_client import Client

from studio.core.settings import Settings
from studio.core.spec import State, StopStep
from studio.jobs.jobs import Jobs
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page
from studio.ui.runs.view import files

POLITE = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)


@pytest.fixture
def url(settings: Settings, jobs: Jobs) -> Iterator[str]:
    """Serve the Runs tab alone."""
    settings = settings.model_copy(update={"port": free_port(18700)})
    served = launch_page(Studio(settings), only="runs")
    yield served.url
    served.close()


def get(url: str, path: str) -> dict:
    with urllib.request.urlopen(f"{url}/ladder/{path}", timeout=20) as answer:
        return json.load(answer)


def test_only_this_tabs_api_exists(url: str) -> None:
    names = set(Client(url, verbose=False).view_api(return_format="dict")["named_endpoints"])
    assert names == {
        "/launch_recipe",
        "/stop_run",
        "/get_run",
        "/list_runs",
        "/relaunch_run",
        "/delete_run",
    }


def test_stop_get_and_delete_by_api(url: str, jobs: Jobs) -> None:
    run = jobs.submit(spec("obey", 7, stop=POLITE))
    wait_log(run, "up")
    client = Client(url, verbose=False)
    assert client.predict(run.id, api_name="/get_run")["state"] == "running"
    assert client.predict(run.id, False, api_name="/stop_run")["state"] in ("stopping", "stopped")
    ended = jobs.wait(run.id, timeout_s=120)
    assert ended.result["exit_code"] == 7
    client.predict(run.id, api_name="/delete_run")
    assert client.predict(api_name="/list_runs") == []


def test_errors_are_sentences_not_tracebacks(url: str) -> None:
    with pytest.raises(Exception, match="There is no run nothing"):
        Client(url, verbose=False).predict("nothing", api_name="/get_run")


def test_routes_show_list_head_and_log(url: str, jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 3)).id, timeout_s=120)
    assert run.id in get(url, "runs?find=leave&state=failed")["html"]
    assert run.id not in get(url, "runs?find=&state=done")["html"]
    head = get(url, f"run/{run.id}/head")
    assert head["final"] and "no name for" in head["html"]
    log = get(url, f"run/{run.id}/log?offset=0")
    assert "leaving" in log["text"] and log["final"]
    assert get(url, f"run/{run.id}/log?offset={log['offset']}")["text"] == ""
    hits = get(url, f"run/{run.id}/search?q=LEAVING")["hits"]
    assert [text for _, text in hits] == ["leaving"]


def test_files_stay_inside_the_run(url: str, jobs: Jobs, tmp_path) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 0)).id, timeout_s=120)
    (tmp_path / "secret").write_text("secret")
    (run.dir.artifacts / "link").symlink_to(tmp_path / "secret")
    with urllib.request.urlopen(f"{url}/ladder/run/{run.id}/file/log.txt") as answer:
        assert b"leaving" in answer.read()
        assert "attachment" in answer.headers["content-disposition"]
    for bad in ("../../studio.db", "%2e%2e/%2e%2e/studio.db", "artifacts/link", "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/ladder/run/{run.id}/file/{bad}")
        assert caught.value.code in (400, 403, 404)


def test_an_ended_run_has_a_journal(url: str, jobs: Jobs) -> None:
    asked = spec("leave", 3)
    secret = {"SOME_API_KEY": "sk-never-shown", "PLAIN": "shown"}
    env = {**asked.command.env, **secret}
    command = asked.command.model_copy(update={"env": env})
    run = jobs.wait(jobs.submit(asked.model_copy(update={"command": command})).id, timeout_s=120)
    for lang, heading in (("en", "## Remarks"), ("zh", "## 备注")):
        asks = urllib.request.Request(
            f"{url}/ladder/run/{run.id}/journal", headers={"cookie": f"ladder_lang={lang}"}
        )
        with urllib.request.urlopen(asks) as answer:
            text = answer.read().decode()
            assert answer.headers["content-type"].startswith("text/markdown")
            assert f"{run.id}.md" in answer.headers["content-disposition"]
        assert run.id in text and f"python app.py relaunch {run.id}" in text
        assert heading in text and "PLAIN" in text and "sk-never-shown" not in text
        assert f"/ladder/run/{run.id}/journal" in files(lang, run)


def test_a_run_at_work_has_no_journal_yet(url: str, jobs: Jobs) -> None:
    run = jobs.submit(spec("obey", 0, stop=POLITE))
    wait_log(run, "up")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(url, f"run/{run.id}/journal")
    assert "journal" not in files("en", jobs.get(run.id))
    jobs.stop(run.id)
    jobs.wait(run.id, timeout_s=120)


def test_guests_get_nothing_of_it(settings: Settings, jobs: Jobs) -> None:
    """A guest's session reaches no handler and no route of this tab."""
    run = jobs.wait(jobs.submit(spec("leave", 0)).id, timeout_s=120)
    settings = settings.model_copy(update={"port": free_port(18750)})
    accounts = [
        Account.make("ann", "password1"),
        Account.make("guest", "password2", "guest"),
    ]
    served = launch_page(Studio(settings), accounts=accounts)
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{served.url}/ladder/runs")
        assert caught.value.code == 401
        boss = Client(served.url, auth=("ann", "password1"), verbose=False)
        assert boss.predict(run.id, api_name="/get_run")["id"] == run.id
        guest = Client(served.url, auth=("guest", "password2"), verbose=False)
        for name, words in [
            ("/get_run", [run.id]),
            ("/list_runs", []),
            ("/delete_run", [run.id]),
            ("/stop_run", [run.id, True]),
            ("/launch_recipe", ["vllm/smoke", ""]),
        ]:
            with pytest.raises(Exception):  # noqa: B017 - the client raises several kinds
                guest.predict(*words, api_name=name)
    finally:
        served.close()
    assert jobs.get(run.id).state is State.DONE
    assert len(jobs.list()) == 1

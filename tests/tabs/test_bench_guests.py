"""A guest of the link gets nothing of the Bench tab: no script, no route, no word of it."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from conftest import free_port
from gradio_client import Client
from measures.sweeps import URL, sweep

from studio.core.settings import Settings
from studio.jobs.jobs import Jobs
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page


def test_guests_get_nothing_of_it(settings: Settings, jobs: Jobs) -> None:
    settings = settings.model_copy(update={"port": free_port(19350)})
    name = sweep(settings.home, "acme/Secret", "vllm 0.26.0", 1.0, 1_750_000_000)
    accounts = [Account.make("ann", "password1"), Account.make("guest", "password2", "guest")]
    served = launch_page(Studio(settings), accounts=accounts)
    try:
        guest = Client(served.url, auth=("guest", "password2"), verbose=False)
        for api, words in [
            ("/bench_launch", [URL, {}, ""]),
            ("/bench_plan", [URL, {}, ""]),
            ("/bench_points", [{}, 0, 10]),
            ("/bench_compare", [[name, name]]),
            ("/bench_verdict", [name]),
        ]:
            with pytest.raises(Exception):  # noqa: B017 - the client raises several kinds
                guest.predict(*words, api_name=api)
        cookie = "; ".join(f"{key}={value}" for key, value in guest.cookies.items())
        for path in (
            "work",
            "endpoints",
            "plan",
            "list",
            "results",
            "table",
            "csv",
            f"one?name={name}",
            f"comparison?of={name}",
            f"raw/{name}/points.jsonl",
            f"report/{name}",
            f"journal/{name}",
            "definitions",
            "chart?kind=pareto",
        ):
            request = urllib.request.Request(
                f"{served.url}/ladder/bench/{path}", headers={"cookie": cookie}
            )
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=20)
            assert caught.value.code == 403, path
        home = urllib.request.Request(f"{served.url}/", headers={"cookie": cookie})
        with urllib.request.urlopen(home, timeout=20) as answer:
            page = answer.read().decode()
        assert "bench-views" not in page and "nav-bench" not in page
    finally:
        served.close()
    assert jobs.list() == []

"""The doctor finds what is wrong and says how to mend it, in both languages."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.errors import EnvMissing
from studio.core.settings import Settings
from studio.envs.envs import EnvState
from studio.telemetry import doctor
from studio.telemetry.doctor import GIB, Finding, check

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def subject(settings: Settings) -> Any:
    """A studio with one good environment on a healthy machine."""
    status = SimpleNamespace(state=EnvState.READY, title="vLLM", detail="")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    healthy = settings.model_copy(update={"port": port})
    return SimpleNamespace(settings=healthy, envs=SimpleNamespace(list=lambda: [status]))


@pytest.fixture
def healthy(
    monkeypatch: pytest.MonkeyPatch, fake_cards: Callable[..., None]
) -> Callable[..., None]:
    """Make the machine healthy, whatever this one is."""
    fake_cards({"used": 4}, {"used": 4})
    roomy = Usage(1000 * GIB, 100 * GIB, 900 * GIB)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: roomy)
    monkeypatch.setattr(
        doctor.psutil,
        "virtual_memory",
        lambda: SimpleNamespace(total=256 * GIB, available=200 * GIB),
    )
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (65535, 65535))
    monkeypatch.setattr(doctor, "find_uv", lambda: "/usr/bin/uv")
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    real = shutil.which
    monkeypatch.setattr(
        doctor.shutil, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else real(name)
    )
    return fake_cards


def found(subject: Any, level: str = "") -> dict[str, Finding]:
    """Return the findings by code, checking that each can be said in both languages."""
    findings = check(subject)
    for finding in findings:
        for lang in ("en", "zh"):
            assert finding.text("title", lang) and finding.text("detail", lang), finding
            assert finding.level == "ok" or finding.text("fix", lang), finding
    return {f.code: f for f in findings if level in ("", f.level)}


def wrong(subject: Any) -> dict[str, str]:
    """Return code and level of everything that is not in order."""
    return {
        code: finding.level for code, finding in found(subject).items() if finding.level != "ok"
    }


def test_a_healthy_machine_has_nothing_to_mend(healthy: Any, subject: Any):
    assert wrong(subject) == {}
    assert "Fake RTX 4090" in found(subject)["cards"].text("detail")


def test_the_worst_comes_first(healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "find_uv", _no_uv)
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (1024, 4096))
    levels = [finding.level for finding in check(subject)]
    assert levels == sorted(levels, key=["fail", "warn", "ok"].index)
    assert wrong(subject) == {"uv": "fail", "files": "warn"}


def _no_uv() -> str:
    raise EnvMissing("no uv")


def test_a_machine_without_cards_is_told_so_and_why(
    healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch
):
    healthy()
    assert wrong(subject) == {"cards": "warn"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert wrong(subject) == {"cards_hidden": "warn"}


@pytest.mark.parametrize(("free", "level"), [(900, None), (20, "warn"), (1, "fail")])
def test_a_disk_fills_up(
    healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch, free: int, level: str | None
):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(1000 * GIB, 0, free * GIB))
    assert wrong(subject).get("disk") == level


def test_small_shared_memory_matters_more_with_several_cards(
    healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch
):
    def usage(path: str) -> Usage:
        return Usage(GIB // 16 if path == "/dev/shm" else 1000 * GIB, 0, 900 * GIB)

    monkeypatch.setattr(doctor.shutil, "disk_usage", usage)
    assert wrong(subject) == {"shm": "fail"}
    doctor.snapshot.cards.cache_clear()
    healthy({"used": 4})
    assert wrong(subject) == {"shm": "warn"}


def test_strangers_hot_cards_and_hidden_cards_are_told(
    healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch
):
    healthy({"used": 20_000, "pids": {os.getpid(): 19_000}}, {"used": 4}, {"used": 9_000})
    finding = found(subject)["strangers"]
    assert finding.level == "warn" and "0 (19.5 GiB" in finding.text("detail")
    assert "2 (8.8 GiB, ?)" in finding.text("detail")
    doctor.snapshot.cards.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert wrong(subject) == {} and found(subject)["cards_hidden"].level == "ok"


def test_environments_that_broke_or_aged_are_told(healthy: Any, subject: Any):
    states = (EnvState.BROKEN, EnvState.STALE, EnvState.MISSING)
    many = [SimpleNamespace(state=s, title=f"E-{s}", detail=f"why {s}") for s in states]
    subject.envs.list = lambda: many
    assert wrong(subject) == {"env_broken": "warn", "env_stale": "warn"}
    assert found(subject)["env_broken"].text("detail") == "why broken"
    assert "E-missing" in found(subject)["envs"].text("detail")


@pytest.mark.parametrize(
    ("variables", "code", "level"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "hub_offline", "ok"),
        ({"HF_ENDPOINT": "https://mirror.example"}, "hub_mirror", "ok"),
        ({"HF_ENDPOINT": "mirror.example"}, "hub_endpoint", "fail"),
        ({"HF_HOME": "/proc/nowhere/hub"}, "hub_cache", "fail"),
        ({"http_proxy": "http://proxy.lab:3128"}, "proxy", "warn"),
    ],
)
def test_the_hubs_and_proxys_variables_are_looked_at(
    healthy: Any,
    subject: Any,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    code: str,
    level: str,
):
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/proc"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert found(subject)[code].level == level


def test_a_proxy_that_leaves_this_machine_out_is_fine(
    healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", "http://user:pw@proxy.lab:3128")
    assert "pw" not in found(subject)["proxy"].text("detail")
    monkeypatch.setenv("no_proxy", "localhost, 127.0.0.1")
    assert "proxy" not in found(subject)


def test_a_taken_port_names_the_next(healthy: Any, subject: Any):
    with socket.create_server(("127.0.0.1", subject.settings.port)):
        finding = found(subject)["port"]
        assert "port" not in {f.code for f in check(subject, serving=True)}
    assert finding.level == "warn" and str(subject.settings.port) in finding.text("detail")


def test_a_home_that_cannot_be_made_is_told(
    healthy: Any, subject: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    blocked = tmp_path / "file"
    blocked.write_text("")
    subject.settings = subject.settings.model_copy(update={"home": blocked / "home"})
    monkeypatch.undo()
    assert wrong(subject)["home"] == "fail"


def test_findings_are_plain_for_scripts_and_readable_in_a_terminal():
    finding = Finding("files", "warn", {"soft": 1024, "hard": resource.RLIM_INFINITY})
    assert finding.as_dict()["level"] == "warn" and "1024" in finding.as_dict()["detail"]
    assert (
        finding.as_line().startswith("[warn] Open files: ") and "\n       -> " in finding.as_line()
    )

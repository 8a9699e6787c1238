"""Look for what will go wrong before it does, each finding with its fix.

Nothing here reaches the network or changes anything. Sentences are in
`assets/locales/{en,zh}/doctor.yaml`, under `doctor.<code>.<level>`; a finding carries the values
that go into them. The page and `app.py doctor` show the same list.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import psutil
import yaml

from studio.core.errors import EnvMissing, HomeUnusable, StudioError
from studio.core.settings import ROOT, Settings
from studio.envs.envs import Envs
from studio.envs.uv import find_uv
from studio.jobs import ports
from studio.jobs.shim.cards import Card as ToolCard
from studio.jobs.shim.cards import filled_by_stranger, visible_variable
from studio.telemetry import snapshot

Level = Literal["ok", "warn", "fail"]
Values = Mapping[str, object]

GIB = 2**30
LITTLE_DISK_GIB = 30
NO_DISK_GIB = 3
SMALL_SHM_GIB = 4
LITTLE_RAM_GIB = 8
FEW_FILES = 4096
OLDEST_PYTHON = (3, 11)


class Studio(Protocol):
    """What the doctor needs of the studio."""

    settings: Settings
    envs: Envs


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    code: str
    level: Level
    values: Values = field(default_factory=dict)

    def text(self, part: str, lang: str = "en") -> str:
        """Return `title`, `detail` or `fix` in one language; empty when there is none."""
        sentences = _sentences(lang)[self.code]
        template = sentences.get(self.level, {}).get(part) or sentences.get(part, "")
        return template.format_map(self.values)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        parts = {part: self.text(part) for part in ("title", "detail", "fix")}
        return {"code": self.code, "level": self.level, **parts, "values": dict(self.values)}

    def as_line(self, lang: str = "en") -> str:
        """Return the finding for a terminal, the fix on a line of its own."""
        mark = {"ok": " ok ", "warn": "warn", "fail": "FAIL"}[self.level]
        line = f"[{mark}] {self.text('title', lang)}: {self.text('detail', lang)}"
        fix = self.text("fix", lang)
        return f"{line}\n       -> {fix}" if fix and self.level != "ok" else line


def check(studio: Studio, *, serving: bool = False) -> list[Finding]:
    """Look at everything and return the findings, the worst first.

    A page that is `serving` has its port already.
    """
    looks: tuple[Callable[[Studio], Iterator[Finding]], ...] = (
        _python,
        _home,
        _disk,
        _cards,
        _strangers,
        _shm,
        _ram,
        _envs,
        _uv,
        _compiler,
        _hub,
        _proxy,
        _files,
        _port,
    )
    found = [f for look in looks if not (serving and look is _port) for f in look(studio)]
    return sorted(found, key=lambda finding: ("fail", "warn", "ok").index(finding.level))


def _python(studio: Studio) -> Iterator[Finding]:
    have = sys.version_info[:3]
    good = have >= OLDEST_PYTHON and platform.system() == "Linux"
    values = {"python": ".".join(map(str, have)), "system": platform.system()}
    yield Finding("python", "ok" if good else "fail", values)


def _home(studio: Studio) -> Iterator[Finding]:
    values: dict[str, object] = {"home": studio.settings.home}
    try:
        studio.settings.prepare_home()
    except HomeUnusable as error:
        yield Finding("home", "fail", {**values, "error": error.message})
        return
    yield Finding("home", "ok", values)


def _disk(studio: Studio) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(studio.settings.home)).free / GIB
    level: Level = "fail" if free < NO_DISK_GIB else "warn" if free < LITTLE_DISK_GIB else "ok"
    yield Finding("disk", level, {"free": f"{free:,.0f}", "home": studio.settings.home})


def _cards(studio: Studio) -> Iterator[Finding]:
    found = snapshot.cards().get()
    limit = os.environ.get(visible_variable(found[0].vendor if found else "nvidia"))
    if not found:
        devices = [p.name for p in Path("/dev").glob("nvidia[0-9]*")]
        devices += [p.name for p in Path("/dev").glob("kfd")]
        if limit is not None and not limit.strip():
            yield Finding("cards_hidden", "warn", {"limit": limit})
        elif devices:
            yield Finding("cards", "fail", {"devices": ", ".join(sorted(devices))})
        else:
            yield Finding("cards", "warn")
        return
    driver = snapshot.driver().get()
    version = " ".join(part for part in (driver.name, driver.version) if part)
    names = {f"{card.name} ({card.total_bytes / GIB:.0f} GiB)" for card in found}
    values = {"count": len(found), "names": ", ".join(sorted(names)), "driver": version}
    yield Finding("cards", "ok", values)
    if limit is not None:
        yield Finding("cards_hidden", "ok", {"limit": limit})
    for card in found:
        if card.trouble:
            heat = f"{card.temperature_c or 0:.0f}"
            yield Finding(f"card_{card.trouble}", "warn", {"index": card.index, "heat": heat})


def _strangers(studio: Studio) -> Iterator[Finding]:
    taken = []
    for card in snapshot.cards().get():
        mine = [h for h in card.holders if h.run_id is not None]
        ours = sum(h.used_bytes or 0 for h in mine)
        if mine and not ours:
            continue  # the driver does not tell whose memory it is
        known = ToolCard(card.index, card.name, card.total_bytes, card.used_bytes, 0)
        if filled_by_stranger(known, ours):
            users = sorted({h.user for h in card.holders if h.run_id is None})
            used = (card.used_bytes - ours) / GIB
            taken.append(f"{card.index} ({used:.1f} GiB, {', '.join(users) or '?'})")
    if taken:
        yield Finding("strangers", "warn", {"cards": ", ".join(taken)})


def _shm(studio: Studio) -> Iterator[Finding]:
    try:
        size = shutil.disk_usage("/dev/shm").total / GIB
    except OSError:
        size = 0.0
    small = size < SMALL_SHM_GIB
    several = len(snapshot.cards().get()) > 1
    level: Level = "fail" if small and several else "warn" if small else "ok"
    yield Finding("shm", level, {"size": f"{size:.2g}" if size < 10 else f"{size:.0f}"})


def _ram(studio: Studio) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    level: Level = "warn" if memory.available / GIB < LITTLE_RAM_GIB else "ok"
    values = {"free": f"{memory.available / GIB:.0f}", "total": f"{memory.total / GIB:.0f}"}
    yield Finding("ram", level, values)


def _envs(studio: Studio) -> Iterator[Finding]:
    states: dict[str, list[str]] = {}
    for status in studio.envs.list():
        states.setdefault(str(status.state), []).append(status.title)
        if str(status.state) in ("broken", "stale"):
            code = f"env_{status.state}"
            yield Finding(code, "warn", {"title": status.title, "why": status.detail})
    ready = ", ".join(states.get("ready", []) + states.get("stale", [])) or "–"
    missing = ", ".join(states.get("missing", [])) or "–"
    yield Finding("envs", "ok", {"ready": ready, "missing": missing})


def _uv(studio: Studio) -> Iterator[Finding]:
    try:
        yield Finding("uv", "ok", {"program": find_uv()})
    except EnvMissing:
        yield Finding("uv", "fail")


def _compiler(studio: Studio) -> Iterator[Finding]:
    found = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    if found is None and snapshot.cards().get():
        yield Finding("compiler", "warn")


def _hub(studio: Studio) -> Iterator[Finding]:
    true = ("1", "true", "yes", "on")
    offline = any(
        os.environ.get(name, "").lower() in true
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    cache_dir = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    endpoint = os.environ.get("HF_ENDPOINT", "")
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme not in ("http", "https") or not parts.netloc):
        yield Finding("hub_endpoint", "fail", {"endpoint": endpoint})
    if not _writable(cache_dir):
        yield Finding("hub_cache", "fail", {"cache": cache_dir})
    if offline:
        yield Finding("hub_offline", "ok", {"cache": cache_dir})
    elif endpoint:
        yield Finding("hub_mirror", "ok", {"endpoint": endpoint, "cache": cache_dir})
    else:
        yield Finding("hub", "ok", {"cache": cache_dir})


def _proxy(studio: Studio) -> Iterator[Finding]:
    names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((os.environ[name] for name in names if os.environ.get(name)), "")
    apart = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    hosts = {part.strip() for part in apart.split(",")}
    if proxy and not hosts & {"*", "127.0.0.1", "localhost"}:
        host = urlsplit(proxy).hostname or proxy
        yield Finding("proxy", "warn", {"proxy": host})


def _files(studio: Studio) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < FEW_FILES
    yield Finding("files", "warn" if few else "ok", {"soft": soft, "hard": hard})


def _port(studio: Studio) -> Iterator[Finding]:
    wanted, host = studio.settings.port, studio.settings.host
    if ports.is_free(wanted, host):
        yield Finding("port", "ok", {"port": wanted})
        return
    try:
        other: object = ports.first_free(wanted + 1, host)
    except StudioError:
        other = "?"
    yield Finding("port", "warn", {"port": wanted, "other": other})


def _writable(folder: Path) -> bool:
    """Tell whether the folder, or the nearest one above it that exists, can be written."""
    return os.access(_existing(folder), os.W_OK | os.X_OK)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


@cache
def _sentences(lang: str) -> dict[str, Any]:
    path = ROOT / "assets" / "locales" / lang / "doctor.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["doctor"]

"""Run uv: find it, give it a terminal, follow it, end it, and put its failures into a sentence."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from studio.core.errors import DiskFull, EnvMissing, StudioError
from studio.envs.screen import UvScreen

TICK_S = 1.0
STOP_GRACE_S = 5.0


class NetworkDown(EnvMissing):
    """No package index can be reached."""


def find_uv() -> str:
    """Return uv beside this interpreter, else on PATH; raise EnvMissing."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")
    if found is None:
        raise EnvMissing(
            "uv, which builds the engines' environments, is not installed.",
            hint="Run `pip install uv` in the studio's own environment and try again.",
        )
    return found


def ask(
    argv: list[str], env: Mapping[str, str], stdin: str = "", timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a short uv command and return its output."""
    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        env=dict(env),
        timeout=timeout_s,
        check=False,
    )


def follow(
    argv: list[str],
    env: Mapping[str, str],
    *,
    say: Callable[[str], None],
    tick: Callable[[UvScreen], None],
    keep: Iterable[int] = (),
) -> UvScreen:
    """Run a long uv command on a terminal of its own and return its screen; raise as `explain`.

    `tick` is called about once a second. `keep` are descriptors uv inherits (the build's lock),
    so that they stay held as long as uv lives, whatever happens to us. When an exception passes
    through (a stop), uv and its children are ended first.
    """
    screen = UvScreen(say)
    ours, theirs = _terminal()
    process = subprocess.Popen(
        argv,
        env={**env, "TERM": "xterm-256color", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        pass_fds=tuple(keep),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        _drain(ours, screen, tick)
        code = process.wait()
    finally:
        _end(process)
        os.close(ours)
    screen.close()
    if code != 0:
        raise explain(screen.lines)
    return screen


def explain(lines: list[str]) -> StudioError:
    """Turn uv's complaint into one sentence and a way out."""
    text = " ".join(lines)
    for pattern, make in _CAUSES:
        if found := re.search(pattern, text, re.IGNORECASE):
            return make(found)
    errors = [line for line in lines if line.startswith(("error", "cause"))]
    return EnvMissing(
        f"uv failed: {' '.join((errors or lines)[:3]) or 'it said nothing'}",
        hint="The log above has the rest.",
    )


def _disk(found: re.Match[str]) -> StudioError:
    return DiskFull(
        "The disk is full, so the packages could not be written.",
        hint="Free some space (`uv cache clean` empties uv's cache), or move the home with "
        "--home, then build again: it goes on where it stopped.",
    )


def _certificate(found: re.Match[str]) -> StudioError:
    return NetworkDown(
        "The package index shows a certificate that this machine does not trust.",
        hint="Set `cert` in pip's configuration, or SSL_CERT_FILE, to your organisation's bundle.",
    )


def _refused(found: re.Match[str]) -> StudioError:
    return NetworkDown(
        f"The package index refuses to answer ({found[0].strip()}).",
        hint="Check the user name and password in pip's configuration, or UV_DEFAULT_INDEX.",
    )


def _unreachable(found: re.Match[str]) -> StudioError:
    host = re.search(r"https?://(?:[^/\s@`)]*@)?([^/\s`)]+)", found.string)
    return NetworkDown(
        f"The package index {host[1] + ' ' if host else ''}cannot be reached.",
        hint="Check the network, or name a mirror: `pip config set global.index-url URL`, or the "
        "variable UV_DEFAULT_INDEX. An environment that you already have can be adopted instead.",
    )


def _no_python(found: re.Match[str]) -> StudioError:
    return EnvMissing(
        "There is no Python 3.11 or 3.12 here, and uv could not fetch one.",
        hint="Install one (for example `apt install python3.11` or a conda environment) and "
        "build again.",
    )


def _no_package(found: re.Match[str]) -> StudioError:
    return EnvMissing(
        f"The package index does not have {found[1]}.",
        hint="A mirror may lag behind: try another index with UV_DEFAULT_INDEX.",
    )


def _no_wheel(found: re.Match[str]) -> StudioError:
    return EnvMissing(
        f"{found[1]} has no file for this Python and machine.",
        hint="The locks are for Python 3.11 and 3.12 on Linux x86_64. "
        "On another machine adopt an environment.",
    )


def _not_built(found: re.Match[str]) -> StudioError:
    return EnvMissing(
        f"The source package {found[1]} could not be built.",
        hint="The log above has the compiler's own words.",
    )


_CAUSES: tuple[tuple[str, Callable[[re.Match[str]], StudioError]], ...] = (
    (r"No space left on device|os error 28|Disk quota exceeded|os error 122", _disk),
    (r"invalid peer certificate|UnknownIssuer|certificate verify failed", _certificate),
    (r"40[137] (?:Unauthorized|Forbidden|Proxy Authentication Required)", _refused),
    (r"No interpreter found for", _no_python),
    (
        r"dns error|tcp connect error|error sending request|operation timed out|Connection refused"
        r"|Network is unreachable|Connection reset|Failed to fetch|Request failed after"
        r"|network connectivity is disabled",
        _unreachable,
    ),
    (r"Because (\S+) has no (?:usable )?wheels", _no_wheel),
    (r"there is no version of (\S+)", _no_package),
    (r"Because (\S+) was not found", _no_package),
    (r"Failed to build `?([^`\s]+)", _not_built),
)


def _terminal() -> tuple[int, int]:
    """Open a wide terminal; where there is none (a bare container), a pipe gives less progress."""
    try:
        ours, theirs = pty.openpty()
    except OSError:
        return os.pipe()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 64, 120, 0, 0))
    return ours, theirs


def _drain(ours: int, screen: UvScreen, tick: Callable[[UvScreen], None]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    ticked = 0.0
    while True:
        if time.monotonic() - ticked >= TICK_S:
            tick(screen)
            ticked = time.monotonic()
        ready, _, _ = select.select([ours], [], [], TICK_S)
        if ready:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # a terminal whose other side is closed
                return
            if not chunk:
                return
            screen.feed(decoder.decode(chunk))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End uv and what it started, if it is still there."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(STOP_GRACE_S)
            return
        except subprocess.TimeoutExpired:
            continue

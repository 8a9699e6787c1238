"""Why a run failed, in a sentence, with the lines that prove it, what to do, and what to relaunch.

Each cause of the table is a pattern looked for in the end of the log, most telling first. A cause
that is not known there is said to be unknown, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec, State
from studio.engines.causes import CAUSES, KILLED, LOST, UNKNOWN
from studio.engines.causes.cause import Cause, stage_of
from studio.engines.causes.fix import Fix
from studio.jobs.jobs import Run
from studio.jobs.logs import CHUNK_BYTES, clean, read_from

MAX_FIXES = 6
MAX_LINE = 600

_ERROR_LINE = re.compile(r"(error|exception|traceback|fatal|failed|killed)", re.I)
_RAISED = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b.*")
_ELSEWHERE = re.compile(r"see (root cause|stack trace)|root cause above", re.I)
_PREFIX = re.compile(r"^(\([^()]*pid=\d+\) *)?((ERROR|WARNING|INFO) [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
"""What vLLM puts before its lines: which process, when, and the line of its source."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A cause, found or not, with its evidence and the relaunches that may work, best first."""

    says: Bilingual
    advice: Bilingual
    lines: list[str]
    key: str = ""
    fixes: tuple[Fix, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for `--json`."""
        return {
            "cause": self.key,
            "says": self.says.model_dump(),
            "advice": self.advice.model_dump(),
            "lines": self.lines,
            "fixes": [
                {"says": fix.says.model_dump(), "changes": fix.changes} for fix in self.fixes
            ],
        }


def explain(run: Run, *, num_cards: int | None = None) -> Explanation | None:
    """Return why a run failed or was lost; None for every other state.

    Relaunches that want more cards than `num_cards` are not offered; None leaves them in.
    """
    if run.state not in (State.FAILED, State.LOST):
        return None
    text = clean(read_from(run.dir.log, -CHUNK_BYTES).text)
    if run.state is State.LOST:
        return _told(LOST, _last(text.splitlines()))
    found = read_log(run.spec, text, num_cards=num_cards)
    if found is not None:
        return found
    result = run.result or {}
    killed = result.get("signal") == "SIGKILL" and not result.get("killed_by")
    return _told(KILLED if killed else UNKNOWN, _last(text.splitlines()))


def read_log(spec: RunSpec, log: str, *, num_cards: int | None = None) -> Explanation | None:
    """Return the known cause that a log without colours tells; None when it tells none."""
    for cause in CAUSES:
        found = re.search(cause.pattern, log, re.M)
        if found and (not cause.stage or cause.stage == stage_of(log[: found.start()])):
            fixes = _usable(spec, cause.fixes(spec, log, found), num_cards)
            lines = _proof(log, cause)
            if cause.symptom:
                lines = list(dict.fromkeys([*_raised(log.splitlines()), *lines]))
            return _told(cause, lines, fixes)
    return None


def _usable(spec: RunSpec, fixes: Iterable[Fix], num_cards: int | None) -> tuple[Fix, ...]:
    """Leave out what changes nothing, what comes twice and what the machine has no cards for."""
    kept: list[Fix] = []
    for fix in fixes:
        cards = fix.changes.get("cards") or 0
        asked = len(cards) if isinstance(cards, list) else cards
        new = any(key == "cards" or spec.config.get(key) != v for key, v in fix.changes.items())
        if new and (num_cards is None or asked <= num_cards) and fix not in kept:
            kept.append(fix)
    return tuple(kept[:MAX_FIXES])


def _told(cause: Cause, lines: list[str], fixes: tuple[Fix, ...] = ()) -> Explanation:
    return Explanation(
        says=cause.says, advice=cause.advice, lines=lines, key=cause.key, fixes=fixes
    )


def _proof(log: str, cause: Cause, count: int = 4) -> list[str]:
    """Return the first lines that tell the cause; what several processes say counts once."""
    lines: dict[str, str] = {}
    for found in re.finditer(cause.pattern, log, re.M):
        begin, end = log.rfind("\n", 0, found.end()) + 1, log.find("\n", found.end())
        line = log[begin : end if end >= 0 else len(log)].strip()
        lines.setdefault(_PREFIX.sub("", line), _cut(line))
    return list(lines.values())[:count]


def _raised(lines: Iterable[str], count: int = 6) -> list[str]:
    """Return the exceptions a log names, the first ones, each once."""
    raised: dict[str, str] = {}
    for line in lines:
        bare = _PREFIX.sub("", line)
        if _RAISED.match(bare) and not _ELSEWHERE.search(bare):
            raised.setdefault(bare, _cut(line.rstrip()))
    return list(raised.values())[:count]


def _last(lines: list[str], count: int = 8) -> list[str]:
    """Return what was raised, else the last lines that sound like an error, else the last ones."""
    said = [_cut(line.rstrip()) for line in lines if line.strip()]
    said = [line for line in said if not line.startswith("[studio]")]
    errors = [line for line in said if _ERROR_LINE.search(line)]
    return _raised(said) or (errors or said)[-count:]


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"

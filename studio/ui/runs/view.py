"""How a run looks, the same everywhere: its head, why it failed, its settings, files and log.

Everything here turns a `Run` into HTML or plain values; nothing launches or stops. The buttons in
the HTML carry `data-act`, and the tab that shows them decides what an act does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core.errors import NotFound
from studio.core.spec import State
from studio.engines.engine import Progress
from studio.engines.explain import explain
from studio.engines.found import served_from
from studio.jobs.jobs import Run
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.plan import view as planview
from studio.ui.runs import fixes as fixview
from studio.ui.secrets import SECRET_WORDS, masked_script
from studio.ui.sentences import translate

MAX_FILES = 200


def row(lang: str, run: Run, progress: Progress | None, title: str = "") -> str:
    """Return one line of the list: state, name, title, when, and how far it is.

    `title` is in the visitor's language; without it the run's own, which is English, is used.
    """
    far = ""
    if progress and run.state.alive and progress.total:
        far = w.bar(progress.done / progress.total)
    cards = w.tag(", ".join(map(str, run.cards)), icon_name="gpu") if run.cards else ""
    title = title or translate(lang, run.spec.title) or run.spec.engine
    return (
        f'<button type="button" class="l-run-row" data-act="select" data-value="{run.id}">'
        f'<span class="l-run-top"><b>{w.esc(run.spec.name)}</b>{w.badge(lang, run.state)}</span>'
        f'<span class="l-run-sub"><span>{w.esc(title)}</span>{cards}'
        f"{w.when(lang, run.spec.created_at)}</span>{far}</button>"
    )


def head(lang: str, run: Run, progress: Progress | None) -> str:
    """Return a run's head: state, name, cards, time, progress, and what can be done with it."""
    facts = [w.badge(lang, run.state), w.Html(f"<h2>{w.esc(run.spec.name)}</h2>")]
    facts.append(w.tag(run.spec.engine))
    if run.cards:
        facts.append(w.tag(", ".join(map(str, run.cards)), icon_name="gpu"))
    if run.spec.ranks > 1 and run.ranks_seen:
        text = say(lang, "runs.ranks", seen=run.ranks_seen, of=run.spec.ranks)
        facts.append(w.tag(text, tone="warn" if _fewer(run, progress) else ""))
    if run.spec.port and run.state.alive:
        facts.append(w.tag(f"{run.spec.host}:{run.spec.port}", icon_name="link"))
    current = f'.l-run-row[data-value="{run.id}"]'
    return (
        f"<style>{current}{{border-color:var(--l-accent);"
        "box-shadow:inset 3px 0 0 var(--l-accent)}</style>"
        f'<div class="l-run-head"><div class="l-run-title">{"".join(facts)}</div>'
        f'<div class="l-run-line">{_times(lang, run, progress)}</div>'
        f"{_progress(lang, run, progress)}{_waiting(lang, run)}{_rung(lang, run)}"
        f"{'' if run.state is State.FAILED else ranks_note(lang, run, progress)}"
        f'<div class="l-actions">{"".join(actions(lang, run))}</div></div>'
    )


def actions(lang: str, run: Run) -> Iterable[str]:
    """Yield the buttons that make sense in the run's state."""
    if run.state.alive:
        stopping = run.state is State.STOPPING
        act, kind = ("stop-now", "danger") if stopping else ("stop", "danger")
        yield w.action(say(lang, f"runs.{act}"), act, run.id, icon_name="square", kind=kind)
    else:
        yield w.action(say(lang, "runs.relaunch"), "relaunch", run.id, icon_name="refresh")
    yield (
        f'<button type="button" class="l-button" data-ladder-copy="{w.esc(masked_script(run))}">'
        f"{w.icon('copy')}<span>{w.esc(say(lang, 'runs.copy_command'))}</span></button>"
    )
    tuned = served_from(run.dir.artifacts / "output") if run.state is State.DONE else None
    if tuned is not None:
        asked = {"engine": "vllm", "with": json.dumps(tuned)}
        yield w.link(say(lang, "runs.serve"), "serve", **asked)
    if not run.state.alive:
        yield w.action(
            say(lang, "runs.delete"),
            "delete",
            run.id,
            icon_name="trash",
            kind="quiet",
            confirm=say(lang, "runs.delete_confirm", name=run.spec.name, folder=run.dir.folder),
        )


def ranks_note(lang: str, run: Run, progress: Progress | None) -> str:
    """Return a warning when fewer training processes came up than were asked for; else empty."""
    if not _fewer(run, progress):
        return ""
    text = say(lang, "runs.ranks_fewer", seen=run.ranks_seen, of=run.spec.ranks)
    return w.note(text, tone="warn", icon_name="alert")


def reason(lang: str, run: Run, num_cards: int | None = None) -> str:
    """Return the explanation a failed or lost run opens on; empty for all others.

    Relaunches on more cards than `num_cards` are not offered; None offers them all.
    """
    why = explain(run, num_cards=num_cards)
    if why is None:
        return ""
    lines = "\n".join(why.lines)
    body = f'<p class="l-why">{w.esc(why.says[lang])}</p>'
    if lines:
        body += f'<pre class="l-proof">{w.esc(lines)}</pre>'
    body += w.note(why.advice[lang], icon_name="wrench")
    body += ranks_note(lang, run, None)
    body += f'<div class="l-fixes">{fixview.fixes(lang, run, why.fixes)}</div>'
    again = w.action(say(lang, "runs.relaunch"), "relaunch", run.id, icon_name="refresh")
    side = w.tag(translate(lang, run.reason), tone="bad") if run.reason else ""
    return w.card(say(lang, "runs.why"), body, foot=again, tone="bad", side=side)


def settings(lang: str, run: Run) -> str:
    """Return the frozen settings, the command as it ran, its variables and what was measured."""
    spec, result = run.spec, run.result or {}
    measured = [
        (say(lang, "runs.exit_code"), _exit(result)),
        (say(lang, "runs.peak_host"), units.size(result.get("peak_host_bytes"))),
        *[
            (say(lang, "runs.peak_card", card=card), units.size(size))
            for card, size in (result.get("peak_gpu_bytes") or {}).items()
        ],
        (say(lang, "runs.id"), spec.id),
        (say(lang, "runs.folder"), str(run.dir.folder)),
    ]
    if result.get("survivors"):
        measured.append((say(lang, "runs.survivors"), ", ".join(map(str, result["survivors"]))))
    return (
        w.card(say(lang, "runs.command"), w.code(masked_script(run)))
        + w.card(say(lang, "runs.settings"), w.table(_config(spec.config)))
        + w.card(say(lang, "runs.measured"), w.table(measured))
        + planview.compared(lang, run)
    )


def files(lang: str, run: Run) -> str:
    """Return what lies in the run folder, each to download."""
    found = []
    for path in sorted(run.dir.folder.rglob("*")):
        name = path.relative_to(run.dir.folder)
        if path.is_symlink() or not path.is_file() or name.parts[0].startswith("."):
            continue
        link = (
            f'<a class="l-link" download href="/ladder/run/{run.id}/file/{w.esc(name)}">'
            f"{w.esc(name)}</a>"
        )
        stat = path.stat()
        found.append((w.Html(link), units.size(stat.st_size), w.when(lang, stat.st_mtime)))
    head = (say(lang, "runs.file"), say(lang, "runs.size"), say(lang, "runs.changed"))
    more = ""
    if len(found) > MAX_FILES:
        more = w.note(say(lang, "runs.more_files", n=len(found) - MAX_FILES))
    return _journal(lang, run) + w.rows(head, found[:MAX_FILES], numeric=(1,)) + more


def _journal(lang: str, run: Run) -> str:
    """Return the link to the journal entry; there is one when the run has ended."""
    if run.state.alive:
        return ""
    hint, label = w.esc(say(lang, "runs.journal_hint")), w.esc(say(lang, "runs.journal"))
    return (
        f'<p><a class="l-button" download href="/ladder/run/{run.id}/journal" title="{hint}">'
        f"{w.icon('book')}<span>{label}</span></a></p>"
    )


def difference(lang: str, left: Run, right: Run) -> str:
    """Return the settings in which two runs differ, and what was measured of both."""
    a, b = _flat(lang, left), _flat(lang, right)
    lines = [(key, a.get(key, "–"), b.get(key, "–")) for key in {**a, **b}]
    differing = [line for line in lines if line[1] != line[2]]
    if not differing:
        return w.note(say(lang, "runs.same"), tone="ok", icon_name="check")
    head = ("", f"{left.spec.name} · {left.id[-5:]}", f"{right.spec.name} · {right.id[-5:]}")
    return w.rows(head, differing)


def file_of(run: Run, name: str) -> Path:
    """Return a file of the run folder; raise NotFound for anything outside it."""
    path = (run.dir.folder / name).resolve()
    inside = path.is_relative_to(run.dir.folder.resolve())
    if not inside or not path.is_file() or (run.dir.folder / name).is_symlink():
        raise NotFound(f"Run {run.id} has no file {name}.")
    return path


def _fewer(run: Run, progress: Progress | None) -> bool:
    """Tell whether processes are missing, once the training is under way or has ended well.

    Before its first step they may still be starting; of a failed run only what was seen counts.
    """
    if run.spec.ranks < 2 or run.ranks_seen >= run.spec.ranks:
        return False
    if run.state is State.FAILED:
        return run.dir.ranks_seen() > 0
    return progress is not None or run.state is State.DONE


def _times(lang: str, run: Run, progress: Progress | None) -> str:
    parts = []
    if run.started_at is not None:
        end = run.ended_at or time.time()
        span = units.duration(lang, end - run.started_at)
        parts.append(f"<span>{w.esc(say(lang, 'runs.elapsed'))} <b>{w.esc(span)}</b></span>")
    else:
        parts.append(f"<span>{w.esc(say(lang, 'runs.created'))} ")
        parts.append(f"{w.when(lang, run.spec.created_at)}</span>")
    if run.state.alive and progress and progress.remaining_s is not None:
        left = units.duration(lang, progress.remaining_s)
        parts.append(f"<span>{w.esc(say(lang, 'runs.remaining'))} <b>{w.esc(left)}</b></span>")
    if run.ended_at:
        ended = f"{w.esc(say(lang, 'runs.ended'))} {w.when(lang, run.ended_at)}"
        parts.append(f"<span>{ended}</span>")
    return "".join(parts)


def _progress(lang: str, run: Run, progress: Progress | None) -> str:
    if not run.state.alive:
        return ""
    if progress and progress.total:
        return w.bar(progress.done / progress.total, label=translate(lang, progress.text))
    if run.state in (State.STARTING, State.RUNNING) and run.spec.serves:
        return w.bar(None, label=say(lang, "runs.loading"))
    return ""


def _waiting(lang: str, run: Run) -> str:
    if run.state is not State.QUEUED or not run.reason:
        return ""
    why = translate(lang, run.reason)
    return w.note(say(lang, "runs.waiting", reason=why), icon_name="clock")


def _rung(lang: str, run: Run) -> str:
    """Return the rung of the stop ladder the run stands on, with its countdown."""
    if run.state is not State.STOPPING:
        return ""
    rungs = [event for event in run.dir.events() if event["phase"] == "stopping"]
    if not rungs:
        return w.note(say(lang, "runs.stop_asked"), icon_name="clock")
    last = rungs[-1]
    text = say(
        lang,
        "runs.rung",
        rung=last["rung"],
        of=last["of"],
        signal=last["signal"],
        label=translate(lang, last["label"]),
    )
    left = max(0, last["until"] - time.time())
    count = f'<b class="l-count">{left:.0f} s</b>'
    return f'<p class="l-note l-tone-warn">{w.icon("clock")}<span>{w.esc(text)} {count}</span></p>'


def _config(config: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in config.items():
        if value in (None, "", [], False):
            continue
        secret = any(word in key for word in SECRET_WORDS)
        yield key, "••••" if secret else _plain(value)


def _flat(lang: str, run: Run) -> dict[str, str]:
    result = run.result or {}
    cards = ", ".join(
        f"{c}: {units.size(v)}" for c, v in (result.get("peak_gpu_bytes") or {}).items()
    )
    spent = (run.ended_at - run.started_at) if run.ended_at and run.started_at else None
    return {
        say(lang, "runs.engine"): run.spec.engine,
        say(lang, "runs.recipe"): run.spec.recipe or "–",
        **dict(_config(run.spec.config)),
        say(lang, "runs.cards"): ", ".join(map(str, run.cards)) or "–",
        say(lang, "runs.state"): say(lang, f"state.{run.state}"),
        say(lang, "runs.exit_code"): _exit(result),
        say(lang, "runs.elapsed"): units.number(spent, "s"),
        say(lang, "runs.peak_host"): units.size(result.get("peak_host_bytes")),
        say(lang, "runs.peak_cards"): cards or "–",
    }


def _exit(result: dict[str, Any]) -> str:
    if not result or result.get("exit_code") is None:
        return "–"
    return (
        f"{result['exit_code']} ({result['signal']})"
        if result["signal"]
        else str(result["exit_code"])
    )


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

"""The relaunches that an explanation offers: a list of buttons, and what a click on one does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from studio.engines.causes.fix import Fix
from studio.ui import widgets as w
from studio.ui.i18n import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio.jobs.jobs import Run
    from studio.studio import Studio

ACT = "relaunch-with"


def fixes(lang: str, run: Run, found: Sequence[Fix]) -> str:
    """Return the relaunches in their order, each with a button that names what it changes."""
    if not found:
        return ""
    items = "".join(
        f"<li><span>{w.esc(fix.says[lang])}</span>{_button(lang, run, fix, first=not number)}</li>"
        for number, fix in enumerate(found)
    )
    return f'<p class="l-fixes-head">{w.esc(say(lang, "runs.in_order"))}</p><ol>{items}</ol>'


def relaunch_with(studio: Studio, value: str) -> Run:
    """Launch a run again with the changes that a button carries."""
    run_id, _, changes = value.partition(" ")
    return studio.relaunch(run_id, json.loads(changes))


def changes_of(lang: str, changes: dict[str, Any]) -> str:
    """Return changed settings as `name = value`, the way a recipe spells them."""
    return ", ".join(f"{key} = {_plain(lang, value)}" for key, value in changes.items())


def _button(lang: str, run: Run, fix: Fix, *, first: bool) -> str:
    text = say(lang, "runs.relaunch_with", changes=changes_of(lang, fix.changes))
    value = f"{run.id} {json.dumps(fix.changes)}"
    return w.action(text, ACT, value, icon_name="refresh", kind="primary" if first else "")


def _plain(lang: str, value: Any) -> str:
    if value in (None, "", []):
        return say(lang, "runs.nothing_set")
    return " ".join(map(str, value)) if isinstance(value, list) else json.dumps(value).strip('"')

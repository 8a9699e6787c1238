"""What is hidden wherever a run is shown: the values of variables that hold keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.jobs.jobs import Run

SECRET_WORDS = ("key", "token", "secret", "password")
"""A variable or setting whose name has one of them is a secret."""


def masked_script(run: Run) -> str:
    """Return the launch script with the values of secret variables hidden."""
    path = run.dir.command_sh
    text = path.read_text() if path.exists() else ""
    for key, value in run.spec.command.env.items():
        if value and any(word in key.lower() for word in SECRET_WORDS):
            text = text.replace(value, "••••")
    return text

"""Handlers that a script may call by their own names, through `gradio_client`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradio.events import api

from studio.ui.errors import guard


def scripted(*handlers: Callable[..., Any]) -> None:
    """Offer handlers to scripts, each under its own name; their errors are sentences."""
    for handler in handlers:
        api(guard(handler), api_name=handler.__name__)

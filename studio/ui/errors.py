"""What a visitor sees when a handler fails: a sentence, never a traceback.

    @guard
    def stop(run_id: str, request: gr.Request) -> str: ...

`StudioError` becomes a toast with its message and hint. Anything else is a bug: it is logged with
its traceback, and the visitor is told that it was logged. Works for plain functions, coroutines
and both kinds of generators, and leaves the signature as Gradio needs to see it.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from gradio.context import LocalContext

from studio.core.errors import StudioError
from studio.ui.i18n import lang_of, say
from studio.ui.sentences import translate_error
from studio.ui.widgets import esc

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)


def guard(fn: F) -> F:
    """Wrap a handler so that its errors become toasts in the visitor's language."""
    if inspect.isasyncgenfunction(fn):

        @functools.wraps(fn)
        async def async_stream(*args: Any, **kwargs: Any) -> Any:
            try:
                async for item in fn(*args, **kwargs):
                    yield item
            except Exception as error:
                raise shown(error, fn) from error

        return async_stream  # type: ignore[return-value]

    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def later(*args: Any, **kwargs: Any) -> Any:
            try:
                return await fn(*args, **kwargs)
            except Exception as error:
                raise shown(error, fn) from error

        return later  # type: ignore[return-value]

    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def stream(*args: Any, **kwargs: Any) -> Any:
            try:
                yield from fn(*args, **kwargs)
            except Exception as error:
                raise shown(error, fn) from error

        return stream  # type: ignore[return-value]

    @functools.wraps(fn)
    def once(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            raise shown(error, fn) from error

    return once  # type: ignore[return-value]


def shown(error: Exception, where: Callable[..., Any]) -> gr.Error:
    """Turn an exception into the toast that the visitor will read."""
    if isinstance(error, gr.Error):
        return error
    lang = lang_of(LocalContext.request.get(None))
    if isinstance(error, StudioError):
        text = esc("\n".join(translate_error(lang, error)).strip(), quote=False)
        return gr.Error(text, duration=15, print_exception=False)
    _log.error("%s.%s failed", where.__module__, where.__qualname__, exc_info=error)
    text = say(lang, "error.bug", kind=type(error).__name__)
    return gr.Error(esc(text, quote=False), print_exception=False)

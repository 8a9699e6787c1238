"""Leave the parent for good: fork once more, so that nobody has to reap or hold the supervisor."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Call prctl(2); raise OSError when the kernel refuses."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def detach(announce: Callable[[], T], work: Callable[[T], None]) -> None:
    """Fork; the child announces itself, the parent exits only then, and the child goes on.

    The parent's exit status is 0 once `announce` has returned, so whoever waits for it knows
    that the run has a supervisor on record.
    """
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(write_end)
        os._exit(0 if os.read(read_end, 1) else 1)
    os.close(read_end)
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        announced = announce()
        os.write(write_end, b"1")
        os.close(write_end)
        work(announced)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)  # prints it
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)

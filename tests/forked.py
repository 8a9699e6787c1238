"""Workers of pytest-xdist that are forks of one process, which has imported what all of them need.

A worker that starts from nothing imports Gradio, pandas and the studio anew: 2 s of a processor.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from execnet import gateway_io
from execnet.gateway_base import Popen2IO, get_execmodel
from typer import testing

from studio import cli
from studio.ui import launch

NEEDED = (
    "duckdb",
    "gradio_client",
    "prometheus_client",
    "ruamel.yaml",
    "studio.ui.shell",
    "uvicorn",
)


def fork_workers(count: int) -> None:
    """Import what all need; the first `count` gateways of execnet are then forks of this process.

    They are forked before this process starts a thread. Later ones start from nothing, as ever.
    """
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(launch.NEVER)
    gc.disable()
    for name in NEEDED:
        importlib.import_module(name)
    launch.find_tabs()
    testing._get_command(cli.app)  # conftest.py has it remembered
    gc.freeze()
    gc.enable()
    workers: list[Forked] = []
    for _ in range(count):
        workers.append(Forked(workers))
    from_nothing = gateway_io.create_io

    def create_io(spec: Any, execmodel: Any) -> Any:
        return workers.pop(0) if workers else from_nothing(spec, execmodel)

    gateway_io.create_io = create_io


class Forked(Popen2IO):
    """A worker that waits for orders, with the pipes to it."""

    def __init__(self, others: Sequence[Forked]) -> None:
        orders, order = os.pipe()
        answer, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            for end in (order, answer, *(end for other in others for end in other.ends)):
                os.close(end)
            _work(orders, answers)
        os.close(orders)
        os.close(answers)
        self.ends = (order, answer)
        model = get_execmodel("thread")
        super().__init__(os.fdopen(order, "wb"), os.fdopen(answer, "rb"), execmodel=model)

    def wait(self) -> int | None:
        """Return the exit status, as soon as there is one."""
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            return None

    def kill(self) -> None:
        """End it at once."""
        os.kill(self._pid, signal.SIGKILL)


def _work(orders: int, answers: int) -> NoReturn:
    """Do what execnet asks of an interpreter that it starts, and end without unwinding the fork."""
    status = 1
    try:
        for end, standard in ((orders, 0), (answers, 1)):
            os.dup2(end, standard)
            os.close(end)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.argv = ["-c"]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(eval(sys.stdin.readline()), vars(main))
        atexit._run_exitfuncs()
        status = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)  # prints it
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

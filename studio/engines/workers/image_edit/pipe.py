"""The child that holds the pipeline: takes the best rung, then edits what the front sends.

JSON lines both ways: commands on stdin, events on a copy of stdout (stdout itself becomes stderr,
so that nothing a library prints can break a line). Leaves with 77 after an out-of-memory, because
a pipeline cannot change its rung in place, and with 78 when no rung can be taken.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

OUT_OF_MEMORY = 77
NO_RUNG = 78
LEAVE_S = 2.0
"""What a job at work gets to end between two steps when it is time to go."""
LOG = logging.getLogger("image_edit")


class Wire:
    """Events out, commands in. Events may come from several threads."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._commands: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[str] = set()
        self._closing = False
        threading.Thread(target=self._read, daemon=True, name="commands").start()

    def emit(self, event: str, **more: Any) -> None:
        """Send one event; a front that has gone ends this process."""
        line = json.dumps({"event": event, **more}, ensure_ascii=False)
        try:
            with self._lock:
                self._out.write(line + "\n")
                self._out.flush()
        except BrokenPipeError:
            os._exit(0)

    def next(self) -> dict[str, Any] | None:
        """Wait for the next job; None when it is time to go."""
        return self._commands.get()

    def cancelled(self, job: str) -> bool:
        """Tell whether this job was cancelled, or everything is to end."""
        return job in self._cancelled or self._closing

    def _read(self) -> None:
        for line in sys.stdin:
            try:
                command = json.loads(line)
                what = command["do"]
            except (ValueError, KeyError, TypeError) as error:
                LOG.error("Not a command: %s", error)
                continue
            if what == "cancel":
                self._cancelled.add(str(command.get("job")))
            elif what == "quit":
                break
            else:
                self._commands.put(command)
        self._closing = True
        self._commands.put(None)
        time.sleep(LEAVE_S)
        os._exit(0)  # a step or a load that takes minutes is not waited for


def main(argv: Sequence[str] | None = None) -> int:
    """Load the pipeline on a rung and serve jobs until the front goes; return the exit code."""
    parser = argparse.ArgumentParser(description="The image editor's child process.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--skip", default="", help="Rungs that failed, separated by commas.")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    config = json.loads(args.config.read_text(encoding="utf-8"))
    wire = Wire()
    from . import session  # torch, after the allocator's setting

    skip = [name for name in args.skip.split(",") if name]
    try:
        held = session.open_session(config, skip, wire.emit)
    except session.NoRung as error:
        wire.emit("no-rung", message=str(error), ladder=error.ladder)
        return _leave(NO_RUNG)
    except Exception as error:
        if not session.is_out_of_memory(error):
            LOG.exception("The pipeline could not be loaded.")
            wire.emit("no-rung", message=_sentence(error), ladder=[])
            return _leave(NO_RUNG)
        wire.emit("oom", job=None, stage="load", step=0, message=_sentence(error))
        return _leave(OUT_OF_MEMORY)
    while (command := wire.next()) is not None:
        if command["do"] != "edit":
            LOG.error("There is no command %r.", command["do"])
            continue
        if _serve(held, command, wire) == OUT_OF_MEMORY:
            return _leave(OUT_OF_MEMORY)
    return _leave(0)


def _serve(held: Any, job: Mapping[str, Any], wire: Wire) -> int:
    """Do one job; return 77 when memory ran out and this process has to go."""
    from . import session  # loaded by now

    name = str(job.get("job"))
    began = time.monotonic()
    try:
        held.edit(job, lambda: wire.cancelled(name))
    except session.Cancelled:
        wire.emit("cancelled", job=name)
    except session.BadSetting as error:
        wire.emit("error", job=name, message=_sentence(error), hint="", bad=True)
    except (KeyError, TypeError) as error:  # the front sent half a job
        wire.emit("error", job=name, message=_sentence(error), hint="")
    except session.Ran as ran:
        error = ran.__cause__ or ran
        if session.is_out_of_memory(error):
            LOG.warning("Out of memory at %s: %s", ran.stage, _sentence(error))
            wire.emit("oom", job=name, stage=ran.stage, step=ran.step, message=_sentence(error))
            return OUT_OF_MEMORY
        LOG.exception("Job %s failed at %s.", name, ran.stage)
        wire.emit("error", job=name, message=_sentence(error), hint="")
    LOG.info("Job %s took %.1f s.", name, time.monotonic() - began)
    return 0


def _sentence(error: BaseException) -> str:
    """Return the first line of an error's words."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _leave(code: int) -> int:
    """Go at once: what libraries do when Python winds down can take long or hang on a full card."""
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())

"""The table of known ways to fail: what the log says, what it means, what helps.

The order is that of the search: what names its cause most exactly comes first, so that "the engine
core died" is only said when nothing says why. How logs are read is in `studio.engines.explain`.
"""

from __future__ import annotations

from studio.engines.causes.cause import cause
from studio.engines.causes.images import IMAGES
from studio.engines.causes.load import LOAD
from studio.engines.causes.machine import MACHINE
from studio.engines.causes.memory import MEMORY
from studio.engines.causes.model import MODEL
from studio.engines.causes.settings import SETTINGS
from studio.engines.causes.training import ENDED, TRAINING

CAUSES = (*LOAD, *IMAGES, *MEMORY, *TRAINING, *SETTINGS, *MODEL, *MACHINE, *ENDED)
KILLED = next(cause for cause in CAUSES if cause.key == "host-memory")
UNKNOWN = cause(
    "",
    "",
    ("The engine ended in a way the studio has no name for.", "引擎以未知的方式结束。"),
    ("The last lines of the log usually say why.", "日志的最后几行通常会说明原因。"),
)
LOST = cause(
    "lost",
    "",
    (
        "The supervisor of this run disappeared (killed, or the machine restarted), so nobody saw "
        "how it ended. What it left behind was ended.",
        "这次运行的监督进程消失了（被杀或机器重启），没人知道它怎么结束的。残留进程已清理。",
    ),
    ("Look at the log, then launch it again.", "看看日志，然后重新启动。"),
)

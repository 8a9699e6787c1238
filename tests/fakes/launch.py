"""Launches other runs of the same home and waits for a signal: `launch.py HOME FAKE...`.

Says `launched ID` for each. On SIGTERM it leaves at once and stops nobody.
"""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from conftest import spec  # noqa: E402

from studio.core.settings import Settings  # noqa: E402
from studio.core.spec import StopStep  # noqa: E402
from studio.jobs.jobs import Jobs  # noqa: E402

jobs = Jobs(Settings(home=Path(sys.argv[1])))
polite = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)
for name in sys.argv[2:]:
    print("launched", jobs.submit(spec(name, stop=polite)).id, flush=True)
print("all launched", flush=True)
time.sleep(600)

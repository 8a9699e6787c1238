"""Entry: `python -I -S studio/jobs/shim/__main__.py RUN_DIR DATABASE`; returns once detached."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from studio.jobs.shim.detach import detach
from studio.jobs.shim.supervise import Supervisor

if __name__ == "__main__":
    run_dir, database = Path(sys.argv[1]), Path(sys.argv[2])
    detach(lambda: Supervisor(run_dir, database).announce(), lambda shim: shim.run())

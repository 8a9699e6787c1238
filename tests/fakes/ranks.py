"""Starts so many ranks as torch elastic does, each with a child of its own; ends after a while."""

import os
import subprocess
import sys
import time

wanted, seconds = int(sys.argv[1]), float(sys.argv[2])
child = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
)
workers = []
for rank in range(wanted):
    env = {**os.environ, "LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(wanted)}
    workers.append(subprocess.Popen([sys.executable, "-c", child], start_new_session=True, env=env))
print("up", flush=True)
time.sleep(seconds)
for worker in workers:
    worker.kill()

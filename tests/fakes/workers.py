"""Starts two workers in sessions of their own, as torch elastic does; they ignore SIGTERM."""

import os
import subprocess
import sys
import time

code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
for rank in range(2):
    env = {**os.environ, "LOCAL_RANK": str(rank)}
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=env)
print("up", flush=True)
time.sleep(600)

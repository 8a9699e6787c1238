"""Ignores every polite signal."""

import signal
import time

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
    signal.signal(number, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)

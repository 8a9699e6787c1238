"""Leaves at once: with an exit code, or by a signal's number after a dash."""

import os
import sys

number = int(sys.argv[1])
print("leaving", flush=True)
if number < 0:
    os.kill(os.getpid(), -number)
sys.exit(number)

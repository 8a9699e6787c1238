"""Ends politely on SIGTERM with the code it was given (default 0)."""

import signal
import sys
import time

code = int(sys.argv[1]) if len(sys.argv) > 1 else 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(code))
print("up", flush=True)
time.sleep(600)

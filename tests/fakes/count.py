"""Writes a curve and ends: `count.py SECONDS CODE`; says when it began and ended."""

import sys
import time
from pathlib import Path

seconds, code = float(sys.argv[1]), int(sys.argv[2])
print(f"began {time.time():.3f}", flush=True)
time.sleep(seconds)
Path("artifacts/curve.txt").write_text("1 4.0\n2 2.0\n3 1.0\n")
print(f"ended {time.time():.3f}", flush=True)
sys.exit(code)

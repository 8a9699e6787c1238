"""Prints as many MiB as it is told and exits 0."""

import sys

line = b"x" * 127 + b"\n"
for _ in range(int(sys.argv[1]) * 64):
    sys.stdout.buffer.write(line * 128)

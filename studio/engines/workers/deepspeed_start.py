"""Become a launcher of DeepSpeed, after two things that it cannot do by itself.

    python deepspeed_start.py deepspeed --master_port {port} train.py

`{port}` becomes a port that is free now. Locks of operators that were being compiled when their
run was killed are removed from TORCH_EXTENSIONS_DIR: PyTorch would wait for them for ever. A lock
is left alone while any process works with that folder, unless it is older than any build takes.
Standard library only.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "TORCH_EXTENSIONS_DIR"
LONGEST_BUILD_S = 1800


def main() -> None:
    """Clear the locks, find a port, and execute the words."""
    folder = os.environ.get(VARIABLE, "")
    if folder:
        clear_locks(Path(folder))
    words = [word.replace("{port}", free_port()) for word in sys.argv[1:]]
    os.execvp(words[0], words)


def clear_locks(folder: Path) -> None:
    """Remove the locks that no build holds any more."""
    busy = any(in_use(str(folder)))
    for lock in folder.glob("**/lock"):
        if not busy or time.time() - lock.stat().st_mtime > LONGEST_BUILD_S:
            print(f"[studio] removed {lock}, left by a build that was killed", flush=True)
            lock.unlink(missing_ok=True)


def in_use(folder: str) -> Iterator[int]:
    """Yield the processes that work with the folder, without those that have only come to here."""
    wanted, me = f"{VARIABLE}={folder}".encode(), Path(__file__).name.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if wanted in variables and me not in words:
            yield int(name)


def free_port() -> str:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


if __name__ == "__main__":
    main()

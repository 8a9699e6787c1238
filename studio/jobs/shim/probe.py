"""One question to a server: does this path answer 200? A bare socket keeps the supervisor small."""

from __future__ import annotations

import socket

TIMEOUT_S = 2.0


def answers(host: str, port: int, path: str) -> bool:
    """Return True when GET `path` is answered with status 200."""
    target = reachable(host)
    try:
        with socket.create_connection((target, port), timeout=TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            request = f"GET {path} HTTP/1.1\r\nHost: {target}:{port}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            status = connection.recv(64).split(b"\r\n", 1)[0].split()
    except OSError:
        return False
    return len(status) > 1 and status[1] == b"200"


def reachable(host: str) -> str:
    """Return the address to ask at for the one a server listens on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

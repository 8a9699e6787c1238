"""Keep a port for a run from the moment it was reserved until its server listens.

Two things are held. An abstract Unix socket named after the port tells every studio on this
machine, of whatever home or user, that the port is spoken for; it lives exactly as long as the
supervisor. The TCP port itself is bound (without listening) while the run waits for its turn, so
that no other program takes it during a long queue or build; it is let go just before the exec.
"""

from __future__ import annotations

import contextlib
import socket


def _name(port: int) -> str:
    return f"\0ladder-studio-port-{port}"


class PortHold:
    """The claim of one run on one port."""

    def __init__(self, port: int, host: str) -> None:
        self._port, self._host = port, host
        self._claim: socket.socket | None = None
        self._tcp: socket.socket | None = None

    def take(self) -> bool:
        """Claim the port; False when another studio's run or another program has it."""
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(_name(self._port))
        except OSError:
            claim.close()
            return False
        self._claim = claim
        self._tcp = _bound(self._host, self._port)
        return self._tcp is not None

    def let_listen(self) -> None:
        """Give the TCP port to the server that is about to start; the claim stays."""
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None


def _bound(host: str, port: int) -> socket.socket | None:
    """Bind the port, alone if possible; None when another program listens on it.

    A server that ended a moment ago leaves connections in TIME_WAIT, which refuse a plain bind for
    a minute; SO_REUSEADDR passes them, as the coming server's own bind will.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for reuse in (0, 1):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            tcp.bind((host, port))
        except OSError:
            tcp.close()
        else:
            return tcp
    return None


def claimed(port: int) -> bool:
    """Tell whether a run of any studio on this machine has claimed the port."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind(_name(port))
        except OSError:
            return True
    return False

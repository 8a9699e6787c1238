"""A port is held for a run, whatever its last user left behind."""

from __future__ import annotations

import contextlib
import socket

from studio.jobs import ports
from studio.jobs.shim.porthold import PortHold


def _left_in_time_wait() -> int:
    """Serve one connection and close it first, so that the port's own side stays in TIME_WAIT."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = server.accept()
            served.close()
            assert client.recv(1) == b""
    return port


def test_connections_of_the_last_server_do_not_take_the_port() -> None:
    port = _left_in_time_wait()
    with contextlib.closing(socket.socket()) as plain, contextlib.suppress(OSError):
        plain.bind(("127.0.0.1", port))
        raise AssertionError("the port is not in TIME_WAIT, so this shows nothing")
    assert ports.is_free(port)
    hold = PortHold(port, "127.0.0.1")
    assert hold.take()
    hold.let_listen()


def test_a_listening_program_keeps_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not PortHold(server.getsockname()[1], "127.0.0.1").take()


def test_a_held_port_refuses_another_run_and_another_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    hold = PortHold(port, "127.0.0.1")
    assert hold.take()
    assert not PortHold(port, "127.0.0.1").take()
    with contextlib.closing(socket.socket()) as other, contextlib.suppress(OSError):
        other.bind(("127.0.0.1", port))
        raise AssertionError("another program could bind the held port")
    hold.let_listen()

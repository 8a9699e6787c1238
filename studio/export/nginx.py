"""An nginx configuration that puts one address in front of several OpenAI-compatible servers.

What it takes care of: answers are passed on piece by piece (no buffering), a long silence while a
prompt is read is no timeout, connections to the servers stay open, and a request that a server
refused or dropped before its first byte goes to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from studio.core.errors import RecipeInvalid

Balance = Literal["least_conn", "ip_hash"]

KEEPALIVE_S = 3
"""Idle connections are left before the server leaves them (uvicorn: after 5 s). A request on a
connection that the server is just closing fails, and nginx does not send a POST again."""
KEEPALIVE_PER_BACKEND = 32
"""Idle connections that a worker process of nginx keeps open to each server."""


def nginx_conf(
    endpoints: Sequence[tuple[str, int]],
    *,
    listen: int = 8080,
    server_name: str = "_",
    api_key: str = "",
    balance: Balance = "least_conn",
    read_timeout_s: int = 3600,
    max_body: str = "64m",
    name: str = "ladder",
    standalone: bool = False,
    prefix: Path | None = None,
) -> str:
    """Return the configuration; `endpoints` are host and port of each server.

    Without `standalone` it is a file for `conf.d/`; with it a whole nginx.conf whose paths all lie
    under `prefix`, so that an ordinary user can run it: `nginx -c FILE`. `ip_hash` keeps a client
    on one server, whose prefix cache then knows its conversations. With `api_key` nginx refuses
    requests that lack it. `max_body` must let pictures through, which travel as base64.
    Raises RecipeInvalid.
    """
    if not endpoints:
        raise RecipeInvalid("nginx needs at least one server to hand requests to.")
    parts = [
        _upstream(endpoints, balance, name),
        _key_map(api_key, name),
        _server(listen, server_name, read_timeout_s, max_body, name, keyed=bool(api_key)),
    ]
    inside = "\n".join(part for part in parts if part)
    return _whole(inside, prefix or Path("/tmp/ladder-nginx")) if standalone else inside


def _upstream(endpoints: Sequence[tuple[str, int]], balance: Balance, name: str) -> str:
    lines = [
        f"upstream {name} {{",
        f"    {balance};",
        "    # Out for 10 s after 3 failures; open-source nginx has no active health checks.",
        *(f"    server {_host(h)}:{port} max_fails=3 fail_timeout=10s;" for h, port in endpoints),
        f"    keepalive {KEEPALIVE_PER_BACKEND * len(endpoints)};",
        f"    keepalive_timeout {KEEPALIVE_S}s;",
        "}",
        "",
    ]
    return "\n".join(lines)


def _key_map(api_key: str, name: str) -> str:
    """Compare the header by a table: `if` with a value of the user's would need escaping twice."""
    if not api_key:
        return ""
    if any(char in api_key for char in '"\\$\n') or not api_key.isprintable():
        raise RecipeInvalid(
            "This API key cannot be written into an nginx configuration.",
            hint='Use a key without quotes, backslashes and "$".',
        )
    return (
        "# Holds the API key: keep this file readable for nginx alone (chmod 600).\n"
        f"map $http_authorization ${name}_may {{\n"
        "    default 0;\n"
        f'    "Bearer {api_key}" 1;\n'
        "}\n"
    )


def _server(
    listen: int, server_name: str, read_timeout_s: int, max_body: str, name: str, *, keyed: bool
) -> str:
    gate = f"        if (${name}_may = 0) {{ return 401; }}\n" if keyed else ""
    return f"""server {{
    listen {listen};
    server_name {server_name};
    client_max_body_size {max_body};

    # An adapter loaded through here would reach one server only.
    location ~ ^/v1/(un)?load_lora_adapter$ {{ return 403; }}

    # Only the API is offered, not the servers' metrics and controls.
    location /v1/ {{
{gate}        proxy_pass http://{name};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;

        # Answers are streamed (server-sent events): pass every piece on as it comes.
        proxy_buffering off;
        proxy_cache off;
        gzip off;

        proxy_connect_timeout 5s;
        proxy_send_timeout 300s;
        proxy_read_timeout {read_timeout_s}s;

        # A chat request changes nothing on a server, so another one may answer it.
        proxy_next_upstream error http_502 http_503 non_idempotent;
        proxy_next_upstream_timeout 30s;
    }}

    location = /health {{
        proxy_pass http://{name};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_next_upstream error timeout http_502 http_503;
    }}

    location / {{ return 404; }}
}}
"""


def _whole(inside: str, prefix: Path) -> str:
    """Wrap the configuration into one that an ordinary user can run."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temps = "\n".join(f"    {kind}_temp_path {prefix}/{kind};" for kind in kinds)
    inner = "".join(f"    {line}".rstrip() + "\n" for line in inside.splitlines())
    return f"""worker_processes auto;
daemon off;
pid {prefix}/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 4096;
}}

http {{
    access_log off;
{temps}

{inner}}}
"""


def _host(host: str) -> str:
    """Return where a server that listens on every address is reached, IPv6 in brackets."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host

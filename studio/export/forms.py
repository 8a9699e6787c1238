"""Every form that a launch can be written out in, from one `RunSpec`."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.spec import RunSpec
from studio.export.compose import compose
from studio.export.container import docker_run, has_container
from studio.export.nginx import nginx_conf
from studio.jobs.rundir import script


def forms(spec: RunSpec, *, copies: int = 1) -> dict[str, str]:
    """Return the texts by form: `sh` always, `docker` and `compose` where there is an image."""
    found = {"sh": script(spec)}
    if has_container(spec):
        found["docker"] = docker_run(spec)
        found["compose"] = compose(spec, copies=copies)
    return found


def as_nginx(spec: RunSpec, backends: Sequence[tuple[str, int]]) -> str:
    """Return the nginx configuration of a launch; the key it asks for is the launch's own."""
    key = spec.command.env.get("STUDIO_ENDPOINT_KEY", "")
    return nginx_conf(backends, api_key=key)

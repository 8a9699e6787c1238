"""A Docker Compose file of a launch, or of several copies of it behind the router."""

from __future__ import annotations

from typing import Any

import yaml

from studio.core.errors import RecipeInvalid
from studio.core.spec import Interpreter, Placement, RunSpec
from studio.engines.router import Router, RouterConfig
from studio.envs.backend import read_lock
from studio.envs.catalog import ROUTER
from studio.export.container import (
    HUB_CACHE,
    PORT,
    WORKDIR,
    Container,
    contain,
    key_notes,
    published,
)

START_PERIOD = "30m"
"""How long a container may take to load its model before it counts as unhealthy."""
ROUTER_IMAGE = "python:3.12-slim"
"""The router has no image of its own with releases; its wheel installs in seconds."""


def compose(spec: RunSpec, *, copies: int = 1, policy: str = "cache_aware") -> str:
    """Return the compose file; with `copies` each gets its own cards and a router comes in front.

    Raises RecipeInvalid when the engine has no image or named cards cannot be shared out.
    """
    box = contain(spec)
    if copies == 1:
        services = {box.name: _service(box, box.gpu_ids, publish=True)}
    else:
        names = [f"{box.name}-{number}" for number in range(1, copies + 1)]
        shares = _shares(box, copies)
        services = {
            name: _service(box, share, publish=False)
            for name, share in zip(names, shares, strict=True)
        }
        services["router"] = _router(box, names, policy)
    tree: dict[str, Any] = {"name": box.name.lower(), "services": services}
    if box.files:
        texts = {name: _escaped(text) for name, text in box.files.items()}
        tree["configs"] = {_config(name): {"content": text} for name, text in texts.items()}
    text = yaml.dump(
        tree,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=96,
    )
    return _head(box, copies) + text


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block that people can read."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _head(box: Container, copies: int) -> str:
    lines = [f"# {box.name}: {box.title} as a container.   docker compose -f FILE up -d"]
    if box.num_gpus:
        lines.append("# Needs the NVIDIA Container Toolkit; device_ids say which cards are used.")
    lines += key_notes(box)
    if copies > 1:
        lines.append(f"# {copies} copies; ask the router's port, it knows who has which prefix.")
    return "\n".join([*lines, ""])


def _service(box: Container, cards: tuple[int, ...] | None, *, publish: bool) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": box.image,
        "entrypoint": list(box.entrypoint),
        "command": [_escaped(word) for word in box.args],
        "restart": "unless-stopped",
        "ipc": "host",
    }
    if publish:
        service["ports"] = [published(box)]
    volumes: list[Any] = [
        {"type": "bind", "source": _escaped(path), "target": _escaped(inside), "read_only": True}
        for path, inside in box.mounts.items()
    ]
    if box.uses_hub:
        volumes.append(f"${{HF_HOME:-${{HOME}}/.cache/huggingface}}:{HUB_CACHE}")
    volumes += [f"./{box.name}/{name}:{WORKDIR}/{name}:ro" for name in box.private]
    if volumes:
        service["volumes"] = volumes
    environment: dict[str, str | None] = dict.fromkeys(box.passed_on)
    environment |= {name: _escaped(value) for name, value in box.env.items()}
    if environment:
        service["environment"] = environment
    if box.secrets:
        service["env_file"] = [box.env_file]
    if box.files or box.private:
        service["working_dir"] = WORKDIR
    if box.files:
        service["configs"] = [
            {"source": _config(name), "target": f"{WORKDIR}/{name}"} for name in box.files
        ]
    service["healthcheck"] = _healthcheck(box.health)
    if box.num_gpus:
        device: dict[str, Any] = {"driver": "nvidia"}
        if cards is None:
            device["count"] = box.num_gpus
        else:
            device["device_ids"] = [str(card) for card in cards]
        device["capabilities"] = ["gpu"]
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return service


def _router(box: Container, names: list[str], policy: str) -> dict[str, Any]:
    """Return the service of the router, told what `studio.engines.router` would tell it."""
    settings = {
        "worker_urls": [f"http://{name}:{PORT}" for name in names],
        "policy": policy,
        "host": "0.0.0.0",
        "health_check_endpoint": box.health,
    }
    place = Placement(interpreter=Interpreter(name=ROUTER.name, python="/"), port=PORT)
    command = Router().command(RouterConfig.model_validate(settings), place)
    pins = read_lock(ROUTER.lock("cuda").read_text())
    wanted = next(pin for pin in pins if pin.startswith(f"{ROUTER.distribution}=="))
    install = f'pip install --quiet {wanted} && exec vllm-router "$$@"'
    return {
        "image": ROUTER_IMAGE,
        "entrypoint": ["sh", "-c", install, "vllm-router"],
        "command": list(command.argv[1:]),
        "restart": "unless-stopped",
        "ports": [published(box)],
        "healthcheck": _healthcheck("/readiness"),
    }


def _healthcheck(path: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{PORT}{path}"
    program = f"import urllib.request; urllib.request.urlopen('{url}', timeout=5)"
    return {
        "test": ["CMD", "python3", "-c", program],
        "interval": "30s",
        "timeout": "10s",
        "retries": 3,
        "start_period": START_PERIOD,
    }


def _shares(box: Container, copies: int) -> list[tuple[int, ...] | None]:
    """Give each copy its own cards: those named, else 0, 1, 2, ... in order."""
    if not box.num_gpus:
        return [None] * copies
    each = box.num_gpus
    cards = tuple(range(each * copies))
    if box.gpu_ids is not None:
        each, odd = divmod(len(box.gpu_ids), copies)
        if odd or not each:
            raise RecipeInvalid(
                f"{len(box.gpu_ids)} named card(s) cannot be shared out evenly to {copies} copies.",
                hint="Name a multiple of the number of copies, or let the studio take idle ones.",
            )
        cards = box.gpu_ids
    return [cards[number * each : (number + 1) * each] for number in range(copies)]


def _config(name: str) -> str:
    return name.replace(".", "_").replace("/", "_")


def _escaped(text: str) -> str:
    """Keep compose from reading variables into a text."""
    return text.replace("$", "$$")

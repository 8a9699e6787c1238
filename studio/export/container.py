"""The same launch as a container: image, mounts, cards and the engine's own arguments.

Pure text from a `RunSpec`. What the engine is told stays what `Engine.command` said, but for three
things that differ inside a container: the address it listens on, its port, and where the model
lies. Keys are never written down: they are read from an env file.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from studio.core.errors import RecipeInvalid
from studio.core.spec import RunSpec
from studio.envs.backend import name_of, read_lock
from studio.envs.catalog import find

PORT = 8000
"""Port inside the container."""
MODELS = "/models"
WORKDIR = "/studio"
"""Folder inside the container that holds the engine's input files."""
HUB_CACHE = "/root/.cache/huggingface"
HUB_VARIABLES = ("HF_ENDPOINT", "HF_TOKEN")
"""Handed over from whoever starts the container, when the model comes from the hub."""


class Image(NamedTuple):
    """Where an engine's image is and how its program is called there."""

    cuda: str
    cpu: str
    """Image without CUDA; empty when there is none."""
    entrypoint: tuple[str, ...]
    after: str
    """The word of the studio's argv after which the engine's own arguments begin."""


IMAGES = {
    "vllm": Image(
        "vllm/vllm-openai:v{}", "vllm/vllm-openai-cpu:v{}", ("vllm", "serve"), after="serve"
    ),
    "sglang": Image(
        "lmsysorg/sglang:v{}",
        "",
        ("python3", "-m", "sglang.launch_server"),
        after="sglang.launch_server",
    ),
    "llamafactory-api": Image(
        "hiyouga/llamafactory:{}", "", ("llamafactory-cli", "api"), after="api"
    ),
}
"""Engines that can be written out as a container. `{}` is the version in the engine's lock."""

NO_PATHS = {"--root-path", "--uds"}
"""Options whose value looks like a path of this machine and is none, or must stay one."""
_SECRET = re.compile(r"(_KEY|_TOKEN|_SECRET)$")
_OURS = {"PYTHONPATH", "STUDIO_ENDPOINT_KEY", "OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND"}
"""Variables about this machine: where packages lie, and one thread where others compute too."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A launch as a container, before it is written in one syntax or the other."""

    name: str
    title: str
    image: str
    entrypoint: tuple[str, ...]
    args: tuple[str, ...]
    env: dict[str, str]
    passed_on: tuple[str, ...] = ()
    """Variables whose value comes from whoever starts the container."""
    secrets: tuple[str, ...] = ()
    """Variables that the env file holds."""
    mounts: dict[str, str] = field(default_factory=dict)
    """Paths of this machine, and where they appear read-only."""
    files: dict[str, str] = field(default_factory=dict)
    """The engine's input files, by name."""
    private: dict[str, str] = field(default_factory=dict)
    """Those that hold a key, with the key left out; a person writes them."""
    num_gpus: int = 0
    gpu_ids: tuple[int, ...] | None = None
    host: str = "127.0.0.1"
    port: int = PORT
    """Where the server is reached from outside the container."""
    health: str = "/health"

    @property
    def env_file(self) -> str:
        """Name of the file that holds the keys."""
        return f"{self.name}.env"

    @property
    def uses_hub(self) -> bool:
        """True when the model is fetched from the hub, so that its cache is worth mounting."""
        return bool(self.passed_on)


def has_container(spec: RunSpec) -> bool:
    """Tell whether a launch can be written out as a container."""
    image = IMAGES.get(spec.engine)
    return image is not None and bool(image.cuda if spec.resources.num_gpus else image.cpu)


def contain(spec: RunSpec) -> Container:
    """Return a launch as a container; raise RecipeInvalid when its engine has no image."""
    if not has_container(spec):
        raise RecipeInvalid(
            f"There is no container image for {spec.title or spec.engine}.",
            hint="Use the shell script instead.",
        )
    image = IMAGES[spec.engine]
    mounts = Mounts()
    command = spec.command
    tail = command.argv[command.argv.index(image.after) + 1 :]
    args = tuple(_inside(tail, mounts))
    env = {name: value for name, value in command.env.items() if name not in _OURS}
    if "API_PORT" in env:
        env |= {"API_HOST": "0.0.0.0", "API_PORT": str(PORT)}
    hub = "HF_HUB_OFFLINE" not in env
    key = command.env.get("STUDIO_ENDPOINT_KEY", "")
    texts = {name: mounts.rewrite_text(text) for name, text in command.files.items()}
    return Container(
        name=re.sub(r"[^a-zA-Z0-9_.-]+", "-", spec.name).strip("-._") or spec.engine,
        title=spec.title or spec.engine,
        image=image_of(spec),
        entrypoint=image.entrypoint,
        args=args,
        env={name: mounts.rewrite(v) for name, v in env.items() if not _SECRET.search(name)},
        passed_on=HUB_VARIABLES if hub else (),
        secrets=tuple(name for name in env if _SECRET.search(name)),
        files={name: text for name, text in texts.items() if not key or key not in text},
        private={
            name: text.replace(key, "...") for name, text in texts.items() if key and key in text
        },
        mounts=mounts.inside,
        num_gpus=spec.resources.num_gpus,
        gpu_ids=spec.resources.gpu_ids,
        host=spec.host,
        port=spec.port or PORT,
        health=(spec.probe.path if spec.probe else None) or "/health",
    )


def image_of(spec: RunSpec) -> str:
    """Return the image with the version that the engine's lock pins."""
    image, env = IMAGES[spec.engine], find(spec.env_name)
    cuda = spec.resources.num_gpus > 0
    pins = dict(
        pin.split("==", 1) for pin in read_lock(env.lock("cuda" if cuda else "cpu").read_text())
    )
    by_name = {name_of(name): version for name, version in pins.items()}
    names = (env.distribution, f"{env.distribution}-cpu")
    version = next(by_name[name] for name in names if name in by_name)
    return (image.cuda if cuda else image.cpu).format(version.partition("+")[0])


def docker_run(spec: RunSpec) -> str:
    """Return a script that starts the launch with `docker run`."""
    box = contain(spec)
    head = ["#!/usr/bin/env bash", f"# {box.name}: {box.title} as a container."]
    if box.num_gpus:
        head.append("# Needs Docker with the NVIDIA Container Toolkit.")
    if box.num_gpus and box.gpu_ids is None:
        cards = ",".join(str(card) for card in range(box.num_gpus))
        head.append(f"# Docker knows no idle cards: name them with --gpus '\"device={cards}\"'.")
    head += [*key_notes(box), "set -eu"]
    for name, text in box.files.items():
        head += [f"mkdir -p {box.name}", f"cat > {box.name}/{name} <<'END'", text.rstrip(), "END"]
    return "\n".join([*head, " \\\n  ".join(_docker_lines(box)), ""])


def _docker_lines(box: Container) -> list[str]:
    """Return the lines of the `docker run`, each an option with its value."""
    lines = [
        "docker run --detach",
        f"--name {box.name}",
        "--restart unless-stopped",
        "--ipc=host",
    ]
    if box.num_gpus:
        chosen = str(box.num_gpus)
        if box.gpu_ids is not None:
            chosen = "'\"device=" + ",".join(str(card) for card in box.gpu_ids) + "\"'"
        lines += ["--runtime nvidia", f"--gpus {chosen}"]
    lines.append(f"--publish {published(box)}")
    for path, inside in box.mounts.items():
        lines.append(f"--volume {shlex.quote(f'{path}:{inside}:ro')}")
    if box.uses_hub:
        lines.append(f'--volume "${{HF_HOME:-$HOME/.cache/huggingface}}:{HUB_CACHE}"')
    for name in (*box.files, *box.private):
        lines.append(f'--volume "$PWD/{box.name}/{name}:{WORKDIR}/{name}:ro"')
    if box.files or box.private:
        lines.append(f"--workdir {WORKDIR}")
    lines += [f"--env {name}" for name in box.passed_on]
    lines += [f"--env {shlex.quote(f'{name}={value}')}" for name, value in box.env.items()]
    if box.secrets:
        lines.append(f"--env-file {box.env_file}")
    program, *rest = box.entrypoint
    lines += [f"--entrypoint {program}", shlex.join([box.image, *rest])]
    return lines + _grouped(box.args)


def key_notes(box: Container) -> list[str]:
    """Return comments that say which files with keys a person has to write."""
    notes = []
    if box.secrets:
        names = ", ".join(box.secrets)
        notes.append(f"# {box.env_file} must hold {names} as NAME=value (chmod 600).")
    for name, text in box.private.items():
        notes.append(f"# {box.name}/{name} must hold, with the key for ... (chmod 600):")
        notes += [f"#   {line}" for line in text.splitlines()]
    return notes


def published(box: Container) -> str:
    """Return the `-p` value; a server of this machine only stays one."""
    where = {"0.0.0.0": "", "::": ""}.get(box.host, f"{box.host}:")
    return f"{where}{box.port}:{PORT}"


class Mounts:
    """Paths of this machine that the arguments name, each with a place inside the container."""

    def __init__(self) -> None:
        self.inside: dict[str, str] = {}

    def place(self, path: str) -> str:
        """Return where a path appears inside; two folders of one name get two places."""
        path = path.rstrip("/") or "/"
        if path not in self.inside:
            name = PurePosixPath(path).name or "root"
            taken, place, number = set(self.inside.values()), f"{MODELS}/{name}", 1
            while place in taken:
                number += 1
                place = f"{MODELS}/{name}-{number}"
            self.inside[path] = place
        return self.inside[path]

    def rewrite(self, word: str) -> str:
        """Rewrite the paths in one argument: `/x`, `name=/x`, or JSON with "/x" in it."""
        if word.startswith("/"):
            return self.place(word)
        if word.startswith(("{", "[")):
            return re.sub(r'"(/[^"\\]*)"', lambda found: f'"{self.place(found[1])}"', word)
        name, sign, value = word.partition("=")
        if sign and value.startswith("/") and re.fullmatch(r"[\w.-]+", name):
            return f"{name}={self.place(value)}"
        return word

    def rewrite_text(self, text: str) -> str:
        """Rewrite the paths in flat YAML: `key: "/x"`, also several with commas between."""

        def placed(found: re.Match[str]) -> str:
            return '"' + ",".join(self.rewrite(path) for path in found[1].split(",")) + '"'

        return re.sub(r'"(/[^"\\\n]*)"', placed, text)


def _inside(args: tuple[str, ...], mounts: Mounts) -> list[str]:
    """Return the engine's arguments as they are inside; only address, port and paths change."""
    changed, before = [], ""
    for word in args:
        if before == "--host":
            word = "0.0.0.0"
        elif before == "--port":
            word = str(PORT)
        elif before not in NO_PATHS:
            word = mounts.rewrite(word)
        changed.append(word)
        before = word
    assert len(changed) == len(args), "no argument was lost"
    return changed


def _grouped(args: tuple[str, ...]) -> list[str]:
    """Return the arguments quoted, an option and its values on one line."""
    lines: list[list[str]] = []
    for word in args:
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return [" ".join(line) for line in lines]

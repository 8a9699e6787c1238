"""Build one engine's environment: `python studio/envs NAME --variant cpu --home HOME [--fresh]`.

1. check     room on the disk, uv, nobody else at work, no process that uses the environment
2. venv      an interpreter that works, made new when it is missing, broken or asked for
3. torch     ask which build of torch can be had
4. install   exactly the pins of the lock; what is there already stays
5. bytecode  compile what engines import
6. shims     patches that make published CPU wheels work together
7. verify    import the engine with the new interpreter, then write the marker

It runs as a run of the studio's own: human words to stdout, percent to artifacts/progress.jsonl,
one clear last line and an exit code of `studio.core.errors` when it fails. A stop leaves an
environment without a marker, and the next build goes on from there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from studio import __version__
from studio.core.errors import DiskFull, EnvMissing, StudioError
from studio.envs import backend, bytecode, pipconf, shims, uv, venv
from studio.envs.catalog import CATALOG, EnvSpec, Variant, find
from studio.envs.checks import GIB, check_disk, check_driver, check_unused
from studio.envs.flags import ask_flags, flags_file, key_of, write_flags
from studio.envs.layout import EnvFolder, damaged, size_bytes
from studio.envs.progress import Progress
from studio.envs.screen import UvScreen
from studio.envs.verify import INHERITED, verify
from studio.jobs.shim.files import replace_json

REPAIR_GIB = 1.0

PERCENT = {
    "check": 0,
    "venv": 1,
    "torch": 2,
    "install": 3,
    "bytecode": 60,
    "shims": 89,
    "verify": 90,
    "ready": 100,
}
"""Where each step begins, by the share of time it took on a 2-core machine with a fast line."""


class Builder:
    """One build of one environment; `run` goes through the steps."""

    def __init__(
        self,
        spec: EnvSpec,
        variant: Variant,
        home: Path,
        *,
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.spec = spec
        self.variant: Variant = variant
        self.home = home
        self.fresh = fresh
        self.folder = EnvFolder(home / "envs" / f"{spec.name}-{variant}")
        self.progress = progress or Progress(Path.cwd())
        self.pip = pipconf.read()
        self._base = {k: v for k, v in os.environ.items() if k not in INHERITED}
        self.env = self._base | self.pip.env | dict(spec.build_env)
        self._lock_fd = -1

    def run(self) -> None:
        """Build, repair or confirm the environment; raise StudioError with the reason if not."""
        started = time.monotonic()
        self._step("check", f"{self.spec.title} for {self.variant}, into {self.folder.path}")
        waited = False
        while True:
            with self.folder.hold() as fd:
                if fd is not None:
                    self._lock_fd = fd
                    if waited and self._ready():
                        say("The other build has finished the work.")
                        return
                    self._build()
                    break
            if time.monotonic() - started > 1.0 and not waited:
                self._step("check", "Another build of this environment is at work; waiting for it.")
                waited = True
            time.sleep(0.2)
        self.progress.tell("ready", 100, "ready")
        say(f"{self.spec.title} is ready after {time.monotonic() - started:.0f} s.")

    def _build(self) -> None:
        self._check()
        self._venv()
        pins = self._install()
        self._bytecode()
        self._shims()
        self._verify(pins)

    # 1. check -----------------------------------------------------------------------------------

    def _ready(self) -> bool:
        marker = self.folder.read_marker()
        return bool(marker) and marker["lock_sha256"] == self.spec.lock_sha256(self.variant)

    def _check(self) -> None:
        self.uv = uv.find_uv()
        say(uv.ask([self.uv, "--version"], self.env).stdout.strip())
        if self.pip.used:
            say(f"From pip's configuration: {', '.join(self.pip.used)}.")
        for warning in self.pip.warnings:
            say(f"WARNING: {warning}.")
        if not self.spec.comes_for(self.variant):
            raise EnvMissing(f"{self.spec.title} does not come for {self.variant}.")
        check_unused(self.folder.path)
        check_driver(self.spec, self.variant)
        size: float = getattr(self.spec.size_gib, self.variant)
        need = size if self.folder.site_packages is None or self.fresh else REPAIR_GIB
        cache = uv.ask([self.uv, "cache", "dir"], self.env).stdout.strip()
        check_disk(self.spec.title, need, (self.home, Path(cache)))
        say(f"About {need:.1f} GiB are needed and there is room.")

    # 2. venv ------------------------------------------------------------------------------------

    def _venv(self) -> None:
        self._step("venv", "Looking for an interpreter that works.")
        python = self.folder.python
        if not self.fresh and venv.works(python, self._base):
            say("It is there; only what is missing will be installed.")
            return
        say("Starting from nothing.")
        venv.make(self.uv, self.folder.path, self.env)
        if not venv.has_headers(python, self._base):
            say(
                "WARNING: this Python has no headers (Python.h), which engines need to compile "
                "kernels. Install them (apt install python3-dev) or run the engine in eager mode."
            )

    # 3. torch, 4. install -----------------------------------------------------------------------

    def _install(self) -> list[str]:
        self._step("torch", "Asking which build of torch can be had.")
        pins = backend.read_lock(self.spec.lock(self.variant).read_text())
        choice = backend.choose(pins, "cpu" if self.spec.client else self.variant, self._ask)
        if choice.note:
            say(f"Torch: {choice.note}.")
        with suppress(FileNotFoundError):
            self.folder.marker.unlink()
        self.folder.pins.write_text("\n".join([*choice.pins, ""]))
        self._step("install", f"Installing {len(choice.pins)} packages.")
        self._forget_damaged()
        argv = [self.uv, "pip", "sync", *self._where(), *choice.args]
        argv.append(str(self.folder.pins))
        screen = uv.follow(argv, self.env, say=say, tick=self._tick, keep=(self._lock_fd,))
        if screen.bytes_done:
            say(f"Downloaded {screen.bytes_done / 2**20:.0f} MiB.")
        return choice.pins

    def _where(self) -> tuple[str, ...]:
        return ("--python", str(self.folder.python), *self.pip.args)

    def _ask(self, wanted: list[str], args: tuple[str, ...], limits: list[str]) -> backend.Answer:
        """Resolve a few requirements; the indexes are asked, nothing is installed."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join([*limits, ""]))
            file.flush()
            argv = [self.uv, "pip", "compile", "-q", "--no-header", "--no-annotate", "-"]
            argv += ["--constraint", file.name, *self._where(), *args]
            env = {"UV_HTTP_RETRIES": "1"} | self.env
            done = uv.ask(argv, env, stdin="\n".join(wanted))
        pins = backend.read_lock(done.stdout) if done.returncode == 0 else []
        return backend.Answer(pins, done.stderr.splitlines())

    def _forget_damaged(self) -> None:
        """Take broken packages off the record, so that uv installs them again."""
        site = self.folder.site_packages
        for info in damaged(site) if site else []:
            say(f"{info.name.removesuffix('.dist-info')} is damaged and will be installed again.")
            shutil.rmtree(info)

    def _tick(self, screen: UvScreen) -> None:
        self._percent("install", screen.share, screen.text)

    # 5. bytecode, 6. shims, 7. verify -----------------------------------------------------------

    def _bytecode(self) -> None:
        paths = list(bytecode.sources(self._site(), self.spec.seldom))
        self._step("bytecode", f"Compiling the {len(paths)} files that matter.")
        whole = bytecode.compile_files(
            self.folder.python,
            paths,
            self._base,
            tell=lambda n: self._percent("bytecode", n / len(paths), f"{n} of {len(paths)} files"),
            keep=(self._lock_fd,),
        )
        if not whole:
            say("WARNING: compiling broke off; the first starts of the engine will be slower.")

    def _shims(self) -> None:
        names = self.spec.shims_for(self.variant)
        if names:
            self._step("shims", "Adding the shims.")
        for name in names:
            say(f"Shim {name}: {shims.install(name, self._site())}.")

    def _verify(self, pins: list[str]) -> None:
        self._step("verify", f"Importing {', '.join(self.spec.imports)}.")
        try:
            answer = verify(self.spec, self.folder.python, write_bytecode=True)
        except EnvMissing as error:
            raise EnvMissing(error.message, hint="Build again with --fresh.") from error
        versions = ", ".join(f"{name} {version}" for name, version in answer.versions.items())
        size = size_bytes(self.folder.path)
        say(f"Python {answer.python}, {versions}; {size / GIB:.1f} GiB.")
        replace_json(
            self.folder.marker,
            {
                "name": self.spec.name,
                "variant": self.variant,
                "lock_sha256": self.spec.lock_sha256(self.variant),
                "python": answer.python,
                "versions": answer.versions,
                "num_packages": len(pins),
                "size_bytes": size,
                "built_at": time.time(),
                "studio_version": __version__,
            },
        )
        if self.spec.help:
            self._learn_flags(answer.versions)

    def _learn_flags(self, versions: dict[str, str]) -> None:
        """Note which flags this version of the engine has, so that no launch has to ask."""
        python = self.folder.python
        try:
            flags = ask_flags(self.spec, python)
        except EnvMissing as error:
            say(f"WARNING: {error}")
            return
        key = key_of(str(python), (), versions, self.spec.lock_sha256(self.variant))
        write_flags(flags_file(self.folder.path.parent, self.spec.name), key, flags)
        say(f"It has {len(flags)} flags.")

    def _site(self) -> Path:
        site = self.folder.site_packages
        if site is None:
            raise EnvMissing(f"{self.folder.path} has no packages.", hint="Build with --fresh.")
        return site

    def _percent(self, step: str, share: float, text: str) -> None:
        """Tell progress within a step: `share` of the way to the next one."""
        start = PERCENT[step]
        end = min(percent for percent in PERCENT.values() if percent > start)
        self.progress.tell(step, start + (end - start) * share, text)

    def _step(self, step: str, text: str) -> None:
        self.progress.tell(step, PERCENT[step], text)
        say(f"== {step}: {text}")


class Stopped(BaseException):
    """A stop signal arrived."""


def main(argv: Sequence[str] | None = None, catalog: dict[str, EnvSpec] = CATALOG) -> int:
    """Run the builder from the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="studio.envs", description="Build one environment.")
    parser.add_argument("name", help=f"one of: {', '.join(catalog)}")
    parser.add_argument("--variant", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--fresh", action="store_true", help="start from nothing")
    options = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        home = options.home.expanduser().absolute()
        spec = find(options.name, catalog)
        Builder(spec, options.variant, home, fresh=options.fresh).run()
    except StudioError as error:
        say(f"ERROR: {error}")
        return error.exit_code
    except OSError as error:
        say(f"ERROR: {error.strerror or error} ({error.filename or 'no file'})")
        return DiskFull.exit_code if error.errno == 28 else 1
    except Stopped as stop:
        say("Stopped. The environment is not finished; another build goes on from here.")
        return 128 + stop.args[0]
    return 0


def say(text: str) -> None:
    """Print a line for people, at once."""
    print(text, flush=True)


def _stop(number: int, frame: object) -> None:
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


if __name__ == "__main__":
    sys.exit(main())

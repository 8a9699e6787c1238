"""Hand the machine's pip configuration over to uv, which does not read it.

Mirrors, extra indexes, local wheel folders, certificates and proxies that an administrator gave
to pip then work for the engines' environments too. Variables of uv's own always win.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SECTIONS = ("global", "install")
"""Sections that count for `pip install`, later ones win."""

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


@dataclass(frozen=True)
class UvSettings:
    """What uv is started with so that it sees the same indexes as pip."""

    env: dict[str, str]
    """Variables to set on top of the environment."""
    args: tuple[str, ...] = ()
    """Options that uv has no variable for."""
    used: tuple[str, ...] = ()
    """Names of the pip options that were handed over (values may hold passwords)."""
    warnings: tuple[str, ...] = ()
    """Settings of pip that could not be handed over, in words."""


def read(environ: Mapping[str, str] | None = None) -> UvSettings:
    """Read this machine's pip configuration and translate it."""
    environ = os.environ if environ is None else environ
    texts = []
    for path in config_files(environ, Path.home(), Path(sys.prefix)):
        try:
            texts.append(path.read_text())
        except (OSError, UnicodeDecodeError):
            continue
    return translate(texts, environ)


def config_files(environ: Mapping[str, str], home: Path, prefix: Path) -> list[Path]:
    """Return where pip looks for configuration, lowest precedence first."""
    explicit = environ.get("PIP_CONFIG_FILE")
    if explicit == os.devnull:
        return []
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    own = environ.get("XDG_CONFIG_HOME") or str(home / ".config")
    files = [Path(folder, "pip/pip.conf") for folder in reversed(shared.split(":")) if folder]
    files += [Path("/etc/pip.conf"), home / ".pip/pip.conf", Path(own, "pip/pip.conf")]
    files.append(prefix / "pip.conf")
    return [*files, Path(explicit)] if explicit else files


def translate(
    files: Iterable[str],
    environ: Mapping[str, str],
    exists: Callable[[str], bool] = os.path.exists,
) -> UvSettings:
    """Turn the texts of pip's files (lowest precedence first) and PIP_* variables into uv's."""
    warnings: list[str] = []
    pip = _merge(files, environ, warnings)
    env: dict[str, str] = {}

    def give(name: str, value: str, *others: str) -> None:
        if value and not any(environ.get(taken) for taken in (name, *others)):
            env[name] = value

    extra = " ".join(pip.get("extra-index-url", "").split())
    give("UV_DEFAULT_INDEX", pip.get("index-url", "").strip(), "UV_INDEX_URL")
    give("UV_INDEX", extra, "UV_EXTRA_INDEX_URL")
    if extra:  # pip takes the best version of all indexes, uv only looks at the first that has any
        give("UV_INDEX_STRATEGY", "unsafe-best-match")
    give("UV_FIND_LINKS", _find_links(pip.get("find-links", ""), exists, warnings))
    give("UV_INSECURE_HOST", " ".join(pip.get("trusted-host", "").split()))
    give("UV_HTTP_TIMEOUT", _seconds(pip), "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT")
    give("UV_HTTP_RETRIES", pip.get("retries", "").strip())
    give("SSL_CLIENT_CERT", pip.get("client-cert", "").strip())
    _certificates(pip.get("cert", "").strip(), environ, give, exists)
    proxy = pip.get("proxy", "").strip()
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        give("HTTPS_PROXY", proxy, "https_proxy", "ALL_PROXY", "all_proxy")
        give("HTTP_PROXY", proxy, "http_proxy", "ALL_PROXY", "all_proxy")
    offline = pip.get("no-index", "").strip().lower() in {"1", "true", "yes", "on", "y", "t"}
    return UvSettings(
        env=env,
        args=("--no-index",) if offline else (),
        used=tuple(sorted(name for name in pip if name in _HANDED_OVER)),
        warnings=tuple(warnings),
    )


_HANDED_OVER = {
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "timeout",
    "default-timeout",
    "retries",
    "cert",
    "client-cert",
    "proxy",
    "no-index",
}


def _merge(files: Iterable[str], environ: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """Merge as pip does: files in order, [install] over [global], variables over all."""
    by_section: dict[str, dict[str, str]] = {name: {} for name in SECTIONS}
    for text in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error as error:
            warnings.append(f"a pip configuration file cannot be read: {error.message}")
            continue
        for section in SECTIONS:
            if parser.has_section(section):
                by_section[section] |= {_key(k): v or "" for k, v in parser.items(section)}
    merged: dict[str, str] = {}
    for section in SECTIONS:
        merged |= by_section[section]
    for name, value in environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            merged[_key(name.removeprefix("PIP_"))] = value
    return {key: value for key, value in merged.items() if value}


def _key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _find_links(value: str, exists: Callable[[str], bool], warnings: list[str]) -> str:
    """Return uv's list, less the folders that are not there: they stop uv and pip ignores them."""
    kept = []
    for place in value.split():
        remote = place.startswith(("http://", "https://"))
        if remote or exists(place.removeprefix("file://")):
            kept.append(place)
        else:
            warnings.append(f"pip's find-links folder {place} does not exist and is left out")
    return ",".join(kept)


def _seconds(pip: Mapping[str, str]) -> str:
    value = pip.get("timeout") or pip.get("default-timeout") or ""
    try:
        return str(max(1, int(float(value))))
    except ValueError:
        return ""


def _certificates(
    cert: str,
    environ: Mapping[str, str],
    give: Callable[..., None],
    exists: Callable[[str], bool],
) -> None:
    """Give pip's bundle, else the system's own certificates, which pip trusts by default."""
    if cert:
        folder = exists(cert.rstrip("/") + "/.")
        give("SSL_CERT_DIR" if folder else "SSL_CERT_FILE", cert)
    elif any(exists(bundle) for bundle in BUNDLES):
        taken = ("UV_NATIVE_TLS", "SSL_CERT_FILE", "SSL_CERT_DIR")
        give("UV_SYSTEM_CERTS", "1", *taken)

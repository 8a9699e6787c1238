"""Our own style sheet, script, icons and words, served from `/ladder/assets/` without a login.

Every address carries a hash of its content, so browsers keep files for ever and never a stale one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from studio.core.errors import NotFound
from studio.core.settings import ROOT
from studio.ui.i18n import words_script
from studio.ui.packed import FOR_EVER, sent

FOLDER = ROOT / "assets"
PLAIN_STYLES = ("tokens", "page")
"""Style sheets sent as they are. The others follow by name, made to win over Gradio's own."""
FIRST_SCRIPTS = ("ladder", "live")
"""Scripts that all others stand on."""

_KEYFRAMES = re.compile(r"@keyframes[^{]+\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
_ICON_BODY = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def asset_url(name: str) -> str:
    """Return the address of an asset, relative to the page, so that proxies may add a prefix."""
    return f"ladder/assets/{name}?v={_hash(name)}"


def serve_asset(request: Request) -> Response:
    """Answer `GET /ladder/assets/{name}`; raise NotFound for anything not listed here."""
    name = request.path_params["name"]
    content, kind = _content(name)
    current = request.query_params.get("v") == _hash(name)
    return sent(request.headers, content, kind, FOR_EVER if current else "no-cache")


@cache
def _content(name: str) -> tuple[bytes, str]:
    made: dict[str, tuple[Callable[[], str], str]] = {
        "ladder.css": (_style_sheet, "text/css"),
        "ladder.js": (_script, "text/javascript"),
        "icons.svg": (_sprite, "image/svg+xml"),
        "words-en.js": (lambda: words_script("en"), "text/javascript"),
        "words-zh.js": (lambda: words_script("zh"), "text/javascript"),
    }
    if name in made:
        make, kind = made[name]
        return make().encode(), kind
    folder, _, file = name.partition("/")
    kinds = {"js": "text/javascript", "icons": "image/svg+xml"}
    path = FOLDER / folder / file
    if folder not in kinds or "/" in file or not path.is_file():
        raise NotFound(f"There is no asset {name}.")
    return path.read_bytes(), kinds[folder]


@cache
def _hash(name: str) -> str:
    return hashlib.sha256(_content(name)[0]).hexdigest()[:10]


def _style_sheet() -> str:
    """Join the style sheets, each but the plain ones nested in `:root:root { … }`.

    Gradio resets every element inside its container with rules loaded after ours; the nesting
    makes ours the more specific ones. Keyframes cannot be nested and are put in front.
    """
    folder = FOLDER / "css"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.css"))}
    plain = [texts.pop(name) for name in PLAIN_STYLES]
    nested = "\n".join(texts.values())
    moving = _KEYFRAMES.findall(nested)
    return "\n".join([*plain, *moving, ":root:root {", _KEYFRAMES.sub("", nested), "}"])


def _script() -> str:
    """Join the scripts: the page's own first, then the rest by name. `early.js` goes by itself."""
    texts = {p.stem: p.read_text(encoding="utf-8") for p in sorted((FOLDER / "js").glob("*.js"))}
    texts.pop("early")
    first = [texts.pop(name) for name in FIRST_SCRIPTS]
    return "\n".join([*first, *texts.values()])


def _sprite() -> str:
    """Join the icons into one drawing; `<use href="…#name">` shows one of them."""
    symbols = []
    for path in sorted((FOLDER / "icons").glob("*.svg")):
        body = _ICON_BODY.search(path.read_text(encoding="utf-8"))
        if body:
            symbols.append(
                f'<symbol id="{path.stem}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
                'stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">'
                f"{body[1].strip()}</symbol>"
            )
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'

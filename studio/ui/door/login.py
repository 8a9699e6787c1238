"""The login page: our own, in both languages, working without a line of script."""

from __future__ import annotations

from studio.ui.assets import asset_url
from studio.ui.i18n import Lang, say
from studio.ui.widgets import esc, icon

NAMES = {"en": "English", "zh": "中文"}


def page(lang: Lang, *, error: str = "", name: str = "", wanted: str = "") -> str:
    """Return the page; `wanted` is the query of the page the visitor was on the way to."""
    other = "zh" if lang == "en" else "en"
    alert = (
        f'<p class="l-login-error" role="alert">{icon("alert")}{esc(error)}</p>' if error else ""
    )
    return f"""<!doctype html>
<html lang="{"zh-CN" if lang == "zh" else "en"}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{esc(say(lang, "login.title"))} · Ladder Studio</title>
<link rel="icon" href="{asset_url("icons/favicon.svg")}">
<link rel="stylesheet" href="{asset_url("ladder.css")}">
<script src="{asset_url("js/early.js")}"></script>
</head>
<body class="l-login">
<main>
<div class="l-login-brand">{icon("logo")}<span>Ladder Studio</span></div>
<form method="post" action="login">
<h1>{esc(say(lang, "login.title"))}</h1>
{alert}
<input type="hidden" name="next" value="{esc(wanted)}">
<label>{esc(say(lang, "login.name"))}
<input name="username" autocomplete="username" required autofocus value="{esc(name)}"></label>
<label>{esc(say(lang, "login.password"))}
<input name="password" type="password" autocomplete="current-password" required></label>
<button type="submit">{esc(say(lang, "login.enter"))}</button>
</form>
<p class="l-login-foot">{esc(say(lang, "login.foot"))}
<a href="#" data-ladder-lang="{other}" lang="{other}">{NAMES[other]}</a></p>
</main>
</body>
</html>"""

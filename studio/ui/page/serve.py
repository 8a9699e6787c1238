"""From the command line's words to a served page: accounts, address, link, and what to print."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import signal
import sys
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.core.errors import RecipeInvalid
from studio.jobs import ports
from studio.ui.door.accounts import Account, read_accounts
from studio.ui.page.ahead import begin
from studio.ui.page.launch import launch_page

if TYPE_CHECKING:
    from studio.studio import Studio


def serve(
    studio: Studio,
    *,
    only: str | None = None,
    share: bool = False,
    operators: Sequence[str] = (),
    open_browser: bool = True,
    trust_network: bool = False,
    hosts: Sequence[str] = (),
) -> None:
    """Serve the page until it is interrupted. Runs go on afterwards.

    A page that others can reach is never open: with `share`, or on an address beyond this
    machine, accounts are made and printed when none were given or kept in the home.
    """
    settings = studio.settings
    local = _loopback(settings.host)
    kept = read_accounts(settings.home)
    accounts, told = _accounts(operators, kept, share=share, open_to_all=local or trust_network)
    _say_port(settings.port, settings.host)
    served = launch_page(studio, only=only, accounts=accounts, share=share, hosts=hosts)
    print(f"Ladder Studio  {served.url}", flush=True)
    begin(studio, served)
    if share:
        print(_share_line(served.share_url), flush=True)
    for line in told:
        print(line, flush=True)
    if trust_network and not local and not accounts:
        print("Anyone who reaches this address can launch programs here (--no-auth).", flush=True)
    if open_browser and local and sys.stdout.isatty():
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(served.url)
    signal.signal(signal.SIGTERM, lambda *_: served.close())
    try:
        served.wait()
    except KeyboardInterrupt:
        served.close()
    print("The page is closed. Runs go on; `python app.py ls` shows them.", flush=True)


def _accounts(
    operators: Sequence[str], kept: Sequence[Account], *, share: bool, open_to_all: bool
) -> tuple[list[Account], list[str]]:
    """Return the accounts in force and the lines that tell made-up passwords."""
    accounts, told = list(kept), []
    for pair in operators:
        name, sign, password = pair.partition(":")
        if not sign:
            raise RecipeInvalid("--auth needs user:password.", hint="Example: --auth ann:secret123")
        accounts.append(Account.make(name, password))
    bosses = any(account.role == "operator" for account in accounts)
    if not bosses and (accounts or share or not open_to_all):
        accounts.append(_made("operator", told))
    if share and not any(account.role == "guest" for account in accounts):
        guest = secrets.token_urlsafe(9)
        accounts.append(Account.make("guest", guest, "guest"))
        told.append(f"  for guests     guest / {guest}    (may use the page, may not launch)")
    return accounts, told


def _made(name: str, told: list[str]) -> Account:
    password = secrets.token_urlsafe(12)
    told.append(f"  for yourself   {name} / {password}")
    return Account.make(name, password)


def _say_port(wanted: int, host: str) -> None:
    found = ports.first_free(wanted, host)
    if found != wanted:
        print(f"Port {wanted} is taken; using {found}.", flush=True)


def _share_line(url: str | None) -> str:
    if url:
        return f"  public link    {url}"
    return (
        "  No public link: Gradio's tunnel could not be had. Reasons: no internet, or the tunnel "
        "program (frpc) is not downloaded; the message above names the file and where to put it. "
        "The page goes on here."
    )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

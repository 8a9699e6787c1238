"""Commands for what is set up once: the engines' environments, and who may log in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studio.commands.terminal import Home, Json, follow_run, open_studio, print_json, print_table
from studio.core.spec import State
from studio.ui.door.accounts import Account, add_account, read_accounts, remove_account

envs_app = typer.Typer(help="Environments of the engines: list, build, adopt, remove.")
accounts_app = typer.Typer(help="Who may log in. With an account, the page asks for a password.")


@envs_app.command("ls")
def envs_ls(home: Home = None, as_json: Json = False) -> None:
    """List the environments."""
    found = open_studio(home).envs.list()
    if as_json:
        print_json([status.as_dict() for status in found])
        return
    rows = [(s.name, s.variant, str(s.state), str(s.python or ""), s.detail) for s in found]
    print_table(("name", "variant", "state", "python", ""), rows)


@envs_app.command("build")
def envs_build(
    name: Annotated[str, typer.Argument(help="Environment, for example vllm.")],
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from nothing.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Build or repair an environment, following its log."""
    studio = open_studio(home)
    build = studio.build_env(name, fresh=fresh)
    build = follow_run(studio, build.id, quiet=as_json)
    if as_json:
        print_json(build.summary())
    if build.state is not State.DONE:
        raise typer.Exit(1)


@envs_app.command("adopt")
def envs_adopt(
    name: Annotated[str, typer.Argument(help="Environment, for example vllm.")],
    python: Annotated[Path, typer.Argument(help="Interpreter, or the folder of a conda env.")],
    pythonpath: Annotated[
        list[Path] | None, typer.Option("--pythonpath", help="Extra PYTHONPATH; repeatable.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Use an interpreter that already has the engine."""
    status = open_studio(home).envs.adopt(name, python, tuple(pythonpath or ()))
    if as_json:
        print_json(status.as_dict())
    else:
        print(f"{status.name}: {status.python} {status.versions}")


@envs_app.command("remove")
def envs_remove(
    name: Annotated[str, typer.Argument(help="Environment, for example vllm.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Remove a built environment, or forget an adopted one."""
    studio = open_studio(home)
    if not yes:
        typer.confirm(f"Remove the environment {name}?", abort=True)
    studio.envs.remove(name)
    print(f"removed {name}")


@accounts_app.command("ls")
def accounts_ls(home: Home = None, as_json: Json = False) -> None:
    """List the accounts kept in the home."""
    found = read_accounts(open_studio(home).settings.home)
    if as_json:
        print_json([{"name": account.name, "role": account.role} for account in found])
    else:
        print_table(("name", "role"), [(account.name, account.role) for account in found])


@accounts_app.command("add")
def accounts_add(
    name: Annotated[str, typer.Argument(help="Name to log in with.")],
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, help="At least 8 characters.")
    ],
    guest: Annotated[bool, typer.Option("--guest", help="May chat, may not launch.")] = False,
    home: Home = None,
) -> None:
    """Add an account, or give one a new password."""
    account = Account.make(name, password, "guest" if guest else "operator")
    add_account(open_studio(home).settings.home, account)
    print(f"{account.role} {name} may log in")


@accounts_app.command("rm")
def accounts_rm(
    name: Annotated[str, typer.Argument(help="Name of the account.")], home: Home = None
) -> None:
    """Remove an account; its sessions end with the next start of the page."""
    remove_account(open_studio(home).settings.home, name)
    print(f"removed {name}")

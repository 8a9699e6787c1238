"""The `lora` commands: adapters hung on a running server, and taken off again."""

from __future__ import annotations

from typing import Annotated

import typer

from studio.commands.terminal import Home, Json, open_studio, print_json, print_table
from studio.core.spec import Endpoint

lora_app = typer.Typer(help="LoRA adapters of a running server: list, load, unload.")

RunId = Annotated[str, typer.Argument(help="Run id, or enough of its beginning.")]
Name = Annotated[str, typer.Argument(help="Model name that the adapter answers to.")]


@lora_app.command("ls")
def lora_ls(run_id: RunId, home: Home = None, as_json: Json = False) -> None:
    """List the adapters that hang on a server."""
    found = open_studio(home).adapters(run_id)
    if as_json:
        print_json([adapter._asdict() for adapter in found])
    else:
        print_table(("name", "base", "folder"), [(a.name, a.base, a.folder) for a in found])


@lora_app.command("load")
def lora_load(
    run_id: RunId,
    name: Name,
    folder: Annotated[str, typer.Argument(help="Folder with adapter_config.json and weights.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Hang an adapter on a server while it runs."""
    _tell(open_studio(home).load_adapter(run_id, name, folder), as_json)


@lora_app.command("unload")
def lora_unload(run_id: RunId, name: Name, home: Home = None, as_json: Json = False) -> None:
    """Take an adapter off a server."""
    _tell(open_studio(home).unload_adapter(run_id, name), as_json)


def _tell(endpoint: Endpoint, as_json: bool) -> None:
    if as_json:
        print_json({"id": endpoint.id, "url": endpoint.base_url, "models": list(endpoint.models)})
    else:
        print(f"{endpoint.base_url}  {' '.join(endpoint.models)}")

"""One file per engine: a pydantic config and a pure `command()`. `workers/` run elsewhere."""

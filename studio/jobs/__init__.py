"""Runs: the process contract. `jobs.Jobs` is the only door; `shim/` supervises, one per run."""

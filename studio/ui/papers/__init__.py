"""Reports and journal entries."""

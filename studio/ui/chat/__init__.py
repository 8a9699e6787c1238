"""The Chat tab's parts."""

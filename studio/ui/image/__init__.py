"""The Image edit tab's parts."""

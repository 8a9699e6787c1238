"""The supervisor of one run: standard library only, at most 20 MB resident, outlives the UI."""

"""Studies on the page: gallery, settings, cases, verdicts."""

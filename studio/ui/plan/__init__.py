"""Plans as a person reads them."""

"""What the machine is doing: cards, host, and what is wrong with it. Knows nothing of pages."""

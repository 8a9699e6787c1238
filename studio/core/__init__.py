"""Words everyone shares: errors, settings, frozen specs, recipes, discovery. Imports nobody."""

"""The page itself: frame, theme, shell, and how it is served."""

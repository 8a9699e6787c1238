"""One Python environment per engine: built from a lock or adopted. Imports no engine."""

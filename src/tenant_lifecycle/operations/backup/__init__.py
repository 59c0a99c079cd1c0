"""A backup: one tenant out of every store of an environment into the repository."""

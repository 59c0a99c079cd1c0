"""A restore: one tenant as it was at one moment, beside the live one first, then in its place."""

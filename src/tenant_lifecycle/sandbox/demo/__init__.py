"""The demonstrations: each runs the product for real, from nothing to nothing, and counts what came of it."""

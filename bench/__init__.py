"""Benchmarks: every figure of ours beside a peer's, measured in one run on the same servers.

``python -m bench NAME`` runs one, ``python -m bench all`` runs all of them.
"""

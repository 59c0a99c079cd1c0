"""Tenant Lifecycle: move, verify, roll back, back up, erase and prove, one tenant at a time."""

__version__ = "0.1.0"

"""The command tenantctl: parse, call one operation, show the result."""

from tenant_lifecycle.cli.program import app, main

__all__ = ["app", "main"]

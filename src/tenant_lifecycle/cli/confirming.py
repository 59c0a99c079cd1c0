"""Asking before something that cannot be taken back: the person types the tenant's id."""

from __future__ import annotations

import shlex
import sys

import typer

from tenant_lifecycle.cli.output import Output, printable
from tenant_lifecycle.errors import UsageError


def confirm_tenant(tenant: str, what: str, given: str | None, out: Output) -> None:
    """Return only if ``tenant`` was given by ``--confirm`` or is typed now.

    Raises:
        UsageError: something else was given, or there is nobody to ask.
    """
    if given is None:
        if not sys.stdin.isatty():
            raise UsageError(
                f"{what}; that needs a confirmation, and there is no terminal to ask on",
                next_step=f"repeat it with --confirm {shlex.quote(tenant)}",
            )
        out.say(f"{what}.")
        given = typer.prompt(f"Type the tenant's id ({printable(tenant)}) to go on", err=True)
    if given != tenant:
        raise UsageError(f"confirmed {given!r}, but the tenant is {tenant!r}; nothing was changed")


def agree(question: str, yes: bool, out: Output) -> None:
    """Ask yes or no before something that can be taken back; without a terminal nobody is asked."""
    if yes or out.json or not sys.stdin.isatty():
        return
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)

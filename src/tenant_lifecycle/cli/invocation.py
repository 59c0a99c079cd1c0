"""One run of the command line: what was said before the command, and the way to everything else."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from tenant_lifecycle import config
from tenant_lifecycle.cli.output import Output
from tenant_lifecycle.cli.service import Lifecycle

#: Opens the service of a configuration file; the caller closes it.
Opener = Callable[[Path], Lifecycle]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stands before the command's name."""

    #: ``--config``; None: the variable's, else lifecycle.yaml here.
    config: Path | None
    color: bool
    open_lifecycle: Opener

    def output(self, json: bool) -> Output:
        """How this command speaks."""
        return Output(json=json, color=self.color)

    def config_file(self) -> Path:
        """The configuration file. Raises ConfigError when it is not there."""
        return config.find(self.config, os.environ)

    @contextmanager
    def lifecycle(self) -> Iterator[Lifecycle]:
        """The service, open for the length of a block."""
        service = self.open_lifecycle(self.config_file())
        try:
            yield service
        finally:
            service.close()


def of(ctx: typer.Context) -> Invocation:
    """The invocation that a command runs in."""
    found = ctx.find_object(Invocation)
    assert found is not None, "the root command sets it"
    return found


def actor() -> str:
    """Who asks, for the history: ``name@host`` of this login."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"

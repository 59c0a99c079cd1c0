"""The sample application's process in one environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.sandbox.process import Process, http_answers


def examples() -> Path:
    """The folder that has the package ``rag_service``.

    Raises:
        ConfigError: this is not a checkout.
    """
    for parent in Path(__file__).parents:
        if (parent / "examples" / "rag_service").is_dir():
            return parent / "examples"
    raise ConfigError(
        "the sample application is not here: it is not part of the package",
        next_step="run this in a checkout of the project, or leave the application out",
    )


def rag_app(folder: Path, config: Path, environment: str, *, faults: bool = True) -> Process:
    """The application in ``environment`` of the installation that ``config`` describes, not yet started."""

    def command(port: int) -> list[str]:
        arguments = ["--config", str(config.absolute()), "--environment", environment, "--port", str(port)]
        return [sys.executable, "-m", "rag_service", *arguments, *(["--allow-faults"] if faults else [])]

    path = os.pathsep.join([str(examples()), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Process(
        f"{environment}/app",
        folder,
        command,
        http_answers("/health"),
        environ={"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
    )

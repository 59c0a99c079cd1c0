"""Settings in, services out; the only place that puts things together."""

from __future__ import annotations

from pathlib import Path

from tenant_lifecycle.wiring.installation import Installation, find_installation, installation
from tenant_lifecycle.wiring.lifecycle import Lifecycle

__all__ = [
    "Installation",
    "Lifecycle",
    "find_installation",
    "installation",
    "open_lifecycle",
]


def open_lifecycle(path: Path | None = None) -> Lifecycle:
    """Open the installation of a ``lifecycle.yaml`` (see `find_installation`); close it after use."""
    return Lifecycle(find_installation(path))

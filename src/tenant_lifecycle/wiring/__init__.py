"""Settings in, services out; the only place that puts things together."""

from tenant_lifecycle.wiring.lifecycle import Installation, Lifecycle

__all__ = ["Installation", "Lifecycle"]

"""What a router calls the environments: clusters, backends, host names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.traffic.base import Route


@dataclass(frozen=True, slots=True)
class Targets:
    """The router's name of each environment; both ways, since no two environments share one."""

    by_environment: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(set(self.by_environment.values())) != len(self.by_environment):
            raise UsageError(f"two environments have the same target: {dict(self.by_environment)}")

    def check(self, route: Route) -> None:
        """Refuse a route that names an environment the router does not know.

        Raises:
            UsageError: it does.
        """
        unknown = sorted({route.writer, *route.share} - set(self.by_environment))
        if unknown:
            raise UsageError(
                f"there is no environment {unknown[0]!r} to send requests to",
                next_step=f"known: {', '.join(sorted(self.by_environment))}",
            )

    def target(self, environment: str) -> str:
        return self.by_environment[environment]

    def environment(self, target: str) -> str | None:
        """Whose target that is; None: nobody's."""
        return next((name for name, known in self.by_environment.items() if known == target), None)

    def intervals(self, route: Route) -> list[tuple[str, int]]:
        """Target and percent of each environment with a share, always in the same order.

        A session's hash falls into one of the intervals laid side by side, so when one of two shares grows,
        sessions move to it and none away from it.
        """
        return [(self.target(name), percent) for name, percent in sorted(route.share.items()) if percent]

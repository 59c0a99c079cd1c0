"""Failure drills: break something on servers of our own, and see it detected, mended or refused.

Each drill is a module with one function ``run``. A drill that does not see its failure detected has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenant_lifecycle.sandbox.drills import (
    data_inconsistency,
    incomplete_deletion,
    router_drift,
    schema_change,
    write_rate,
)
from tenant_lifecycle.sandbox.drills.report import DrillReport
from tenant_lifecycle.sandbox.drills.stage import Say

__all__ = ["DRILLS", "Drill", "DrillReport"]


@dataclass(frozen=True, slots=True)
class Drill:
    """One failure that can be rehearsed."""

    #: One sentence for a list.
    summary: str
    run: Callable[[Say], DrillReport]


#: By the name on the command line, in the order of the runbooks.
DRILLS: Mapping[str, Drill] = {
    "data-inconsistency": Drill(
        "somebody writes to the standby side with triggers off", data_inconsistency.run
    ),
    "router-drift": Drill("a router goes back to an old configuration", router_drift.run),
    "incomplete-deletion": Drill("the old side is away while it is emptied", incomplete_deletion.run),
    "write-rate": Drill("the tenant writes more than 10,000 rows a second during its move", write_rate.run),
    "schema-change": Drill("the two sides do not have the same columns", schema_change.run),
}

"""What the systems of a certificate amount to, computed again from each of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tenant_certificate_verify.strict import Invalid
from tenant_certificate_verify.times import time_of

_PROVEN = ("V0", "V1", "V2", "V3")
_DATED = {"VX", "VV"}
_EXCEPTIONS = {"RETAINED", "HELD", "OUT_OF_SCOPE"}
#: Class -> verdict.
VERDICTS = {"FINAL": "VALID_COMPLETE", "INTERIM": "VALID_INTERIM", "PARTIAL_HELD": "VALID_WITH_EXCEPTIONS"}


def each_once(systems: Sequence[dict[str, Any]], inventory: Sequence[str]) -> None:
    """Raises Invalid unless every system of the inventory stands there exactly once, and there is one."""
    if not inventory or not systems:
        raise Invalid("no system at all: an erasure of nothing proves nothing")
    seen = [system["system_id"] for system in systems]
    if len(set(inventory)) != len(inventory) or sorted(seen) != sorted(inventory):
        raise Invalid("the systems are not those of the inventory, each once")


def class_of(systems: Sequence[dict[str, Any]], rescans: Sequence[dict[str, Any]], issued: datetime) -> str:
    """The certificate's class. Raises Invalid where the systems allow no certificate."""
    for system in systems:
        _check(system, issued)
    if any(system["outcome"] in _EXCEPTIONS for system in systems):
        return "PARTIAL_HELD"
    if any(system["level"] in _DATED for system in systems) or any(r["result"] == "pending" for r in rescans):
        return "INTERIM"
    return "FINAL"


def _check(system: dict[str, Any], issued: datetime) -> None:
    name, outcome, level = system["system_id"], system["outcome"], system["level"]
    if outcome not in _EXCEPTIONS and outcome != "VERIFIED":
        raise Invalid(f"{name} is {outcome}: that cannot be certified")
    if (outcome == "VERIFIED") != (level is not None):
        raise Invalid(f"{name}: a level stands beside VERIFIED, and only there")
    if outcome != "VERIFIED":
        return
    if level in _DATED:
        if system["horizon"] is None or time_of(system["horizon"]["until"], name) <= issued:
            raise Invalid(f"{name}: {level} needs a date that is still to come")
    elif not _reaches(level, system["level_required"]):
        raise Invalid(f"{name} is proven at {level}, {system['level_required']} is required")
    elif system["items"]["failed"]:
        raise Invalid(f"{name}: {system['items']['failed']} items could not be deleted")
    _searched(system)


def _searched(system: dict[str, Any]) -> None:
    """Raises Invalid unless a search that could have found something found nothing."""
    name, search = system["system_id"], system["verification"]
    if search is None:
        raise Invalid(f"{name}: nobody searched it")
    if not search["control_found"]:
        raise Invalid(f"{name}: the search did not find its control, so it proves nothing")
    if search["canaries"]["found_after"]:
        raise Invalid(f"{name}: planted markers were found after the erasure")
    if not search["passes"]:
        raise Invalid(f"{name}: no search came to its end")
    finished = system["finished_at"]
    if finished is not None and time_of(search["at"], name) < time_of(finished, name):
        raise Invalid(f"{name} was searched before the erasure ended")


def _reaches(level: str, required: str) -> bool:
    if level in (required, "V4"):
        return True
    return level in _PROVEN and required in _PROVEN and _PROVEN.index(level) >= _PROVEN.index(required)

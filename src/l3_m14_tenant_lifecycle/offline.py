"""What every function answers offline, what it demands of its arguments, and how it refuses online."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tenant_lifecycle.errors import NotAvailable

#: What the functions return: plain values only, ready for `json.dumps`.
Result = dict[str, Any]

REASON = "offline mode"
NOTE = "offline mode: nothing was contacted, so this shows the shape of a result and is no evidence"
#: The systems a tenant's data can be in.
SYSTEMS = ("postgresql", "redis", "pinecone", "s3", "cloudwatch", "backups", "analytics")


def skipped(status: str, tenant_id: str, plan: Sequence[str], **facts: Any) -> Result:
    """The answer of an operation that was not done, with what it would do."""
    return {
        "status": status,
        "skipped": True,
        "reason": REASON,
        "tenant_id": tenant_id,
        **facts,
        "plan": list(plan),
    }


def not_available(what: str) -> NotAvailable:
    """The refusal of what this version cannot do, to be raised."""
    return NotAvailable(
        f"{what} is not available in this version; nothing was changed",
        next_step="offline=True shows what it will do; docs/reference/facade.md lists what is there",
    )


def require_text(**arguments: str) -> None:
    """Refuse arguments that are empty or no text.

    Raises:
        ValueError: names the argument.
    """
    for name, value in arguments.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a text that is not empty, got {value!r}")


def require_different(source: str, target: str) -> None:
    """Refuse a move, comparison or clone onto itself.

    Raises:
        ValueError: both are the same.
    """
    if source == target:
        raise ValueError(f"source and target must differ, both are {source!r}")


def now_text() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")

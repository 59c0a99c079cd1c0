"""Markers in a table of our own, as a tenant's data: short, out of line, and compressed."""

from __future__ import annotations

from collections.abc import Mapping

from tenant_lifecycle.stores.erasing import Erasing, Planted
from tenant_lifecycle.stores.postgres.close import LANE, take_over
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.ours import writing

PLACE = "tenant_lifecycle.planted"


def plant(database: Database, erasing: Erasing, marker: str) -> list[Planted]:
    """Write the marker as rows of ``erasing.tenant``; the same marker again is not planted twice.

    Raises:
        Fenced: a newer driver was here.
    """
    bodies = _bodies(marker)
    with database.session() as conn:
        writer = take_over(conn, erasing)
        with writing(conn, writer, LANE):
            conn.execute(
                "INSERT INTO tenant_lifecycle.planted (tenant, kind, body) "
                "SELECT %(tenant)s, b.kind, b.body FROM unnest(%(kinds)s::text[], %(bodies)s::text[]) b(kind, body) "
                "WHERE NOT EXISTS (SELECT FROM tenant_lifecycle.planted p WHERE p.tenant = %(tenant)s "
                "AND p.kind = b.kind AND p.body = b.body)",
                {"tenant": erasing.tenant, "kinds": list(bodies), "bodies": list(bodies.values())},
            )
    return [Planted(PLACE, len(bodies), dict.fromkeys(bodies, 1))]


def _bodies(marker: str) -> Mapping[str, str]:
    # The middle one does not compress: every number is followed by another digit sequence. It goes out of line.
    scattered = "".join(f"{(n * 2654435761) % 4294967296:08x}" for n in range(2_000))
    return {
        "row": marker,
        "beside": f"{scattered} {marker} {scattered[::-1]}",
        "compressed": f"{'a page of text that compresses well; ' * 200}{marker}{' and so on' * 200}",
    }

"""The sample application's tenants, and whose its rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import psycopg

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via

#: Database of the sample application on every server of the sandbox.
DATABASE = "rag"


@dataclass(frozen=True, slots=True)
class SampleTenant:
    """One business unit; ``weight`` is its share of the rows, relative to the others."""

    id: TenantId
    name: str
    tier: str
    weight: float


def _zipf(rows: Sequence[tuple[str, str, str]]) -> tuple[SampleTenant, ...]:
    return tuple(
        SampleTenant(TenantId(id), name, tier, 1 / rank)
        for rank, (id, name, tier) in enumerate(rows, start=1)
    )


#: Largest first. Ids are what applications really use: slugs, numbers that are prefixes of each other, quotes.
TENANTS = _zipf(
    [
        ("acme", "Acme Manufacturing", "platinum"),
        ("globex", "Globex Retail", "gold"),
        ("initech", "Initech Payroll", "gold"),
        ("umbra", "Umbra Clinical Research", "gold"),
        ("1", "Northwind Logistics", "gold"),
        ("12", "Northwind Logistics Iberia", "bronze"),
        ("o'neill & sons", "O'Neill & Sons Legal", "bronze"),
        ("hooli", "Hooli Search", "bronze"),
        ("stark", "Stark Energy", "bronze"),
        ("wayne", "Wayne Facilities", "bronze"),
        ("tyrell", "Tyrell Robotics", "bronze"),
        ("soylent", "Soylent Foods", "bronze"),
        ("cyberdyne", "Cyberdyne Components", "bronze"),
        ("aperture", "Aperture Optics", "bronze"),
        ("vandelay", "Vandelay Imports", "bronze"),
        ("zürich-rück", "Zürich Rück", "bronze"),
        ("massive", "Massive Dynamic", "bronze"),
        ("oscorp", "Oscorp Chemicals", "bronze"),
        ("wonka", "Wonka Confectionery", "bronze"),
        ("gringotts", "Gringotts Treasury", "bronze"),
    ]
)
#: Live on green from the start and never move: somebody's neighbours there.
RESIDENTS = _zipf([("contoso", "Contoso Insurance", "gold"), ("fabrikam", "Fabrikam Housing", "bronze")])
#: The one that the demonstration moves.
PLATINUM = TENANTS[0].id

_T = TableName.parse
SAMPLE_MAP = OwnershipMap(
    {
        _T("tenants"): Root("id"),
        _T("users"): Shared(through=_T("memberships"), column="user_id", key="id"),
        _T("memberships"): Direct("tenant_id"),
        _T("collections"): Direct("tenant_id"),
        _T("api_keys"): Direct("tenant_id"),
        _T("documents"): Direct("tenant_id"),
        _T("chunks"): Via((Hop(("document_id",), _T("documents"), ("id",)),)),
        _T("conversations"): Via(
            (
                Hop(("collection_id",), _T("collections"), ("id",)),
                Hop(("api_key_id",), _T("api_keys"), ("id",)),
            )
        ),
        _T("messages"): Via((Hop(("conversation_id",), _T("conversations"), ("id",)),)),
        _T("message_feedback"): Via((Hop(("message_id",), _T("messages"), ("id",)),)),
        _T("notes"): Via((Hop(("document_id",), _T("documents"), ("id",)), Hop(("tenant_id",)))),
        _T("usage_events"): Direct("tenant_id"),
        _T("audit_log"): Direct("tenant_id"),
        _T("settings"): Direct("tenant_id"),
        _T("counters"): Direct("tenant_id"),
        _T("Bookmarks"): Direct("tenant_id"),
        _T("load_writes"): Direct("tenant_id"),
        _T("plans"): Global(),
        _T("models"): Global(),
    }
)


def ownership_yaml() -> str:
    """`SAMPLE_MAP` as the text of an ``ownership.yaml``."""
    return files(__package__).joinpath("ownership.yaml").read_text()


def create_schema(conn: psycopg.Connection[object]) -> None:
    """Create the sample application's tables in an empty database, without the slow indexes."""
    conn.execute(files(__package__).joinpath("schema.sql").read_bytes())


def create_indexes(conn: psycopg.Connection[object]) -> None:
    """The rest of the schema, cheaper when the rows are there."""
    conn.execute(files(__package__).joinpath("indexes.sql").read_bytes())

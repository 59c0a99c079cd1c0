"""What names in a schema suggest: which column names the tenant, and which table a column refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

#: What a tenant is called, the most telling word first.
TENANT_WORDS = (
    "tenant", "organization", "organisation", "org", "workspace", "account", "team", "company", "customer",
    "project", "site", "shop",
)  # fmt: skip
#: Words of the same meaning: a column says one, the table of tenants the other.
_SYNONYMS = {"org": ("organization", "organisation"), "organization": ("org",), "organisation": ("org",)}
_IRREGULAR = {"people": "person", "children": "child", "indices": "index", "statuses": "status"}
_SUFFIX = re.compile(r"_(id|uuid|uid|guid|key|ref)$")
#: Tables that tools keep for themselves.
_BOOKKEEPING = frozenset(
    {"alembic_version", "schema_migrations", "ar_internal_metadata", "django_migrations", "flyway_schema_history",
     "databasechangelog", "databasechangeloglock", "goose_db_version", "knex_migrations", "_prisma_migrations",
     "spatial_ref_sys"}
)  # fmt: skip


@lru_cache(maxsize=10_000)
def snake(name: str) -> str:
    """``tenantId``, ``TenantID`` and ``tenant_id`` are one name."""
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.strip().replace(" ", "_").replace("-", "_"))
    return re.sub(r"_+", "_", name).lower()


@lru_cache(maxsize=10_000)
def singular(name: str) -> str:
    """The name for one of them; English endings only."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith("ies") and len(name) > 4:
        return name[:-3] + "y"
    if name.endswith(("sses", "xes", "ches", "shes")):
        return name[:-2]
    if name.endswith("s") and not name.endswith(("ss", "us", "is")):
        return name[:-1]
    return name


def referred(column: str) -> str | None:
    """The word a column refers by: ``conversation`` for ``conversation_id``; None if it does not look like one."""
    name = snake(column)
    base = _SUFFIX.sub("", name)
    return base if base != name and base else None


def tenant_word(column: str) -> str | None:
    """The word for a tenant that the column's name is, None if it is not such a name."""
    base = referred(column) or snake(column)
    return base if base in TENANT_WORDS else None


def tables_for(word: str, child: str, tables: Iterable[str]) -> list[tuple[str, float]]:
    """Tables of the names given that ``word`` in a column of ``child`` may mean, with how telling that is (0..1).

    Exact names first; then names with the child's name before (``file`` in ``message`` -> ``message_files``);
    then words with a role before the table's name (``parent_document`` -> ``documents``).
    """
    prefix = singular(snake(child))
    words = (word, *_SYNONYMS.get(word, ()))
    found: list[tuple[str, float]] = []
    for table in tables:
        name = singular(snake(table))
        if name in words or snake(table) in words:
            found.append((table, 1.0))
        elif name == f"{prefix}_{word}":
            found.append((table, 0.8))
        elif word.endswith(f"_{name}") or name.endswith(f"_{word}"):
            found.append((table, 0.6))
    return sorted(found, key=lambda item: (-item[1], item[0]))


def names_people(table: str, columns: Iterable[str]) -> bool:
    """Whether a table's name or columns say that its rows are people."""
    words = set(singular(snake(table)).split("_"))
    named = words & {
        "user",
        "person",
        "people",
        "account",
        "member",
        "identity",
        "profile",
        "contact",
        "employee",
    }
    return bool(named) or any("email" in snake(column) for column in columns)


def is_bookkeeping(table: str) -> bool:
    """Whether it is a table that a migration tool keeps for itself."""
    return table.lower() in _BOOKKEEPING

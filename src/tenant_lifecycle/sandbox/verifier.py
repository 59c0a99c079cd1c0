"""Who searches for what an erasure left behind: in every server a user of its own, who sees all and changes nothing.

The emulators of vectors and objects take any key: there the verifier's is another one, and nothing is kept from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tenant_lifecycle.sandbox.parts import Part

NAME, SECRET = "rag_verifier", "sandbox-verifier"
#: Must be found by every search, so it stays.
CONTROL_TENANT = "gringotts"
#: As ``user`` in redis.conf.
REDIS_USER = (
    f"{NAME} on >{SECRET} ~* &* -@all +@read +@slow -@write -@dangerous -@admin +@connection +select +scan +info "
    "+memory +slowlog|get +slowlog|len +client|list +acl|list +acl|whoami +acl|getuser +config|get"
)
#: For every database of a PostgreSQL server, once.
POSTGRES_ROLE = f"""
DO $$ BEGIN
    CREATE ROLE {NAME} LOGIN BYPASSRLS IN ROLE pg_read_all_data, pg_read_all_stats;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
"""
#: In each database: large objects are not among what that role reads.
POSTGRES_GRANTS = f"GRANT SELECT ON pg_catalog.pg_largeobject TO {NAME};"


def verify_settings(name: str, settings: Mapping[str, Any], dsn: str) -> dict[str, Any]:
    """The section ``verify`` of a store; ``dsn`` is the verifier's of the environment's database."""
    match Part(name):
        case Part.POSTGRES:
            return {"dsn": dsn}
        case Part.REDIS:
            at = urlsplit(str(settings["url"]))
            return {"url": f"redis://{NAME}:{SECRET}@{at.netloc}{at.path}"}
        case Part.VECTORS:
            return {"api_key": SECRET}
        case Part.ANALYTICS:
            # A file has no users.
            return {}
        case _:
            return {"access_key": NAME, "secret_key": SECRET}

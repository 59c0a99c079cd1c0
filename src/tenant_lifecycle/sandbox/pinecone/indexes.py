"""Indexes of the emulator: their declarations in the form of version 2026-07, and their namespaces."""

from __future__ import annotations

import re
from typing import Any

from tenant_lifecycle.sandbox.pinecone.answers import BadRequest
from tenant_lifecycle.sandbox.pinecone.records import Namespace

#: The name under which the namespace without a name is listed.
DEFAULT_NAMESPACE = "__default__"
_METRICS = ("cosine", "dotproduct", "euclidean")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")


class Index:
    """One index."""

    def __init__(self, body: dict[str, Any], host: str) -> None:
        self.name = str(body.get("name") or "")
        if not _NAME.fullmatch(self.name):
            raise BadRequest("the name of an index is made of a-z, 0-9 and -, at most 45 of them")
        self.fields = _fields(body.get("schema"))
        dense = [field for field in self.fields.values() if field["type"] == "dense_vector"]
        self.dimension = int(dense[0]["dimension"]) if dense else 0
        self.metric = str(dense[0]["metric"]) if dense else "dotproduct"
        self.sparse = any(field["type"] == "sparse_vector" for field in self.fields.values())
        self.host = host
        self.deployment = body.get("deployment") or {
            "deployment_type": "managed",
            "cloud": "aws",
            "region": "us-east-1",
        }
        self.protection = str(body.get("deletion_protection") or "disabled")
        self.tags = body.get("tags")
        self.namespaces: dict[str, Namespace] = {}

    def namespace(self, name: str, *, create: bool = False) -> Namespace | None:
        """The namespace, by its name or the default one's alias; None if it is not there.

        Raises:
            BadRequest: no name for a namespace.
        """
        name = name or DEFAULT_NAMESPACE
        if len(name) > 512 or not name.isascii() or "\0" in name:
            raise BadRequest("a namespace's name has 1 to 512 ASCII characters other than NUL")
        if create and name not in self.namespaces:
            self.namespaces[name] = Namespace(name)
        found = self.namespaces.get(name)
        return found if found is not None and (found.exists or found.shown or create) else None

    def model(self) -> dict[str, Any]:
        """The form in answers."""
        return {
            "name": self.name,
            "schema": {"fields": self.fields},
            "deployment": self.deployment,
            "deletion_protection": self.protection,
            "host": self.host,
            "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}},
            "status": {"ready": True, "state": "Ready"},
            "tags": self.tags,
        }


def _fields(schema: Any) -> dict[str, dict[str, Any]]:
    fields = schema.get("fields") if isinstance(schema, dict) else None
    if not isinstance(fields, dict) or not fields:
        raise BadRequest("an index needs a schema with fields")
    for field in fields.values():
        match field.get("type"):
            case "dense_vector":
                field.setdefault("metric", "cosine")
                if not 1 <= int(field.get("dimension") or 0) <= 20_000 or field["metric"] not in _METRICS:
                    raise BadRequest("a dense vector needs a dimension of 1 to 20000 and a known metric")
            case "sparse_vector":
                continue
            case _:
                raise BadRequest("the emulator knows indexes of dense_vector and sparse_vector fields only")
    return fields

"""Where a tenant's data is forgotten: planted on blue before an erasure.

Some of it the ownership rules cover, and a careless eraser would leave behind: older versions, a delete marker, an
unfinished upload, a view that was filled before. The rest lies where no rule reaches: another database of the
server, another database of Redis, another bucket. Only a search of everything finds it, and only a person can say
what becomes of it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenant_lifecycle.sandbox.environment import Sandbox
from tenant_lifecycle.sandbox.open_items import object_client, redis_client
from tenant_lifecycle.sandbox.parts import Part

_DATABASE, _BUCKET, _NUMBER = "exports", "old-exports", 5


@dataclass(frozen=True, slots=True)
class Trap:
    """One forgotten thing."""

    #: ``blue/postgres``.
    system: str
    what: str
    #: Whether the ownership rules cover it, so that the eraser has to take it away by itself.
    declared: bool


class Traps:
    """The traps of one tenant on blue: planted, and taken away by the person who was told of them."""

    def __init__(self, sandbox: Sandbox, tenant: str) -> None:
        self._sandbox = sandbox
        self._tenant = tenant
        self._settings: Mapping[str, Mapping[str, Any]] = sandbox.connections["blue"]

    def plant(self) -> list[Trap]:
        """Put everything there; returns what."""
        return [*self._rows(), *self._keys(), *self._objects()]

    def clear(self) -> None:
        """What a person does about the places that no rule reaches."""
        with psycopg.connect(self._sandbox.server("blue").dsn(), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_DATABASE)))
        redis = self._other_keys()
        redis.flushdb()
        redis.close()
        s3 = object_client(self._settings[Part.OBJECTS])
        for version in s3.list_object_versions(Bucket=_BUCKET).get("Versions", ()):
            s3.delete_object(Bucket=_BUCKET, Key=version["Key"], VersionId=version["VersionId"])
        s3.delete_bucket(Bucket=_BUCKET)

    def _rows(self) -> list[Trap]:
        with psycopg.connect(self._sandbox.dsn("blue"), autocommit=True) as conn:
            conn.execute(
                "CREATE MATERIALIZED VIEW titles AS SELECT tenant_id, title FROM documents ORDER BY tenant_id, id"
            )
        with psycopg.connect(self._sandbox.server("blue").dsn(), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(_DATABASE)))
        with psycopg.connect(self._sandbox.server("blue").dsn(_DATABASE), autocommit=True) as conn:
            conn.execute("CREATE TABLE dump (n integer, body bytea)")
            conn.execute("INSERT INTO dump VALUES (1, %s)", (self._packed(),))
        return [
            Trap("blue/postgres", "a materialised view filled before the deletion", True),
            Trap("blue/postgres", f"a compressed dump in another database, {_DATABASE}", False),
        ]

    def _keys(self) -> list[Trap]:
        redis = self._other_keys()
        redis.set("queue:17", json.dumps({"body": base64.b64encode(self._document()).decode()}))
        redis.close()
        return [Trap("blue/redis", f"a queued message, base64 in JSON, in database {_NUMBER}", False)]

    def _objects(self) -> list[Trap]:
        s3, bucket = object_client(self._settings[Part.OBJECTS]), self._settings[Part.OBJECTS]["bucket"]
        key = f"documents/{self._tenant}/draft.txt"
        for text in (b"first", b"second"):
            s3.put_object(Bucket=bucket, Key=key, Body=text)
        s3.delete_object(Bucket=bucket, Key=key)
        upload = s3.create_multipart_upload(Bucket=bucket, Key=f"documents/{self._tenant}/film.bin")
        s3.upload_part(
            Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 1024
        )
        s3.create_bucket(Bucket=_BUCKET)
        s3.put_object(Bucket=_BUCKET, Key="2024/all.json.gz", Body=self._packed())
        return [
            Trap(
                "blue/objects",
                "two versions and a delete marker of an object that listings do not show",
                True,
            ),
            Trap("blue/objects", "an upload that was never finished", True),
            Trap("blue/objects", f"a compressed export in another bucket, {_BUCKET}", False),
        ]

    def _other_keys(self) -> Any:
        url = str(self._settings[Part.REDIS]["url"])
        return redis_client({"url": f"{url.rpartition('/')[0]}/{_NUMBER}"})

    def _document(self) -> bytes:
        return json.dumps({"tenant": self._tenant, "rows": [1, 2, 3]}).encode()

    def _packed(self) -> bytes:
        return gzip.compress(self._document())

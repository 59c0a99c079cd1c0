"""Two S3 stores that stand for one system in two environments, and a client of the test's own beside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import boto3
from botocore.config import Config

from tenant_lifecycle.model.keymap import Family, IdSet, KeyMap, TenantIds, Treatment
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Compared, Difference, Feed
from tenant_lifecycle.stores.s3.store import S3Store

UPLOADS = IdSet(TableName("public", "documents"), "object_key")
KEYS = KeyMap(
    {
        "documents": Family(Template.parse("documents/{tenant}/*")),
        "kb": Family(Template.parse("kb/{collection}/*")),
        "uploads": Family(Template.parse("uploads/*"), UPLOADS),
        "thumbs": Family(Template.parse("thumbs/{tenant}/*"), treatment=Treatment.WARM),
        "cache": Family(Template.parse("cache/{tenant}/*"), treatment=Treatment.SKIP),
    },
    (Template.parse("public/*"),),
)
US, THEM = TenantId("12"), TenantId("1")


def nothing() -> None:
    """A check that never stops anything."""


class MakePair(Protocol):
    def __call__(
        self, *, apart: bool = True, versioned: tuple[bool, bool] = (True, True), **rest: object
    ) -> Pair: ...


@dataclass
class Pair:
    """Source and target, and the buckets behind them as an application sees them."""

    source: S3Store
    target: S3Store
    blue: Any
    green: Any
    names: tuple[str, str]
    ids: dict[str, TenantIds]
    tenant: TenantId = US
    token: int = 1

    @property
    def feed(self) -> Feed:
        return Feed("f1", self.tenant, self.token)

    def put(self, key: str, body: bytes = b"text", **more: object) -> str:
        """Write at the source; the version's id."""
        return str(
            self.blue.put_object(Bucket=self.names[0], Key=key, Body=body, **more).get("VersionId", "")
        )

    def put_there(self, key: str, body: bytes = b"text", **more: object) -> str:
        """Write at the target; the version's id."""
        return str(
            self.green.put_object(Bucket=self.names[1], Key=key, Body=body, **more).get("VersionId", "")
        )

    def delete(self, key: str) -> None:
        self.blue.delete_object(Bucket=self.names[0], Key=key)

    def copy(self) -> int:
        """Copy every part; how many items."""
        parts = self.source.split(self.target, self.feed)
        return sum(self.source.copy_part(self.target, self.feed, part, nothing).items for part in parts)

    def compare(self) -> dict[str, Compared]:
        return {
            name: self.source.compare(self.target, self.tenant, name, nothing)
            for name in self.source.sets(self.tenant)
        }

    def suspects(self) -> dict[str, frozenset[bytes]]:
        """What a full comparison names."""
        found: dict[str, frozenset[bytes]] = {}
        for compared in self.compare().values():
            found |= compared.suspects
        return found

    def differences(self) -> list[Difference]:
        """Suspects of a full comparison, looked at again."""
        return self.source.compare_keys(self.target, self.tenant, self.suspects())

    def repair(self, *keys: str) -> int:
        named: dict[str, set[bytes]] = {}
        for key in keys:
            name = self.source.set_of(self.tenant, key.encode())
            named.setdefault(name or "documents", set()).add(key.encode())
        return self.source.repair(
            self.target, self.feed, {name: frozenset(some) for name, some in named.items()}
        )

    def history(self, side: int, key: str) -> list[bytes | None]:
        """Contents under a key, oldest first; None is a delete marker that is the newest."""
        client, bucket = (self.blue, self.green)[side], self.names[side]
        page = client.list_object_versions(Bucket=bucket, Prefix=key)
        found: list[bytes | None] = [
            client.get_object(Bucket=bucket, Key=key, VersionId=one["VersionId"])["Body"].read()
            for one in reversed(page.get("Versions", []))
            if one["Key"] == key
        ]
        markers = [one for one in page.get("DeleteMarkers", []) if one["Key"] == key and one["IsLatest"]]
        return [*found, None] if markers else found

    def keys_there(self) -> list[str]:
        """Current keys at the target, ours left out."""
        page = self.green.list_objects_v2(Bucket=self.names[1])
        return [
            one["Key"] for one in page.get("Contents", []) if not one["Key"].startswith(".tenant-lifecycle/")
        ]

    def uploads_there(self) -> list[str]:
        return [
            one["Key"] for one in self.green.list_multipart_uploads(Bucket=self.names[1]).get("Uploads", [])
        ]

    def close(self) -> None:
        self.source.close()
        self.target.close()


@cache
def client(endpoint: str) -> Any:
    """What an application uses; made once for each server."""
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="app", aws_secret_access_key="app",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 5, "mode": "standard"}),
    )  # fmt: skip


def settings(endpoint: str, bucket: str) -> Mapping[str, str]:
    return {"bucket": bucket, "endpoint": endpoint, "access_key": "ours", "secret_key": "very-secret"}


def make_pair_of(
    endpoints: tuple[str, str],
    names: tuple[str, str],
    *,
    keys: KeyMap = KEYS,
    ids: dict[str, TenantIds] | None = None,
    tenant: TenantId = US,
    through: tuple[str, str] | None = None,
    **rest: object,
) -> Pair:
    """``through``: endpoints that the stores use instead (a proxy's)."""
    known = ids or {}
    stores = [
        S3Store.from_config(
            name="objects", environment=environment, settings=settings(endpoint, bucket),
            ownership=OwnershipMap(keys={"objects": keys}), ids=lambda tenant: known.get(tenant, TenantIds()),
        )
        for environment, endpoint, bucket in zip(("blue", "green"), through or endpoints, names, strict=True)
    ]  # fmt: skip
    return Pair(stores[0], stores[1], client(endpoints[0]), client(endpoints[1]), names, known, tenant)

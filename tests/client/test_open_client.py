"""An application's client comes out of the same file as the moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from two_environments import A, Two

from tenant_lifecycle.client.environment import Bucket
from tenant_lifecycle.errors import ConfigError, UsageError
from tenant_lifecycle.wiring.client import open_client

STORES = """
      postgres: {{kind: postgres, dsn: "{dsn}"}}
      cache: {{kind: redis, url: "redis://127.0.0.1:{port}/0"}}
      files: {{kind: s3, bucket: {name}-files, endpoint: "{s3}", access_key: a, secret_key: b, region: us-east-1}}
      other: {{kind: elsewhere, anything: goes}}
"""


def write(path: Path, two: Two, s3: str) -> Path:
    text = "version: 1\nenvironments:\n"
    for name, database in two.databases.items():
        port = two.redis[name].connection_pool.connection_kwargs["port"]
        text += f"  {name}:\n    stores:" + STORES.format(dsn=database.dsn, port=port, name=name, s3=s3)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_client_out_of_the_file_writes_to_all_stores(two: Two, tmp_path: Path, s3_endpoint: str) -> None:
    file = write(tmp_path / "lifecycle.yaml", two, s3_endpoint)
    two.open_journal()
    with open_client(file, "green") as client:
        blue = client._environments["blue"].stores["files"]
        assert isinstance(blue, Bucket) and set(client._environments["blue"].stores) == {"cache", "files"}
        blue.client.create_bucket(Bucket=blue.bucket)
        client.write(
            A, lambda s: (s.redis("cache").set("k", "v"), s.objects("files").put("o", b"x"), s.environment)
        )
        assert {e.key for e in two.entries(store="cache")} == {b"k"}
        assert {e.key for e in two.entries(store="files")} == {b"o"}
        assert client.read(A, lambda r: r.environment) == "blue"
    assert redis.Redis.get(two.redis["blue"], "k") == b"v"


def test_what_cannot_be_is_refused(two: Two, tmp_path: Path, s3_endpoint: str) -> None:
    file = write(tmp_path / "lifecycle.yaml", two, s3_endpoint)
    with pytest.raises(UsageError, match="red"):
        open_client(file, "red")
    with pytest.raises(UsageError, match="red"):
        open_client(file, "blue", home="red")
    file.write_text("version: 1\nenvironments: {a: {stores: {c: {kind: redis, url: 'redis://h'}}}}")
    with pytest.raises(ConfigError, match="exactly one"):
        open_client(file, "a")

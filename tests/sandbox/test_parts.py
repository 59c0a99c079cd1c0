"""The sandbox with all its parts: up is complete, down leaves nothing, and every item has one owner."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tenant_lifecycle import config, ownership_file
from tenant_lifecycle.errors import ConfigError, UsageError
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.sandbox.environment import Sandbox
from tenant_lifecycle.sandbox.filling import Fill
from tenant_lifecycle.sandbox.open_items import object_client, redis_client, vector_index
from tenant_lifecycle.sandbox.parts import EVERYTHING, Part
from tenant_lifecycle.sandbox.sample import TENANTS, ownership_yaml

FAST = {"fsync": "off", "shared_buffers": "16MB"}
SCALE = 0.002


@pytest.fixture
def folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-test-"))
    base.chmod(0o755)
    yield base / "box"
    Sandbox.of(base / "box").down(remove=True)
    assert processes_of(base) == []
    shutil.rmtree(base)


def processes_of(folder: Path) -> list[str]:
    """What runs in the folder or was told about it."""
    found = []
    for process in psutil.process_iter(["pid", "cwd", "cmdline", "status"]):
        said = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in said):
            found.append(f"{process.info['pid']} {said}")
    return found


def test_everything_comes_up_again_as_it_was_and_down_leaves_nothing(folder) -> None:
    sandbox = Sandbox(folder, {"blue": 18, "green": 18}, FAST, EVERYTHING)
    sandbox.up(scale=SCALE, green=Fill.SCHEMA)
    first = sandbox.servers()
    assert [one.name for one in first] == [
        "blue/postgres", "green/postgres", "blue/redis", "green/redis", "vectors", "objects", "blue/app",
        "green/app", "router",
    ]  # fmt: skip
    assert all(one.pid for one in first)
    held = contents(sandbox)
    assert all(held.values())
    assert Sandbox.of(folder).servers() == first, "another process sees the same"
    Sandbox(folder, {"blue": 18, "green": 18}, FAST).up()
    assert sandbox.servers() == first, "nothing was started twice"
    Sandbox.of(folder).down()
    assert {one.pid for one in sandbox.servers()} == {None}
    assert processes_of(folder) == []
    again = Sandbox(folder, {"blue": 18, "green": 18}, FAST)
    again.up()
    assert [(one.name, one.port) for one in again.servers()] == [(one.name, one.port) for one in first]
    assert contents(again) == held, "also what the emulators forget"
    again.down(remove=True)
    assert processes_of(folder) == []
    assert not folder.exists()


def contents(sandbox: Sandbox) -> dict[str, set[str]]:
    """Names of everything on blue beside PostgreSQL."""
    stores = sandbox.connections["blue"]
    with redis_client(stores["redis"]) as redis:
        keys = {key.decode() for key in redis.scan_iter(count=1000)}
    s3, index = object_client(stores["objects"]), vector_index(stores["vectors"])
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=stores["objects"]["bucket"])
    return {
        "redis": keys,
        "objects": {one["Key"] for page in pages for one in page.get("Contents", ())},
        "vectors": {one.name for page in index.list_namespaces() for one in page.namespaces},
    }


@pytest.mark.parametrize("after", ["blue/postgres", "objects", "blue/app", "router"])
def test_down_finds_what_a_killed_up_had_started(folder, after) -> None:
    """Killed, that is with no chance to tidy up, as soon as this server has its place in the folder."""
    place = folder / ("blue" if after == "blue/postgres" else after.replace("/", "-"))
    command = [sys.executable, "-m", "tenant_lifecycle.cli", "sandbox", "up", "--folder", str(folder),
               "--scale", "0.001", "--green-data", "schema"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not place.exists():
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    # What a killed parent leaves half done ends by itself.
    while any("initdb" in one or "pg_ctl" in one for one in processes_of(folder)):
        time.sleep(0.05)
    Sandbox.of(folder).down(remove=True)
    assert processes_of(folder) == []
    assert not folder.exists()


def test_a_part_that_needs_another_says_so(folder) -> None:
    with pytest.raises(UsageError, match="app needs objects, redis, vectors as well"):
        Sandbox(folder, parts=[Part.POSTGRES, Part.APP]).up()
    with pytest.raises(UsageError, match="router needs app as well"):
        Sandbox(folder, parts=[Part.ROUTER]).up()


def test_some_parts_and_more_of_them_later(folder) -> None:
    versions = {"blue": 18, "green": 18}
    Sandbox(folder, versions, FAST).up(scale=SCALE, green=Fill.EMPTY)
    assert config.load(folder / "lifecycle.yaml").environments["blue"].keys() == {"postgres"}
    assert (folder / "ownership.yaml").read_text() == ownership_yaml()
    sandbox = Sandbox(folder, versions, FAST, [Part.REDIS])
    sandbox.up()
    assert [one.name for one in sandbox.servers() if one.pid] == [
        "blue/postgres", "green/postgres", "blue/redis", "green/redis",
    ]  # fmt: skip
    assert ownership_file.load(folder / "ownership.yaml").keys.keys() == {"redis"}
    Sandbox(folder, versions, FAST, [Part.POSTGRES]).up()
    Sandbox.of(folder).down()
    assert {one.pid for one in sandbox.servers()} == {None}, "what was a part once is stopped as well"


def test_a_sandbox_of_the_first_version_is_still_one(folder) -> None:
    sandbox = Sandbox(folder, {"blue": 18, "green": 18}, FAST)
    before = sandbox.up(scale=SCALE, green=Fill.SCHEMA)
    first = {
        "version": 1,
        "environments": {
            one.name: {"major": one.major, "port": one.port, "filled": one.filled} for one in before
        },
    }
    (folder / "state.json").write_text(json.dumps(first))
    assert Sandbox.of(folder).status() == before
    assert Sandbox(folder, {"blue": 18, "green": 18}, FAST).up() == before
    (folder / "state.json").write_text(json.dumps({"version": 3}))
    with pytest.raises(ConfigError, match="version 3 is not known"):
        Sandbox.of(folder)
    (folder / "state.json").write_text(json.dumps(first))


def test_the_files_name_every_store_and_every_item_has_one_owner(box) -> None:
    read = config.load(box.folder / "lifecycle.yaml")
    environments = dict(read.environments)
    aside = environments.pop("aside")
    assert {store.name: store.kind for store in aside.values()} == {
        "logs": "cloudwatch",
        "analytics": "duckdb",
    }
    for name, stores in environments.items():
        assert {store.name: store.kind for store in stores.values()} == {
            "postgres": "postgres", "redis": "redis", "vectors": "pinecone", "objects": "s3",
        }  # fmt: skip
        assert f"rag-{name}" in (stores["objects"].settings["bucket"], stores["vectors"].settings["index"])
    ownership = ownership_file.load(read.ownership_file)
    with psycopg.connect(box.dsn("blue")) as conn:
        collections = conn.execute("SELECT tenant_id, id::text FROM collections").fetchall()
    owners = {}
    for tenant in TENANTS:
        ids = TenantIds({"collection": frozenset(id for owner, id in collections if owner == tenant.id)})
        owners[tenant.id] = {store: keys.resolve(tenant.id, ids) for store, keys in ownership.keys.items()}
    everything = contents(box)
    assert set(ownership.keys) == {*everything, *aside}
    for store, items in everything.items():
        assert items
        # A move leaves a token of its own behind, which is nobody's.
        for item in (
            item for item in items if "tenant_lifecycle" not in item and "tenant-lifecycle" not in item
        ):
            holders = [tenant for tenant, keys in owners.items() if keys[store].family_of(item)]
            assert len(holders) == 1, f"{store}: {item} is {holders}"


def test_every_tenant_has_something_in_every_store(box) -> None:
    held = contents(box)
    with psycopg.connect(box.dsn("blue")) as conn:
        spaces = dict(
            conn.execute(
                "SELECT tenant_id, array_agg('library-' || id) FROM collections GROUP BY 1"
            ).fetchall()
        )
    for tenant in TENANTS:
        assert f"events:{tenant.id}" in held["redis"]
        assert any(key.startswith(f"session:{tenant.id}:") for key in held["redis"])
        assert any(key.startswith(f"documents/{tenant.id}/") for key in held["objects"])
        assert held["vectors"] & set(spaces[tenant.id])


def test_the_application_does_not_connect_as_the_superuser(box) -> None:
    read = config.load(box.folder / "application.yaml")
    assert all("user=rag_app" in stores["postgres"].settings["dsn"] for stores in read.environments.values())
    with psycopg.connect(box.dsn("blue")) as conn:
        users = {row[0] for row in conn.execute(
            "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()")}  # fmt: skip
    assert users <= {"rag_app"}

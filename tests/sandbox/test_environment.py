"""The sandbox as a whole: up again is the same sandbox, down leaves nothing."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.sample import RESIDENTS, TENANTS

FAST = {"fsync": "off", "shared_buffers": "16MB"}
SCALE = 0.002


@pytest.fixture
def folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-test-"))
    base.chmod(0o755)
    yield base / "box"
    Sandbox.of(base / "box").down(remove=True)
    shutil.rmtree(base)


def names(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as conn:
        return {row[0] for row in conn.execute("SELECT id FROM tenants")}


def test_up_twice_and_down_and_up_are_the_same_sandbox(folder) -> None:
    first = Sandbox(folder, settings=FAST).up(scale=SCALE)
    assert [(one.name, one.major, one.filled) for one in first] == [
        ("blue", 16, "tenants"),
        ("green", 18, "residents"),
    ]
    assert names(first[0].dsn) == {tenant.id for tenant in TENANTS}
    assert names(first[1].dsn) == {tenant.id for tenant in RESIDENTS}
    with psycopg.connect(first[0].dsn) as conn:
        conn.execute("DELETE FROM tenants WHERE id = 'wonka'")
    assert Sandbox(folder, settings=FAST).up(scale=SCALE) == first, "nothing is started or seeded again"
    Sandbox(folder).down()
    assert [one.pid for one in Sandbox(folder).status()] == [None, None]
    again = Sandbox(folder, settings=FAST).up(scale=SCALE)
    assert "wonka" not in names(again[0].dsn)
    with pytest.raises(ConfigError, match="blue is PostgreSQL 16 here, not 18"):
        Sandbox(folder, {"blue": 18, "green": 18}).up()
    Sandbox(folder).down(remove=True)
    assert not folder.exists()
    assert Sandbox(folder).status() == []


def test_the_files_it_writes_are_ready_to_use(folder) -> None:
    config = pytest.importorskip("tenant_lifecycle.config")
    ownership_file = pytest.importorskip("tenant_lifecycle.ownership_file")
    sandbox = Sandbox(folder, {"blue": 18, "green": 18}, settings=FAST)
    sandbox.up(scale=SCALE, green=Fill.EMPTY)
    read = config.load(folder / "lifecycle.yaml")
    assert {
        name: stores["postgres"].settings["dsn"] for name, stores in read.environments.items()
    } == sandbox.dsns
    assert ownership_file.load(read.ownership_file).root is not None
    with psycopg.connect(sandbox.dsn("green")) as conn:
        assert conn.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchone() == (0,)


def test_the_end_of_a_block_leaves_nothing_running_and_nothing_behind(folder) -> None:
    with pytest.raises(KeyboardInterrupt):
        with running(Sandbox(folder, settings=FAST), scale=SCALE, green=Fill.SCHEMA) as sandbox:
            servers = [sandbox.server("blue"), sandbox.server("green")]
            assert names(sandbox.dsn("green")) == set()
            raise KeyboardInterrupt
    assert [server.pid for server in servers] == [None, None]
    assert not folder.exists()


def test_a_start_that_fails_half_way_is_cleaned_up(folder) -> None:
    sandbox = Sandbox(folder, {"blue": 16, "green": 9}, settings=FAST)
    with pytest.raises(FileNotFoundError, match="no PostgreSQL 9"):
        with running(sandbox, scale=SCALE):
            pytest.fail("must not get here")
    assert sandbox._servers._made == {}
    assert not folder.exists()

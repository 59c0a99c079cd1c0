"""Servers start, stop, are killed, paused and restarted; and are where their user can reach them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tenant_lifecycle.sandbox import binaries
from tenant_lifecycle.sandbox.postgres import PostgresServer, ServerFailed, free_port

FAST = {"fsync": "off", "shared_buffers": "16MB"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def server(folder) -> Iterator[PostgresServer]:
    server = PostgresServer(18, folder / "pg", settings=FAST)
    server.start()
    yield server
    server.remove()


def answer(server: PostgresServer, query: str = "SELECT 1") -> object:
    with psycopg.connect(server.dsn(), autocommit=True, connect_timeout=5) as conn:
        return conn.execute(query).fetchone()[0]


def test_what_was_committed_survives_a_kill_of_everything(server) -> None:
    with psycopg.connect(server.dsn()) as conn:
        conn.execute("CREATE TABLE t AS SELECT 7 AS n")
    family = psutil.Process(server.pid).children()
    port = server.port
    server.kill()
    assert server.pid is None
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    server.start()
    assert server.port == port
    assert answer(server, "SELECT n FROM t") == 7


def test_a_paused_server_hangs_and_goes_on(server) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        server.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn(), connect_timeout=2)
        server.resume()
        assert conn.execute("SELECT 1").fetchone() == (1,), "the old connection is still good"


def test_a_paused_server_can_be_stopped_and_another_object_finds_a_running_one(server) -> None:
    other = PostgresServer(18, server.folder)
    other.start()
    assert (other.pid, other.port) == (server.pid, server.port)
    server.pause()
    other.stop("immediate")
    assert server.pid is None
    server.restart()
    assert answer(server) == 1


def test_a_taken_port_is_left_to_its_owner_and_the_log_tells_other_failures(server, folder) -> None:
    late = PostgresServer(16, folder / "late", port=server.port, settings=FAST)
    with late:
        assert late.port != server.port
        assert answer(late, "SHOW server_version").startswith("16")
    assert late.pid is None
    late.settings = {"shared_buffers": "a lot"}
    with pytest.raises(ServerFailed, match='invalid value for parameter "shared_buffers"'):
        late.start()
    late.remove()
    assert not late.folder.exists()


def test_the_end_of_a_block_stops_the_server_also_when_it_fails(folder) -> None:
    server = PostgresServer(16, folder / "pg", settings=FAST)
    with pytest.raises(KeyboardInterrupt):
        with server:
            pid = server.pid
            raise KeyboardInterrupt
    assert pid is not None
    assert server.pid is None
    server.remove()


def test_a_pid_that_belongs_to_somebody_else_is_not_our_server(server) -> None:
    pid_file = server.data / "postmaster.pid"
    server.kill()
    pid_file.write_text(f"{os.getpid()}\n{server.data}\n0\n{server.port}\n")
    assert server.pid is None
    server.stop()
    server.kill()
    assert psutil.Process(os.getpid()).is_running()
    pid_file.unlink()


@as_root
def test_root_uses_a_place_of_its_own_where_the_servers_user_cannot_pass(folder, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(18, closed / "deep" / "pg", settings=FAST)
    with server:
        assert server.folder.is_symlink()
        assert server.home.parent == folder / "tenant-lifecycle-0"
        assert answer(server) == 1
    assert closed.stat().st_mode & 0o777 == 0o700, "nobody's folder was opened"
    server.start()
    server.remove()
    assert not server.folder.is_symlink()
    assert list((folder / "tenant-lifecycle-0").iterdir()) == []


@as_root
def test_root_copies_programs_that_the_servers_user_cannot_read(folder, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    wheel = binaries._wheel()
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / wheel.name).mkdir()
    shutil.copytree(wheel / "pginstall18", closed / wheel.name / "pginstall18")
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), closed / f"{wheel.name}.libs")
    monkeypatch.setattr(binaries, "_wheel", lambda: closed / wheel.name)
    binaries.programs.cache_clear()
    try:
        copied = binaries.programs(18)
        assert copied.is_relative_to(folder / "tenant-lifecycle-0")
        binaries.programs.cache_clear()
        assert binaries.programs(18) == copied, "copied once"
        with PostgresServer(18, folder / "pg", settings=FAST) as server:
            assert answer(server) == 1
        assert [path for path in copied.parents[2].parent.iterdir() if path.name.startswith(".")] == []
    finally:
        binaries.programs.cache_clear()


@as_root
def test_a_place_that_somebody_else_made_is_refused(folder, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    theirs = folder / "tenant-lifecycle-0"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        binaries.place_for(folder / "x")


def test_a_version_that_is_not_here_is_named(folder) -> None:
    with pytest.raises(FileNotFoundError, match="no PostgreSQL 9"):
        PostgresServer(9, folder / "pg").start()


def test_free_ports_are_outside_the_range_of_outgoing_connections() -> None:
    assert all(20_000 <= free_port() < 32_000 for _ in range(5))

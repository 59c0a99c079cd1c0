"""An application behind the gate follows its tenant from writer to writer and loses nothing on the way."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import psycopg_pool
import pytest
from psycopg.conninfo import conninfo_to_dict

from tenant_lifecycle.client.gate import Writer, WriterGate, _Seen, choose
from tenant_lifecycle.client.outcome import UnknownOutcome
from tenant_lifecycle.errors import LifecycleError, TenantMoved
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, OwnershipMap
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.database import Database

A = TenantId("it's; a %s")
MAP = OwnershipMap({TableName("public", "docs"): Direct("t")})
NOWHERE = "host=127.0.0.1 port=1 user=postgres connect_timeout=2"


@pytest.fixture
def sides(new_database: Callable[..., str]) -> Iterator[dict[str, Database]]:
    sides = {
        name: Database(name, name, new_database(major), MAP) for name, major in (("blue", 16), ("green", 18))
    }
    for side in sides.values():
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            conn.execute(
                "CREATE TABLE docs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), t text, note text UNIQUE)"
            )
    yield sides
    for side in sides.values():
        side.close()


@pytest.fixture
def gate(sides: dict[str, Database]) -> WriterGate:
    return WriterGate({name: side.dsn for name, side in sides.items()}, home="blue")


def insert(conn: psycopg.Connection) -> str:
    conn.execute("INSERT INTO docs (t) VALUES (%s)", (A,))
    return str(conn.info.dbname)


def arm(sides: dict[str, Database]) -> None:
    fence.arm(sides["blue"], A, FenceState.ACTIVE, 1, None)
    fence.arm(sides["green"], A, FenceState.STANDBY, 0, "blue")


def flip(sides: dict[str, Database], source: str, target: str, epoch: int, pause_s: float = 0.0) -> None:
    ticket = fence.fence(sides[source], A, epoch, 2.0, 1.0)
    assert fence.commit_move(sides[source], A, ticket, target)
    time.sleep(pause_s)
    fence.activate(sides[target], A, epoch + 1)


def count(side: Database) -> int:
    with psycopg.connect(side.dsn) as conn:
        return conn.execute("SELECT count(*) FROM docs").fetchone()[0]


def database_name(database: Database) -> str:
    return str(conninfo_to_dict(database.dsn)["dbname"])


def test_an_unmanaged_tenant_writes_at_home(sides: dict[str, Database], gate: WriterGate) -> None:
    gate.run(A, insert)
    assert gate.writer(A) == Writer("blue", 0) and count(sides["blue"]) == 1
    with pytest.raises(ValueError, match="none of the environments"):
        WriterGate({"blue": NOWHERE}, home="green")


def test_a_write_follows_the_tenant_there_and_back(sides: dict[str, Database], gate: WriterGate) -> None:
    gate.run(A, insert)
    arm(sides)
    gate.run(A, insert)
    for epoch, (source, target) in enumerate(
        [("blue", "green"), ("green", "blue"), ("blue", "green")], start=1
    ):
        flip(sides, source, target, epoch)
        assert gate.run(A, insert) == database_name(sides[target])
        assert gate.writer(A) == Writer(target, epoch + 1)
    assert (count(sides["blue"]), count(sides["green"])) == (3, 2)


def test_a_write_between_two_writers_waits_for_the_new_one(
    sides: dict[str, Database], gate: WriterGate
) -> None:
    arm(sides)
    gate.run(A, insert)
    mover = threading.Thread(target=flip, args=(sides, "blue", "green", 1, 0.4))
    mover.start()
    while fence.fence_row(sides["blue"], A).state is not FenceState.MOVED:
        time.sleep(0.001)
    gate.run(A, insert)
    mover.join()
    assert (count(sides["blue"]), count(sides["green"])) == (1, 1)


def test_without_a_new_writer_the_deadline_ends_the_wait(
    sides: dict[str, Database], gate: WriterGate
) -> None:
    arm(sides)
    ticket = fence.fence(sides["blue"], A, 1, 2.0, 1.0)
    assert fence.commit_move(sides["blue"], A, ticket, "green")
    began = time.monotonic()
    with pytest.raises(TenantMoved, match="green") as caught:
        gate.run(A, insert, deadline_s=0.3)
    assert 0.2 < time.monotonic() - began < 2.0
    assert (caught.value.epoch, caught.value.target) == (2, "green")


def test_a_block_runs_where_the_writer_is(sides: dict[str, Database], gate: WriterGate) -> None:
    places: list[str] = []

    def block(conn: psycopg.Connection) -> None:
        places.append(str(conn.info.dbname))
        insert(conn)

    gate.run(A, block)
    arm(sides)
    flip(sides, "blue", "green", 1)
    # The gate takes the tenant for unmanaged: its write is refused, and the block repeated as a whole.
    gate.run(A, block)
    flip(sides, "green", "blue", 2)
    # Now it knows that the tenant is managed, and asks before it runs anything in the wrong place.
    gate.run(A, block)
    assert [place == database_name(sides["green"]) for place in places] == [False, False, True, False]
    assert (count(sides["blue"]), count(sides["green"])) == (2, 1)


def test_a_conflict_of_snapshots_is_repeated(sides: dict[str, Database]) -> None:
    with psycopg.connect(sides["blue"].dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO docs (t, note) VALUES ('x', 'counter')")
        conn.execute(f'ALTER DATABASE "{conn.info.dbname}" SET default_transaction_isolation = serializable')
    gate = WriterGate({name: side.dsn for name, side in sides.items()}, home="blue")
    tries: list[int] = []

    def block(conn: psycopg.Connection) -> None:
        tries.append(1)
        conn.execute("SELECT count(*) FROM docs")
        if len(tries) == 1:
            with psycopg.connect(sides["blue"].dsn) as other:
                other.execute("UPDATE docs SET t = 'other'")
        conn.execute("UPDATE docs SET t = 'mine'")

    gate.run(A, block)
    assert len(tries) == 2


def test_an_error_of_the_application_is_the_applications(
    sides: dict[str, Database], gate: WriterGate
) -> None:
    arm(sides)

    def twice(conn: psycopg.Connection) -> None:
        conn.execute("INSERT INTO docs (t, note) VALUES (%s, 'same')", (A,))
        conn.execute("INSERT INTO docs (t, note) VALUES (%s, 'same')", (A,))

    with pytest.raises(psycopg.errors.UniqueViolation):
        gate.run(A, twice)

    def own(conn: psycopg.Connection) -> None:
        insert(conn)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        gate.run(A, own)
    assert count(sides["blue"]) == 0
    gate.run(A, insert)


def test_an_error_that_a_library_wrapped_is_understood(sides: dict[str, Database], gate: WriterGate) -> None:
    tries: list[int] = []

    class Wrapped(Exception):
        pass

    def block(conn: psycopg.Connection) -> None:
        tries.append(1)
        if len(tries) == 1:
            try:
                conn.execute("DO $$BEGIN RAISE EXCEPTION 'moved' USING ERRCODE = 'TL001'; END$$")
            except psycopg.Error as exc:
                raise Wrapped from exc
        insert(conn)

    gate.run(A, block)
    assert len(tries) == 2 and count(sides["blue"]) == 1


def test_a_pool_of_the_application_can_be_used(sides: dict[str, Database]) -> None:
    pools = {
        name: psycopg_pool.ConnectionPool(side.dsn, min_size=1, open=True) for name, side in sides.items()
    }
    arm(sides)
    gate = WriterGate({name: pool.connection for name, pool in pools.items()}, home="blue")
    gate.run(A, insert)
    flip(sides, "blue", "green", 1)
    gate.run(A, insert)
    for pool in pools.values():
        pool.close()
    assert (count(sides["blue"]), count(sides["green"])) == (1, 1)


def test_a_role_without_rights_on_our_schema_is_enough(sides: dict[str, Database]) -> None:
    arm(sides)
    for side in sides.values():
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            conn.execute(
                "DROP ROLE IF EXISTS gate_user; CREATE ROLE gate_user LOGIN; GRANT INSERT ON docs TO gate_user"
            )
    dsns = {name: psycopg.conninfo.make_conninfo(side.dsn, user="gate_user") for name, side in sides.items()}
    gate = WriterGate(dsns, home="blue")
    gate.run(A, insert)
    flip(sides, "blue", "green", 1)
    gate.run(A, insert)
    assert (count(sides["blue"]), count(sides["green"])) == (1, 1)
    for side in sides.values():
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            conn.execute("DROP OWNED BY gate_user")
            conn.execute("DROP ROLE gate_user")


def test_a_dead_connection_is_replaced_before_the_block_runs(
    sides: dict[str, Database], gate: WriterGate
) -> None:
    arm(sides)
    gate.run(A, insert)
    with psycopg.connect(sides["blue"].dsn, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    tries: list[int] = []

    def block(conn: psycopg.Connection) -> None:
        tries.append(1)
        insert(conn)

    gate.run(A, block)
    assert len(tries) == 1 and count(sides["blue"]) == 2


def test_a_connection_lost_inside_the_block_is_not_repeated(
    sides: dict[str, Database], gate: WriterGate
) -> None:
    tries: list[int] = []

    def block(conn: psycopg.Connection) -> None:
        tries.append(1)
        insert(conn)
        with psycopg.connect(sides["blue"].dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        time.sleep(0.05)
        conn.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError):
        gate.run(A, block)
    assert tries == [1] and count(sides["blue"]) == 0


class CutAtCommit(threading.Thread):
    """A relay to a server that passes the COMMIT on and then cuts the client off before the answer."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.deliver = True

    def run(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        cut = threading.Event()

        def back() -> None:
            with contextlib.suppress(OSError):
                while (data := server.recv(65536)) and not cut.is_set():
                    client.sendall(data)

        answers = threading.Thread(target=back, daemon=True)
        answers.start()
        while data := client.recv(65536):
            if b"COMMIT" in data:
                cut.set()
                if self.deliver:
                    server.sendall(data)
                    time.sleep(0.2)  # long enough for it to happen
                break
            server.sendall(data)
        client.shutdown(socket.SHUT_RDWR)
        client.close()
        server.close()
        self._listener.close()


@pytest.mark.parametrize("delivered", [True, False])
def test_a_connection_lost_in_commit_is_an_unknown_outcome(
    sides: dict[str, Database], delivered: bool
) -> None:
    with psycopg.connect(sides["blue"].dsn) as conn:
        relay = CutAtCommit(conn.info.port)
    relay.deliver = delivered
    relay.start()
    through = psycopg.conninfo.make_conninfo(sides["blue"].dsn, port=relay.port)
    gate = WriterGate({"blue": through}, home="blue")
    gate._known[A] = Writer("blue", 0)
    tries: list[int] = []

    def block(conn: psycopg.Connection) -> None:
        tries.append(1)
        insert(conn)

    with pytest.raises(UnknownOutcome, match="during the COMMIT") as caught:
        gate.run(A, block)
    relay.join(5)
    assert isinstance(caught.value, LifecycleError) and not caught.value.retryable and caught.value.next_step
    assert tries == [1]  # never repeated in silence: it may have happened
    assert count(sides["blue"]) == (1 if delivered else 0)


def test_an_environment_that_does_not_answer_is_no_obstacle_unless_it_is_the_writer(
    sides: dict[str, Database],
) -> None:
    arm(sides)
    gate = WriterGate({"blue": sides["blue"].dsn, "green": NOWHERE}, home="blue")
    gate.run(A, insert)
    assert count(sides["blue"]) == 1
    flip(sides, "blue", "green", 1)
    with pytest.raises(psycopg.OperationalError):
        gate.run(A, insert, deadline_s=0.3)
    with pytest.raises(psycopg.OperationalError):
        WriterGate({"blue": NOWHERE}, home="blue").run(A, insert, deadline_s=0.3)


def test_rows_decide_who_is_the_writer() -> None:
    blue, green = _Seen("blue", "ACTIVE", 3, None), _Seen("green", "MOVED", 2, "blue")
    assert choose([], set(), "home") == Writer("home", 0)
    assert choose([blue, green], set(), "home") == Writer("blue", 3)
    assert choose(
        [_Seen("blue", "FENCED", 1, None), _Seen("green", "STANDBY", 0, "blue")], set(), "x"
    ) == Writer("blue", 1)
    between = [_Seen("blue", "MOVED", 2, "green"), _Seen("green", "STANDBY", 0, "blue")]
    assert choose(between, set(), "blue") is None
    assert choose(between[:1], {"green"}, "blue") == Writer("green", 2)
    assert choose(between[1:], {"blue"}, "blue") == Writer("blue", 0)


def test_threads_write_through_random_flips_and_every_write_is_there_once(sides: dict[str, Database]) -> None:
    arm(sides)
    gate = WriterGate({name: side.dsn for name, side in sides.items()}, home="blue")
    stop = threading.Event()
    acknowledged: dict[str, str] = {}
    failures: list[BaseException] = []

    def writer(name: int) -> None:
        number = 0
        while not stop.is_set():
            note = f"{name}/{number}"

            def block(conn: psycopg.Connection, note: str = note) -> str:
                conn.execute("INSERT INTO docs (t, note) VALUES (%s, %s)", (A, note))
                return str(conn.info.dbname)

            try:
                acknowledged[note] = gate.run(A, block)
            except BaseException as exc:
                failures.append(exc)
                return
            number += 1

    threads = [threading.Thread(target=writer, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    dice = random.Random(3)
    names, epoch = ["blue", "green"], 1
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        flip(sides, names[0], names[1], epoch, dice.choice([0.0, 0.002, 0.02]))
        epoch += 1
        names.reverse()
        time.sleep(dice.uniform(0.0, 0.05))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert epoch > 10
    for side in sides.values():
        with psycopg.connect(side.dsn) as conn:
            there = {note for (note,) in conn.execute("SELECT note FROM docs")}
            assert there == {note for note, where in acknowledged.items() if where == conn.info.dbname}
    assert len(set(acknowledged.values())) == 2

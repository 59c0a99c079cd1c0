"""Doctor's look at a server: every need is named, and with it the SQL that mends it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from tenant_lifecycle.model.findings import Finding, Severity, refusals
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.facts import Facts, read_facts
from tenant_lifecycle.stores.postgres.probe import probe
from tenant_lifecycle.stores.postgres.servercheck import check_server


def look(dsn: str) -> dict[str, Finding]:
    database = Database("blue/postgres", "blue", dsn)
    try:
        return {finding.code: finding for finding in probe(database)}
    finally:
        database.close()


@pytest.fixture
def limited(pg_servers: Callable[[int], PostgresServer], new_database: Callable[..., str]) -> Iterator[str]:
    """A DSN of a role that has nothing but the right to connect."""
    role = f"limited_{uuid.uuid4().hex[:8]}"
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        database = conn.info.dbname
        conn.execute(f'CREATE ROLE "{role}" LOGIN')
        conn.execute(f'REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC')
    yield dsn.replace("user=postgres", f"user={role}")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.mark.parametrize("major", [15, 16, 18])
def test_a_ready_server_has_no_refusal(new_database: Callable[..., str], major: int) -> None:
    found = look(new_database(major))
    assert not refusals(list(found.values()))
    assert found["pg.version"].message.startswith(f"PostgreSQL {major}.")
    assert {
        "pg.reachable",
        "pg.wal-level",
        "pg.slots",
        "pg.wal-senders",
        "pg.clock",
        "pg.replica-role",
    } <= set(found)


def test_nobody_there_is_a_finding_not_an_exception() -> None:
    found = look("host=127.0.0.1 port=1 user=postgres dbname=postgres")
    assert found["pg.reachable"].severity is Severity.REFUSAL


def test_a_database_that_is_not_there_is_named(new_database: Callable[..., str]) -> None:
    finding = look(new_database(18).replace("dbname=t_", "dbname=no_"))["pg.reachable"]
    assert finding.severity is Severity.REFUSAL and "no_" in finding.message and "DSN" in finding.next_step


def test_each_missing_privilege_comes_with_its_grant(limited: str) -> None:
    found = look(limited)
    role = limited.split("user=")[1].split()[0]
    for code, grant in {
        "pg.replication-privilege": f"ALTER ROLE {role} REPLICATION",
        "pg.create-privilege": "GRANT CREATE ON DATABASE",
        "pg.temporary-privilege": "GRANT TEMPORARY ON DATABASE",
        "pg.replica-role": f"GRANT SET ON PARAMETER session_replication_role TO {role}",
    }.items():
        assert found[code].severity is Severity.REFUSAL and grant in found[code].next_step, code
    assert found["pg.activity-visibility"].severity is Severity.WARNING
    assert found["pg.row-security"].severity is Severity.WARNING


def test_following_the_advice_ends_the_refusals(limited: str, new_database: Callable[..., str]) -> None:
    admin = limited.replace(limited.split("user=")[1].split()[0], "postgres")
    with psycopg.connect(admin, autocommit=True) as conn:
        for finding in refusals(list(look(limited).values())):
            conn.execute(finding.next_step.split("  (")[0].encode())
    assert not refusals(list(look(limited).values()))


def test_a_read_only_database_is_refused(new_database: Callable[..., str]) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f'ALTER DATABASE "{conn.info.dbname}" SET default_transaction_read_only = on')
    assert look(dsn)["pg.read-only"].severity is Severity.REFUSAL


def test_sessions_that_begin_without_triggers_are_refused(new_database: Callable[..., str]) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f'ALTER DATABASE "{conn.info.dbname}" SET session_replication_role = replica')
    found = look(dsn)["pg.fence-bypass"]
    assert found.severity is Severity.REFUSAL and "every role" in found.message


def test_a_transaction_limit_is_refused(new_database: Callable[..., str]) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f'ALTER DATABASE "{conn.info.dbname}" SET transaction_timeout = 5000')
        conn.execute(f'ALTER DATABASE "{conn.info.dbname}" SET idle_session_timeout = 60000')
    found = look(dsn)
    assert "5000 ms" in found["pg.transaction-timeout"].message
    assert found["pg.idle-session-timeout"].severity is Severity.WARNING


@pytest.fixture
def facts(new_database: Callable[..., str]) -> Facts:
    database = Database("x", "x", new_database(18))
    with database.session() as conn:
        facts = read_facts(conn)
    database.close()
    return facts


def test_every_weakness_of_a_server_has_its_finding(facts: Facts) -> None:
    for change, code, severity, word in (
        ({"version": 140012}, "pg.version", Severity.REFUSAL, "14.12"),
        ({"version": 190001}, "pg.version", Severity.WARNING, "19.1"),
        ({"standby": True}, "pg.standby", Severity.REFUSAL, "standby"),
        ({"wal_level": "replica"}, "pg.wal-level", Severity.REFUSAL, "replica"),
        ({"slots": 10, "slots_used": 9}, "pg.slots", Severity.REFUSAL, "9 of 10"),
        ({"senders": 10, "senders_used": 10}, "pg.wal-senders", Severity.REFUSAL, "10 of 10"),
        ({"slot_wal_keep_mb": 64}, "pg.slot-wal-keep", Severity.REFUSAL, "64 MB"),
        ({"slot_idle_timeout_s": 60}, "pg.slot-idle-timeout", Severity.WARNING, "60 s"),
        ({"standbys": 1, "version": 160004}, "pg.failover", Severity.WARNING, "failover"),
        ({"connections_used": facts.connections - 3}, "pg.connections", Severity.WARNING, "3 of"),
        ({"lost_settings": {"timezone": "Asia/Tokyo"}}, "pg.session-settings", Severity.REFUSAL, "Tokyo"),
    ):
        found = {f.code: f for f in check_server(replace(facts, **change), "s")}[code]
        assert found.severity is severity and word in found.message and found.next_step, code


def test_no_weakness_no_word_of_it(facts: Facts) -> None:
    assert {finding.severity for finding in check_server(facts, "s")} == {Severity.OK}

"""The ledger finds what it is there to find: each test damages one thing, and the check must name it."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sample_fixtures import SandboxPair
from tenant_lifecycle.sandbox.ledger import Do, Effect, LedgerWriter, Outcome, read_ledger
from tenant_lifecycle.sandbox.ledger_check import Wrong, check
from tenant_lifecycle.sandbox.load import Load, LoadConfig
from tenant_lifecycle.sandbox.writes import NAMES

TENANTS = ("acme", "o'neill & sons")
WRITER = 7000
TEMPLATE = "sample_loaded"


@pytest.fixture(scope="session")
def loaded(pg_servers, sample_template) -> Iterator[Path]:
    """Two tenants' writers ran on a database, which is kept as a template; the ledger's folder."""
    server, folder = pg_servers(18), Path(tempfile.mkdtemp(prefix="tenant-lifecycle-ledger-"))
    tenants = sample_template(18, "tenants")
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE {tenants}")
    config = LoadConfig(
        {"blue": server.dsn(TEMPLATE)}, dict.fromkeys(TENANTS, 2), folder, rate=None, first_writer=WRITER
    )
    load = Load(config)
    load.start()
    load.wait(lambda: sum(len(writer.outcomes) for writer in load._writers) > 2500)
    summary = load.stop()
    assert not summary.errors
    assert set(summary.kinds) == NAMES, "every kind of write was made"
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (TEMPLATE,))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def dsn(loaded, new_database) -> str:
    """A copy of the database as the load left it."""
    return new_database(18, template=TEMPLATE)


def damage(dsn: str, statement: str, *values: object) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("SET session_replication_role = replica")
        changed = conn.execute(statement, values).rowcount
        assert changed > 0, "the damage was done"


def last_gone(folder: Path, table: str) -> dict[str, str]:
    """A key that was deleted in the end."""
    state: dict[str, tuple[Do, dict[str, str]]] = {}
    for entry in read_ledger(folder):
        for effect in entry.effects:
            if effect.table == table:
                state[json.dumps(effect.key)] = (effect.do, effect.key)
    return next(key for do, key in state.values() if do is Do.GONE)


def test_an_undamaged_database_holds_everything(loaded, dsn) -> None:
    report = check(loaded, dsn, TENANTS)
    assert report.ok, report.violations[:5]
    assert report.acknowledged > 2500
    assert (report.failed, report.unknown) == (0, 0)
    assert report.checked > 1.5 * report.acknowledged
    one, other = (check(loaded, dsn, [tenant]) for tenant in TENANTS)
    assert (one + other).acknowledged == report.acknowledged


ONE_OF_OURS = "WHERE ctid = (SELECT min(ctid) FROM {} WHERE {} LIKE '7___-%%')"
DAMAGE = {
    "a message is lost": (
        Wrong.LOST,
        "messages",
        "DELETE FROM messages " + ONE_OF_OURS.format("messages", "client_ref"),
    ),
    "a message is doubled under another id": (
        Wrong.DUPLICATED,
        "messages",
        "INSERT INTO messages (conversation_id, client_ref, role, content, tokens, created_at) SELECT conversation_id,"
        " client_ref, role, content, tokens, created_at FROM messages "
        + ONE_OF_OURS.format("messages", "client_ref"),
    ),
    "a message has an old value": (
        Wrong.STALE,
        "messages",
        "UPDATE messages SET tokens = tokens - 1 " + ONE_OF_OURS.format("messages", "client_ref"),
    ),
    "a claimed message is lost": (
        Wrong.LOST,
        "messages",
        "DELETE FROM messages WHERE client_ref = ("
        "SELECT min(client_ref) FROM messages JOIN conversations c ON c.id = conversation_id "
        "JOIN collections l ON l.id = c.collection_id WHERE client_ref LIKE 'seed-%%' AND l.tenant_id = 'acme')",
    ),
    "a large text is not the last one": (
        Wrong.STALE,
        "documents",
        "UPDATE documents SET body = 'x' || body WHERE id = (SELECT id FROM documents WHERE tags && '{load}' LIMIT 1)",
    ),
    "a version of a document is old": (
        Wrong.STALE,
        "documents",
        "UPDATE documents SET meta = jsonb_set(meta, '{v}', '-1') "
        "WHERE id = (SELECT id FROM documents WHERE tags && '{load}' LIMIT 1)",
    ),
    "a chunk is missing": (
        Wrong.LOST,
        "chunks",
        "DELETE FROM chunks WHERE id = (SELECT max(c.id) FROM chunks c JOIN documents d ON d.id = c.document_id "
        "WHERE d.tags && '{load}')",
    ),
    "an embedding is another": (
        Wrong.STALE,
        "chunks",
        "UPDATE chunks SET embedding = embedding * embedding WHERE id = (SELECT max(c.id) FROM chunks c "
        "JOIN documents d ON d.id = c.document_id WHERE d.tags && '{load}')",
    ),
    "a counter is one short": (
        Wrong.LOST,
        "counters",
        "UPDATE counters SET n = n - 1 WHERE tenant_id = 'acme' AND name = 'load:7:1'",
    ),
    "a counter is one over": (
        Wrong.DUPLICATED,
        "counters",
        "UPDATE counters SET n = n + 1 WHERE tenant_id = 'acme' AND name = 'load:7:1'",
    ),
    "one of several equal rows is lost": (
        Wrong.LOST,
        "audit_log",
        "DELETE FROM audit_log " + ONE_OF_OURS.format("audit_log", "substr(actor, 6)"),
    ),
    "one of several equal rows is doubled": (
        Wrong.DUPLICATED,
        "audit_log",
        "INSERT INTO audit_log SELECT * FROM audit_log "
        + ONE_OF_OURS.format("audit_log", "substr(actor, 6)"),
    ),
    "a trigger fired twice": (
        Wrong.DUPLICATED,
        "audit_log",
        "INSERT INTO audit_log SELECT * FROM audit_log WHERE tenant_id = 'acme' AND actor = 'trigger' LIMIT 1",
    ),
    "an event is in its old partition": (
        Wrong.STALE,
        "usage_events",
        "UPDATE usage_events SET happened_at = happened_at - interval '62 days' WHERE kind = "
        "(SELECT max(kind) FROM usage_events WHERE kind LIKE 'load 7%%')",
    ),
    "two slugs are not swapped": (
        Wrong.STALE,
        "settings",
        "UPDATE settings SET slug = slug || '-old' WHERE name = (SELECT max(name) FROM settings WHERE name LIKE 'load 7%%')",
    ),
    "a marker is lost": (
        Wrong.LOST,
        "load_writes",
        "DELETE FROM load_writes WHERE id = (SELECT min(id) FROM load_writes)",
    ),
    "a marker is doubled": (
        Wrong.DUPLICATED,
        "load_writes",
        "INSERT INTO load_writes (tenant_id, writer, seq, payload) SELECT tenant_id, writer, seq, payload "
        "FROM load_writes WHERE writer = 7000 LIMIT 1",
    ),
    "a marker is there that nobody wrote": (
        Wrong.PHANTOM,
        "load_writes",
        "INSERT INTO load_writes (tenant_id, writer, seq, payload) VALUES ('acme', 7000, 1000000, '')",
    ),
    "a person lost the membership": (
        Wrong.LOST,
        "memberships",
        "DELETE FROM memberships WHERE user_id = (SELECT id FROM users WHERE email LIKE '7%%' LIMIT 1)",
    ),
    "a bookmark has an old weight": (
        Wrong.STALE,
        "Bookmarks",
        """UPDATE "Bookmarks" SET weight = weight + 1 WHERE "Target URL" LIKE '%%/7___-%%'""",
    ),
    "a key has another secret": (
        Wrong.STALE,
        "api_keys",
        "UPDATE api_keys SET secret_hash = '\\x00' WHERE label = (SELECT max(label) FROM api_keys WHERE label LIKE 'load %%')",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_one_damage_is_found_and_named(loaded, dsn, name) -> None:
    wrong, table, statement = DAMAGE[name]
    damage(dsn, statement)
    report = check(loaded, dsn, TENANTS)
    assert {(violation.wrong, violation.table) for violation in report.violations} == {(wrong, table)}
    assert not report.ok


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("messages", "INSERT INTO messages (conversation_id, client_ref, role, content) "
         "SELECT id, %(ref)s, 'user', '' FROM conversations LIMIT 1"),
        ("settings", "INSERT INTO settings (tenant_id, section, name, slug) VALUES (%(tenant)s, %(section)s, %(name)s, 'b')"),
        ("documents", "INSERT INTO documents (id, tenant_id, collection_id, title, body) "
         "SELECT %(id)s, tenant_id, id, '', '' FROM collections LIMIT 1"),
        ("notes", "INSERT INTO notes (tenant_id, body) VALUES ('acme', %(body)s)"),
        ("users", "INSERT INTO users (id, email, full_name) VALUES (%(id)s, 'a@b', '')"),
        ("message_feedback", "INSERT INTO message_feedback (id, message_id, rating) VALUES (%(id)s, 1, 1)"),
    ],
)  # fmt: skip
def test_a_deleted_row_that_is_back_is_found(loaded, dsn, table, statement) -> None:
    key = last_gone(loaded, table)
    with psycopg.connect(dsn) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(statement, key)
    report = check(loaded, dsn, TENANTS)
    assert [(violation.wrong, violation.table) for violation in report.violations] == [
        (Wrong.RESURRECTED, table)
    ]
    assert report.resurrected == 1


# -- outcomes ---------------------------------------------------------------------------------------

MARKER = "INSERT INTO load_writes (tenant_id, writer, seq, payload) VALUES ('acme', 1, 1, '')"
ROW = "INSERT INTO users (id, email, full_name) VALUES ('00000000-0000-0000-0000-000000000001', 'a@b', 'Ada')"
EFFECT = Effect(Do.PUT, "users", {"id": "00000000-0000-0000-0000-000000000001"}, {"name": "Ada"})


@pytest.fixture
def verdict(sandbox_pair: Callable[..., SandboxPair], tmp_path: Path) -> Callable[..., tuple]:
    """What the check says of one write with that outcome, when these statements are what is in the database."""

    def judge(outcome: Outcome | None, *statements: str) -> tuple:
        pair = sandbox_pair()
        with psycopg.connect(pair.blue) as conn:
            for statement in statements:
                conn.execute(statement)
        with LedgerWriter(tmp_path, "acme", 1) as ledger:
            ledger.begin(1, "invite", (EFFECT,))
            if outcome is not None:
                ledger.end(1, outcome, 1.0)
        report = check(tmp_path, pair.blue, ["acme"])
        return (
            report.unknown,
            report.unknown_committed,
            sorted((str(violation.wrong), violation.table) for violation in report.violations),
        )

    return judge


def test_an_unknown_write_may_be_there_whole(verdict) -> None:
    assert verdict(Outcome.UNKNOWN, MARKER, ROW) == (1, 1, [])


def test_an_unknown_write_may_be_absent(verdict) -> None:
    assert verdict(Outcome.UNKNOWN) == (1, 0, [])


def test_an_unknown_write_may_not_be_there_in_part(verdict) -> None:
    assert verdict(Outcome.UNKNOWN, MARKER) == (1, 1, [("lost", "users")])


def test_an_unknown_write_may_not_be_there_without_its_marker(verdict) -> None:
    assert verdict(Outcome.UNKNOWN, ROW) == (1, 0, [("phantom", "users")])


def test_an_unknown_write_may_not_be_there_twice(verdict) -> None:
    assert verdict(Outcome.UNKNOWN, MARKER, MARKER, ROW) == (1, 1, [("duplicated", "load_writes")])


def test_a_failed_write_may_not_be_there(verdict) -> None:
    assert verdict(Outcome.FAILED) == (0, 0, [])
    # A second ledger file for a second look at another database.


def test_a_failed_write_that_is_there_is_a_phantom(verdict) -> None:
    assert verdict(Outcome.FAILED, MARKER, ROW) == (0, 0, [("phantom", "load_writes")])


def test_an_acknowledged_write_that_is_absent_is_lost(verdict) -> None:
    assert verdict(Outcome.ACK) == (0, 0, [("lost", "load_writes"), ("lost", "users")])


def test_a_write_whose_load_was_killed_is_unknown(verdict) -> None:
    assert verdict(None, MARKER, ROW) == (1, 1, [])


def test_a_line_that_was_cut_off_is_left_out(tmp_path) -> None:
    with LedgerWriter(tmp_path, "acme", 1) as ledger:
        ledger.begin(1, "invite", (EFFECT,))
        ledger.end(1, Outcome.ACK, 2.5)
    path = tmp_path / "1.jsonl"
    path.write_text(path.read_text() + '{"seq": 2, "effects": [{"do": "pu')
    (entry,) = read_ledger(tmp_path)
    assert (entry.seq, entry.outcome, entry.effects) == (1, Outcome.ACK, (EFFECT,))
    assert entry.ended == pytest.approx(entry.began + 0.0025)


def test_two_loads_cannot_share_a_writers_number(tmp_path) -> None:
    LedgerWriter(tmp_path, "acme", 1).close()
    with pytest.raises(FileExistsError):
        LedgerWriter(tmp_path, "acme", 1)

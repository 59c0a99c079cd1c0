"""The archive gives every tenant its changes, all of them and nobody else's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from archive_sample import Archiving, writing
from feed_sample import DOCS, MAP, SCHEMA, THEM, US
from psycopg import sql

from tenant_lifecycle.errors import FeedGap, StoreBusy
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, OwnershipMap
from tenant_lifecycle.stores.postgres.archive import reader, slot, transaction
from tenant_lifecycle.stores.postgres.archive.decoding import full_xid
from tenant_lifecycle.stores.postgres.archive.reader import PostgresArchive
from tenant_lifecycle.stores.postgres.database import Database

THIRD = "1'; DROP TABLE docs; --*?[{/\n"


@pytest.fixture
def archiving(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Archiving]]:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(reader, "TAKEN_S", 1.0)
    made: list[Archiving] = []

    def make(major: int = 18) -> Archiving:
        dsn = new_database(major)
        with psycopg.connect(dsn, autocommit=True) as conn:
            # One whose replica identity is not its key is reported instead; see below.
            conn.execute(SCHEMA + "ALTER TABLE indexed DROP CONSTRAINT indexed_pkey;")
            for tenant in (US, THEM, THIRD):
                conn.execute("INSERT INTO tenants VALUES (%s, 'gold')", (tenant,))
                conn.execute(DOCS, {"t": tenant})
        one = Archiving(Database("blue/postgres", "blue", dsn, MAP), tmp_path / f"spool{len(made)}")
        made.append(one)
        one.open()
        one.base(US, THEM, THIRD)
        return one

    yield make
    for one in made:
        if one.archive is not None:
            one.archive.close()
        one.database.close()


@pytest.mark.parametrize("major", [16, 18])
def test_every_tenant_gets_its_changes_and_nobody_elses(
    archiving: Callable[..., Archiving], major: int
) -> None:
    one = archiving(major)
    with writing(one.database) as conn:
        conn.execute(DOCS.replace('|| i, \'{"a"', "|| i || 'x', '{\"a\""), {"t": US})
        conn.execute("UPDATE docs SET body = repeat(title, 2000)")
        conn.execute("UPDATE docs SET n = n + 1, title = 'only the title' WHERE n % 2 = 0")
        conn.execute("DELETE FROM docs WHERE n %% 5 = 0 AND tenant_id = %s", (THEM,))
        conn.execute(
            "INSERT INTO chats (tenant_id, title) SELECT %s, 'c' || i FROM generate_series(1, 9) i", (US,)
        )
        conn.execute("INSERT INTO messages (chat_id, body) SELECT id, 'm' FROM chats, generate_series(1, 3)")
        conn.execute(
            "INSERT INTO reactions (message_id, tenant_id, face) SELECT id, %s, ':)' FROM messages", (THEM,)
        )
        conn.execute("INSERT INTO reactions (tenant_id, face) VALUES (%s, ':(')", (THEM,))
        conn.execute("DELETE FROM chats WHERE id % 3 = 0")
        conn.execute("UPDATE messages SET id = -id WHERE id % 4 = 0")
        conn.execute(
            "INSERT INTO events SELECT %s, i, 1 + i %% 2, 'v' FROM generate_series(1, 6) i", (THIRD,)
        )
        conn.execute("UPDATE events SET day = 3 - day WHERE id < 3")
        conn.execute("UPDATE whole SET body = 'x'")
    one.pump()
    one.equal()


def test_a_shared_person_comes_with_the_first_membership_and_goes_with_the_last(
    archiving: Callable[..., Archiving],
) -> None:
    one = archiving()
    with writing(one.database) as conn:
        conn.execute("INSERT INTO users SELECT i, 'n' || i, 'e' || i FROM generate_series(1, 6) i")
        one.pump()
        one.equal()
        conn.execute(
            "INSERT INTO members (tenant_id, user_id) SELECT %s, i FROM generate_series(1, 6) i", (US,)
        )
        conn.execute(
            "INSERT INTO members (tenant_id, user_id) VALUES (%s, 1), (%s, 1), (%s, 2)", (THEM, THEM, THEM)
        )
        conn.execute("UPDATE users SET name = 'other' WHERE id = 1")
        one.pump()
        one.equal()
        assert (("public.users"), b"\x021") in one.folded[THEM].items
        conn.execute("DELETE FROM members WHERE tenant_id = %s AND user_id = 2", (THEM,))
        conn.execute(
            "DELETE FROM members WHERE id = (SELECT min(id) FROM members WHERE tenant_id = %s)", (THEM,)
        )
        conn.execute("UPDATE users SET id = 60 WHERE id = 6")
        conn.execute("UPDATE members SET user_id = 60 WHERE user_id = 6")
    one.pump()
    one.equal()
    assert not any(state.unknown for state in one.folded.values())


def test_a_row_that_changes_its_tenant_goes_there_and_comes_here_and_so_do_its_children(
    archiving: Callable[..., Archiving],
) -> None:
    one = archiving()
    with writing(one.database) as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s, 'one'), (2, %s, 'two')", (US, US))
        conn.execute("INSERT INTO messages (id, chat_id, body) VALUES (1, 1, 'm'), (2, 2, 'm')")
        conn.execute("INSERT INTO reactions (id, message_id, face) VALUES (1, 1, 'f'), (2, 2, 'f')")
        one.pump()
        conn.execute("UPDATE chats SET tenant_id = %s WHERE id = 1", (THEM,))
        conn.execute("UPDATE docs SET tenant_id = %s WHERE n = 3 AND tenant_id = %s", (THIRD, US))
    one.pump()
    one.equal()
    assert one.folded[THEM].unknown == {("public.messages", b"\x021"), ("public.reactions", b"\x021")}
    assert not one.folded[US].unknown, "whoever loses rows knows it exactly"


def test_rows_without_a_key_are_counted(archiving: Callable[..., Archiving]) -> None:
    one = archiving()
    with writing(one.database) as conn:
        for _ in range(3):
            conn.execute(
                "INSERT INTO logs (tenant_id, line) VALUES (%s, 'same'), (%s, 'same'), (%s, 'o')",
                (US, THEM, US),
            )
        one.pump()
        one.equal()
        conn.execute(
            "DELETE FROM logs WHERE ctid IN (SELECT ctid FROM logs WHERE tenant_id = %s LIMIT 2)", (US,)
        )
        conn.execute("UPDATE logs SET line = 'now' WHERE line = 'o'")
    one.pump()
    one.equal()


def test_truncate_reaches_everybody_who_had_rows(archiving: Callable[..., Archiving]) -> None:
    one = archiving()
    with writing(one.database) as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s, 'one'), (2, %s, 'two')", (US, THEM))
        conn.execute("INSERT INTO messages (id, chat_id, body) VALUES (1, 1, 'm'), (2, 2, 'm')")
        conn.execute("TRUNCATE chats CASCADE")
        conn.execute("TRUNCATE events, docs")
        conn.execute(DOCS, {"t": US})
    one.pump()
    one.equal()


def test_columns_that_come_go_and_are_renamed_are_told_with_what_old_rows_have_in_them(
    archiving: Callable[..., Archiving],
) -> None:
    one = archiving()
    with writing(one.database) as conn:
        conn.execute(
            "INSERT INTO chats (id, tenant_id, title) VALUES (1, %s, 'one'), (2, %s, 'two')", (US, THEM)
        )
        conn.execute("ALTER TABLE chats ADD plain text, ADD given int NOT NULL DEFAULT 7")
        conn.execute("ALTER TABLE chats ALTER given DROP DEFAULT")
        conn.execute("INSERT INTO chats (id, tenant_id, given) VALUES (3, %s, 8)", (US,))
        one.pump()
        one.equal()
        conn.execute("ALTER TABLE chats RENAME title TO name")
        conn.execute("ALTER TABLE chats DROP plain")
        conn.execute("INSERT INTO chats (id, tenant_id, given) VALUES (4, %s, 8)", (THEM,))
    one.pump()
    one.equal()


def test_what_was_not_confirmed_comes_again_and_nothing_is_doubled(
    archiving: Callable[..., Archiving],
) -> None:
    one = archiving()
    for round_ in range(4):
        with writing(one.database) as conn:
            conn.execute("INSERT INTO chats (tenant_id, title) VALUES (%s, 'c'), (%s, 'd')", (US, THEM))
            conn.execute("INSERT INTO messages (chat_id, body) SELECT id, 'm' FROM chats")
            conn.execute("DELETE FROM messages WHERE id % 3 = 0")
        one.pump(confirm=round_ % 2 == 0)
        assert one.archive is not None
        one.archive.close()
        again = one.open()
        assert again.begins_us <= again.complete_us
    one.pump()
    one.equal()


def test_the_window_has_no_hole_over_a_restart(archiving: Callable[..., Archiving]) -> None:
    one = archiving()
    one.pump()
    assert one.archive is not None
    until = one.archive.complete_us
    one.archive.close()
    assert one.open().begins_us == until


def test_a_second_reader_is_refused(archiving: Callable[..., Archiving], tmp_path: Path) -> None:
    one = archiving()
    with pytest.raises(StoreBusy, match="another process archives"):
        PostgresArchive(one.database, one.name, one.spool)
    with pytest.raises(StoreBusy, match="another process reads"):
        PostgresArchive(one.database, one.name, tmp_path / "elsewhere")


def test_a_slot_that_is_gone_is_a_gap(archiving: Callable[..., Archiving]) -> None:
    one = archiving()
    one.pump()
    assert one.archive is not None
    until = one.archive.complete_us
    one.archive.close()
    slot.drop(one.database, one.name)
    with pytest.raises(FeedGap):
        PostgresArchive(one.database, one.name, one.spool)
    assert one.open().begins_us > until, "what was lost in between is not covered"


def test_a_lost_index_is_filled_anew_and_the_window_says_from_when(
    archiving: Callable[..., Archiving],
) -> None:
    one = archiving()
    one.pump()
    assert one.archive is not None
    until = one.archive.complete_us
    one.archive.close()
    with writing(one.database) as conn:
        conn.execute("DELETE FROM docs WHERE n < 10")
    one.spool = one.spool.with_name("empty")
    assert one.open().begins_us > until
    one.base(US, THEM, THIRD)
    with writing(one.database) as conn:
        conn.execute("DELETE FROM docs WHERE n > 40")
    one.pump()
    one.equal()


def test_a_new_table_of_a_tenant_begins_the_archive_anew(archiving: Callable[..., Archiving]) -> None:
    one = archiving()
    one.pump()
    one.database.map = OwnershipMap({**MAP.tables, TableName("public", "later"): Direct("tenant_id")})
    assert one.archive is not None
    with writing(one.database) as conn:
        conn.execute("CREATE TABLE later (id int PRIMARY KEY, tenant_id text)")
        (created_us,) = conn.execute(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::int8"
        ).fetchone() or (0,)
    with pytest.raises(FeedGap, match="created"):
        one.pump()
    assert one.archive.complete_us <= created_us, "no moment of the table that is not archived is promised"
    one.archive.close()
    one.open()
    one.base(US, THEM)
    with writing(one.database) as conn:
        conn.execute("INSERT INTO later VALUES (1, %s), (2, %s)", (US, THEM))
        conn.execute("DELETE FROM later WHERE id = 1")
    one.pump()
    one.equal()


def test_a_delete_that_nobody_can_place_is_a_gap_and_never_dropped(
    archiving: Callable[..., Archiving],
) -> None:
    one = archiving()
    with writing(one.database) as conn:
        conn.execute("INSERT INTO chats (id, tenant_id, title) VALUES (1, %s, 'one')", (US,))
    one.pump()
    assert one.archive is not None
    until = one.archive.complete_us
    one.archive.close()
    with sqlite3.connect(one.spool / "owners.db") as index:
        index.execute("DELETE FROM row WHERE key = ?", (b"\x021",))
    index.close()
    one.open()
    with writing(one.database) as conn:
        conn.execute("DELETE FROM chats")
    with pytest.raises(FeedGap, match="not in the index"):
        one.pump()
    one.archive.close()
    assert one.open().begins_us > until
    one.base(US)
    one.pump()
    one.equal()


def test_a_large_transaction_comes_in_pieces_of_one_moment(
    archiving: Callable[..., Archiving], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "PIECE_BYTES", 10_000)
    one = archiving()
    with writing(one.database) as conn:
        conn.execute(
            "INSERT INTO chats (tenant_id, title) SELECT CASE WHEN i % 2 = 0 THEN 'x' ELSE '1' END, 'c' "
            "FROM generate_series(1, 3000) i".replace("'x'", "%(us)s").replace("% 2", "%% 2"),
            {"us": US},
        )
    assert one.archive is not None
    frames = []
    while not frames or one.archive._decoder.in_transaction or not one.archive._drained:
        frames += one.archive.read(0.5).frames
    theirs = [frame for tenant, frame in frames if tenant == THEM]
    assert len(theirs) > 10
    assert len({frame.at_us for frame in theirs}) == len({frame.xid for frame in theirs}) == 1
    positions = [frame.position for frame in theirs]
    assert positions == sorted(set(positions)) and positions[-1] - positions[0] < 32
    for tenant, frame in frames:
        one.folded[tenant].apply(frame)
    one.pump()
    one.equal()
    assert not list(one.spool.glob("large-*"))


def test_what_cannot_be_archived_is_named(archiving: Callable[..., Archiving]) -> None:
    one = archiving()
    with writing(one.database) as conn:
        conn.execute("CREATE UNLOGGED TABLE quick (id int PRIMARY KEY, tenant_id text)")
        conn.execute("CREATE TABLE keyless (id int, tenant_id text)")
        conn.execute("CREATE TABLE nobodys (id int PRIMARY KEY)")
    names = ("quick", "keyless")
    one.database.map = OwnershipMap(
        {**MAP.tables, **{TableName("public", n): Direct("tenant_id") for n in names}}
    )
    said = slot.uncovered(one.database)
    assert said.keys() == {"public.quick", "public.keyless", "public.nobodys"}
    assert "unlogged" in said["public.quick"] and "REPLICA IDENTITY" in said["public.keyless"]
    assert "no rule" in said["public.nobodys"]


@pytest.mark.parametrize(
    ("lower", "reference", "full"),
    [
        (5, 7, 5),
        (0xFFFFFFF0, (1 << 32) + 3, 0xFFFFFFF0),
        (2, (1 << 32) - 3, (1 << 32) + 2),
        (7, (5 << 32) + 9, (5 << 32) + 7),
    ],
)
def test_transaction_numbers_go_on_after_they_wrapped(lower: int, reference: int, full: int) -> None:
    assert full_xid(lower, reference) == full


def test_schemas_of_tenants_are_archived_each_to_its_own(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.05)
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for schema in ("t_1", "t_1'%"):
            conn.execute(
                sql.SQL("CREATE SCHEMA {0}; CREATE TABLE {0}.docs (id int PRIMARY KEY, body text)").format(
                    sql.Identifier(schema)
                )
            )
    one = Archiving(
        Database("blue/postgres", "blue", dsn, OwnershipMap(schema_template="t_{tenant}")), tmp_path / "spool"
    )
    archive = one.open()
    one.base("1", "1'%")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO t_1.docs VALUES (1, 'one'), (2, 'two')")
        conn.execute("DELETE FROM t_1.docs WHERE id = 1")
        conn.execute("INSERT INTO \"t_1'%\".docs VALUES (1, 'theirs')")
        conn.execute("TRUNCATE t_1.docs")
        conn.execute("INSERT INTO t_1.docs VALUES (3, 'three')")
    one.pump()
    one.equal()
    assert len(one.folded["1"].items) == len(one.folded["1'%"].items) == 1
    archive.close()
    one.database.close()


def test_a_database_that_does_not_say_whose_it_is_is_not_archived(new_database: Callable[..., str]) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE docs (id int PRIMARY KEY)")
    database = Database("blue/postgres", "blue", dsn, OwnershipMap(per_database=True))
    assert "nothing in it says who" in slot.uncovered(database)["public.docs"]
    database.close()

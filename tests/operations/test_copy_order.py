"""A child that was copied before its parent must not stay behind when both are deleted at the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from rig import TENANT, Rig
from sample_fixtures import SandboxPair
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.sandbox.environment import Fill
from tenant_lifecycle.stores.base import Feed, Part
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.ours import install
from tenant_lifecycle.stores.postgres.store import PostgresStore


@pytest.fixture
def sides(sandbox_pair: Callable[..., SandboxPair]) -> tuple[PostgresStore, PostgresStore]:
    pair = sandbox_pair(16, 18, Fill.SCHEMA)
    stores = tuple(
        PostgresStore(Database(f"{n}/postgres", n, pair.dsns[n], pair.map)) for n in ("blue", "green")
    )
    for store in stores:
        with store.database.session() as conn:
            install(conn)
    return stores


def orphans(green: PostgresStore) -> int:
    with psycopg.connect(green.database.dsn) as conn:
        return conn.execute(
            "SELECT count(*) FROM messages m WHERE NOT EXISTS "
            "(SELECT FROM conversations c WHERE c.id = m.conversation_id)"
        ).fetchone()[0]


def copy_then_delete(
    blue: PostgresStore, green: PostgresStore, tmp_path: Path, order: Callable[[Part], int]
) -> int:
    """Copy in that order; delete a conversation after the first of the two tables was copied; then follow with
    a driver that knows nothing of it. Returns the messages without a conversation on the target."""
    feed = Feed("tl_order_fwd", TENANT, 1)
    blue.create_feed(green, feed)
    first = True
    for part in sorted(blue.split(green, feed), key=order):
        blue.copy_part(green, feed, part, lambda: None)
        if part.set in ("public.conversations", "public.messages") and first:
            first = False
            delete_a_conversation(blue)
    follower = blue.follow(green, feed, tmp_path / "spool")
    follower.start()
    follower.apply()
    assert follower.await_marker(follower.mark(), 30)
    follower.stop()
    blue.drop_feed(feed)
    return orphans(green)


def delete_a_conversation(blue: PostgresStore) -> None:
    """The parent first, its messages in a transaction of their own: nothing declares that they belong together."""
    with psycopg.connect(blue.database.dsn, autocommit=True) as conn:
        (victim,) = conn.execute(
            "SELECT c.id FROM conversations c JOIN messages m ON m.conversation_id = c.id "
            "JOIN collections o ON o.id = c.collection_id WHERE o.tenant_id = %s LIMIT 1",
            (TENANT,),
        ).fetchone()
        conn.execute("DELETE FROM conversations WHERE id = %s", (victim,))
        conn.execute("DELETE FROM messages WHERE conversation_id = %s", (victim,))


def test_the_other_order_would_leave_an_orphan_so_the_next_test_can_fail(sides, tmp_path) -> None:
    assert copy_then_delete(*sides, tmp_path, lambda part: -part.level) > 0


def test_copying_level_by_level_leaves_no_orphan(sides, tmp_path) -> None:
    assert copy_then_delete(*sides, tmp_path, lambda part: part.level) == 0


def test_whatever_decides_an_owner_has_a_smaller_level(sides) -> None:
    blue, green = sides
    feed = Feed("tl_levels_fwd", TENANT, 1)
    levels = {part.set.removeprefix("public."): part.level for part in blue.split(green, feed)}
    assert levels["memberships"] < levels["users"]
    assert levels["documents"] < levels["chunks"]
    assert levels["collections"] < levels["conversations"] < levels["messages"] < levels["message_feedback"]


def test_a_migration_copies_level_by_level(rig: Rig) -> None:
    with rig.lifecycle.runner():
        # Read before it ends: what it remembers of its parts is forgotten then.
        id = rig.start(workers=4)
        assert rig.wait(id, "verify").state is not State.ATTENTION
    with psycopg.connect(rig.pair.green) as conn:
        done = conn.execute(
            "SELECT table_name, min(done_at), max(done_at) FROM tenant_lifecycle.copy_part GROUP BY 1"
        ).fetchall()
    times = {name: (first, last) for name, first, last in done}
    for parent, child in [
        ("collections", "conversations"),
        ("conversations", "messages"),
        ("memberships", "users"),
    ]:
        assert times[parent][1] <= times[child][0], (parent, child)

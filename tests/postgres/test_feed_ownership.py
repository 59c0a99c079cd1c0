"""Whose a change is: the tenant's arrive over every rule, and nobody else's rows are touched on either side."""

from __future__ import annotations

import pytest
from feed_sample import DOCS, THEM, US, MakePair, Pair, rows_of, same, settle, wait_until

from tenant_lifecycle.stores.postgres.feed.follower import PostgresFollower


def test_neighbours_rows_never_arrive_and_residents_are_left_alone(make_pair: MakePair) -> None:
    pair = make_pair()
    with pair.at_target() as there:
        there.execute("INSERT INTO chats VALUES (7, 'resident', 'mine'), (8, 'resident', 'mine too')")
        there.execute("INSERT INTO messages VALUES (70, 7, 'hello')")
        there.execute("INSERT INTO whole VALUES (5, 'resident', 'x')")
        there.execute("INSERT INTO numbers OVERRIDING SYSTEM VALUE VALUES (1, 1, 'resident', 9)")
        before = [rows_of(pair.target, "resident"), rows_of(pair.target, THEM)]
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute(
            "INSERT INTO chats VALUES (6, %s, 'theirs'), (7, %s, 'theirs'), (9, %s, 'ours')", (THEM, THEM, US)
        )
        conn.execute("INSERT INTO messages VALUES (70, 7, 'theirs'), (71, 9, 'ours')")
        conn.execute("INSERT INTO whole VALUES (5, %s, 'theirs')", (THEM,))
        conn.execute("INSERT INTO numbers (tenant_id, v) VALUES (%s, 1)", (THEM,))
        settle(follower)
        conn.execute("UPDATE messages SET body = 'changed' WHERE id = 70")
        conn.execute("UPDATE chats SET id = 8 WHERE id = 6")
        conn.execute("DELETE FROM messages WHERE id = 70")
        conn.execute("DELETE FROM chats WHERE id <> 9")
        conn.execute("DELETE FROM whole")
        conn.execute("DELETE FROM numbers")
    settle(follower)
    assert [rows_of(pair.target, "resident"), rows_of(pair.target, THEM)] == before
    same(pair, "chats", "messages")


def test_a_row_with_a_residents_key_stops_the_feed_and_spares_the_resident(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenant_lifecycle.errors import FeedError
    from tenant_lifecycle.stores.postgres.feed import apply

    monkeypatch.setattr(apply, "STUCK_ROUNDS", 3)
    pair = make_pair()
    with pair.at_target() as there:
        there.execute("INSERT INTO chats VALUES (7, 'resident', 'mine')")
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats VALUES (7, %s, 'ours')", (US,))
    with pytest.raises(FeedError, match="same key or the same unique value"):
        follower.await_marker(follower.mark(), 20)
    assert rows_of(pair.target, "resident")["public.chats"] == ["(7,resident,mine)"]


def test_rows_owned_over_two_hops_follow_their_parents(make_pair: MakePair) -> None:
    pair = make_pair()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s, 'before'), (2, %s, 'theirs')", (US, THEM))
        conn.execute("INSERT INTO messages VALUES (1, 1, 'before'), (2, 2, 'theirs')")
        pair.copy()
        follower = pair.follower()
        conn.execute("INSERT INTO messages VALUES (3, 1, 'old chat'), (4, 2, 'theirs')")
        conn.execute(
            "INSERT INTO reactions VALUES (1, 3, NULL, ':)'), (2, 4, NULL, ':('), (3, NULL, %s, '!'), (4, NULL, %s, '?')",
            (US, THEM),
        )
        with conn.transaction():
            conn.execute("INSERT INTO chats VALUES (3, %s, 'new')", (US,))
            conn.execute("INSERT INTO messages VALUES (5, 3, 'new')")
            conn.execute("INSERT INTO reactions VALUES (5, 5, 'ignored', 'new')")
        settle(follower)
        same(pair, "chats", "messages", "reactions")
        assert len(pair.rows(pair.target)["public.reactions"]) == 3
        # The first hop wins over the fall-back; taken away, the fall-back decides; given back to nobody, the row goes.
        conn.execute("UPDATE reactions SET message_id = NULL, tenant_id = %s WHERE id = 5", (US,))
        conn.execute("UPDATE reactions SET message_id = 4 WHERE id = 1")
        settle(follower)
        same(pair, "chats", "messages", "reactions")
        assert len(pair.rows(pair.target)["public.reactions"]) == 2
        conn.execute("DELETE FROM chats WHERE id IN (1, 3)")
        settle(follower)
        same(pair, "reactions")
        with pair.at_target() as there:
            assert there.execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_a_parent_deleted_before_its_children_takes_them_along(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s)", (US,))
        conn.execute("INSERT INTO messages VALUES (1, 1), (2, 1)")
        conn.execute("INSERT INTO reactions VALUES (1, 1), (2, 2)")
        settle(follower)
        conn.execute("DELETE FROM messages WHERE id = 1")
        settle(follower)
        with pair.at_target() as there:
            # A resident's reaction whose message has the number of the one that departed.
            there.execute("INSERT INTO reactions VALUES (9, NULL, 'resident', 'stays')")
        conn.execute("INSERT INTO reactions VALUES (9, 1)")
        conn.execute("DELETE FROM reactions WHERE id IN (1, 9)")
        settle(follower)
    with pair.at_target() as there:
        assert there.execute("SELECT id FROM reactions ORDER BY 1").fetchall() == [(2,), (9,)]
    same(pair, "reactions")


@pytest.mark.parametrize("parent_goes_too", [False, True])
def test_a_row_copied_without_its_parent_goes_with_its_delete(
    make_pair: MakePair, parent_goes_too: bool
) -> None:
    """The copy saw the child but not yet the parent; its whole story is replayed in one batch."""
    pair = make_pair()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s)", (US,))
        conn.execute("INSERT INTO messages VALUES (1, 1), (2, 1)")
        with pair.at_target() as there:
            there.execute("SET session_replication_role = replica")
            there.execute("INSERT INTO messages VALUES (1, 1), (2, 1)")
        conn.execute("DELETE FROM messages WHERE id = 1")
        if parent_goes_too:
            conn.execute("DELETE FROM chats")
    follower = pair.follower(apply=False)
    wait_until(lambda: follower.lag().waiting >= 5)
    follower.apply()
    settle(follower)
    with pair.at_target() as there:
        left = [] if parent_goes_too else [(2,)]
        assert there.execute("SELECT id FROM messages").fetchall() == left


def test_children_written_before_their_parent_are_found(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO reactions VALUES (1, 50, NULL, 'early')")
        conn.execute("INSERT INTO chats VALUES (1, %s)", (US,))
        settle(follower)
        conn.execute("INSERT INTO messages VALUES (50, 1, 'late')")
        settle(follower)
        same(pair, "messages", "reactions")
        # In one statement, in either order, although a foreign key exists.
        conn.execute(
            "WITH m AS (INSERT INTO messages SELECT 51, 2 RETURNING id), c AS (INSERT INTO chats VALUES (2, %s)) "
            "INSERT INTO reactions SELECT 2, 51",
            (US,),
        )
        settle(follower)
    same(pair, "messages", "reactions")
    assert len(pair.rows(pair.target)["public.messages"]) == 2


def test_shared_people_are_copied_and_never_overwritten(make_pair: MakePair) -> None:
    pair = make_pair()
    with pair.at_target() as there:
        there.execute("INSERT INTO users VALUES (2, 'resident', 'r@x')")
        there.execute("INSERT INTO members (id, tenant_id, user_id) VALUES (900, 'resident', 2)")
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute(
            "INSERT INTO users VALUES (1, 'only ours'), (2, 'shared there'), (3, 'theirs'), (4, 'shared here')"
        )
        settle(follower)
        with pair.at_target() as there:
            assert there.execute("SELECT count(*) FROM users").fetchone() == (1,)
        conn.execute(
            "INSERT INTO members (id, tenant_id, user_id) VALUES (1, %(u)s, 1), (2, %(u)s, 2), (3, %(t)s, 3), "
            "(4, %(u)s, 4), (5, %(t)s, 4)",
            {"u": US, "t": THEM},
        )
        settle(follower)
        conn.execute("UPDATE users SET email = 'new'")
        settle(follower)
        with pair.at_target() as there:
            assert there.execute("SELECT id, name, email FROM users ORDER BY 1").fetchall() == [
                (1, "only ours", "new"), (2, "resident", "r@x"), (4, "shared here", "new")
            ]  # fmt: skip
        conn.execute("DELETE FROM members WHERE user_id IN (1, 2)")
        settle(follower)
        conn.execute("DELETE FROM users WHERE id IN (1, 2)")
        settle(follower)
    with pair.at_target() as there:
        assert there.execute("SELECT id FROM users ORDER BY 1").fetchall() == [(2,), (4,)]
        assert there.execute("SELECT count(*) FROM members WHERE tenant_id = %s", (US,)).fetchone() == (1,)


def both_ways(pair: Pair) -> tuple[PostgresFollower, PostgresFollower, Pair]:
    back = pair.reversed()
    back.create()
    return pair.follower(), back.follower(), back


def test_two_followers_do_not_echo(make_pair: MakePair) -> None:
    pair = make_pair()
    there, back, _ = both_ways(pair)
    with pair.at_source() as blue, pair.at_target() as green:
        blue.execute(DOCS, {"t": US})
        blue.execute("INSERT INTO logs SELECT %s, 'blue' FROM generate_series(1, 3)", (US,))
        settle(there)
        green.execute("UPDATE docs SET title = 'green' WHERE n < 10")
        green.execute("DELETE FROM docs WHERE n = 20")
        green.execute("INSERT INTO logs SELECT %s, 'green' FROM generate_series(1, 3)", (US,))
        settle(back)
        settle(there)
        settle(back)
        assert there.lag().applied == 1 + 50 + 3
        assert back.lag().applied == 9 + 1 + 3
    same(pair, "docs", "logs")


def test_parents_written_by_the_other_direction_are_known(make_pair: MakePair) -> None:
    """After a rollback the first environment's feed must know chats that were made on the second."""
    pair = make_pair()
    there, back, _ = both_ways(pair)
    with pair.at_source() as blue, pair.at_target() as green:
        green.execute("INSERT INTO chats VALUES (500, %s, 'made on green')", (US,))
        settle(back)
        blue.execute("INSERT INTO messages VALUES (500, 500, 'written on blue')")
        settle(there)
    same(pair, "chats", "messages")


def test_a_neighbours_delete_spares_rows_while_the_target_is_the_writer(make_pair: MakePair) -> None:
    """Numbers of both sides meet: the target's new row has the number of a neighbour's row at the source."""
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as blue, pair.at_target() as green:
        blue.execute("INSERT INTO chats VALUES (77, %s)", (THEM,))
        green.execute(
            "INSERT INTO tenant_lifecycle.fence (tenant, environment, epoch, state) VALUES (%s, 'green', 2, 'ACTIVE')",
            (US,),
        )
        green.execute("INSERT INTO chats VALUES (77, %s, 'new on green')", (US,))
        blue.execute("DELETE FROM chats WHERE id = 77")
        settle(follower)
        assert green.execute("SELECT title FROM chats WHERE id = 77").fetchone() == ("new on green",)


def test_more_keys_than_fit_into_memory_are_kept_on_disk(make_pair: MakePair) -> None:
    pair = make_pair()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats SELECT i, %s FROM generate_series(1, 60) i", (US,))
        conn.execute("INSERT INTO chats SELECT i, %s FROM generate_series(61, 200) i", (THEM,))
        conn.execute(
            "INSERT INTO members (tenant_id, user_id) SELECT %s, mod(i, 30) FROM generate_series(1, 60) i",
            (US,),
        )
        pair.copy()
        follower = pair.follower(keys_in_memory=20)
        assert (pair.folder / "spool" / "keys.sqlite").exists()
        conn.execute("INSERT INTO messages SELECT i, i FROM generate_series(1, 200) i")
        conn.execute("INSERT INTO reactions SELECT i, i FROM generate_series(1, 200) i")
        conn.execute("INSERT INTO users SELECT i, 'u' FROM generate_series(0, 40) i")
        settle(follower)
        same(pair, "messages", "reactions", "users")
        conn.execute("DELETE FROM chats WHERE id % 2 = 0")
        conn.execute("UPDATE chats SET id = id + 1000 WHERE id = 301")
        conn.execute("INSERT INTO reactions SELECT i + 1000, i FROM generate_series(1, 200) i")
        settle(follower)
    same(pair, "chats", "messages", "reactions")
    follower.stop()
    assert not (pair.folder / "spool" / "keys.sqlite").exists()


def test_a_child_that_came_by_the_copy_goes_with_a_parent_that_was_never_on_the_target(
    make_pair: MakePair,
) -> None:
    """The parents were copied, then parent and child were written, then the children were copied. A first driver
    spooled the parent, a second one saw both go, and knew of neither (chaos, seed 147)."""
    pair = make_pair()
    with pair.at_source() as conn, pair.at_target() as there:
        conn.execute("INSERT INTO chats VALUES (9001, %s, 'late')", (US,))
        conn.execute("INSERT INTO messages VALUES (9001, 9001, 'copied')")
        there.execute("SET session_replication_role = replica")
        there.execute("INSERT INTO messages VALUES (9001, 9001, 'copied')")
    first = pair.follower(apply=False)
    marker = first.mark()
    wait_until(lambda: first.lag().waiting >= 2)
    first.stop()
    assert marker
    with pair.at_source() as conn:
        conn.execute("DELETE FROM chats WHERE id = 9001")
    second = pair.follower(apply=False)
    wait_until(lambda: second.lag().waiting >= 4)
    second.apply()
    settle(second)
    with pair.at_target() as there:
        assert there.execute("SELECT count(*) FROM messages WHERE id = 9001").fetchone() == (0,)

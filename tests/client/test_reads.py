"""Reads go to the own environment only when it is known to be fresh enough; a token shows its bearer their write."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from two_environments import A, B, Two

from tenant_lifecycle.client import tenants, tokens
from tenant_lifecycle.client.session import Session
from tenant_lifecycle.client.tenants import ReadSession, TenantClient
from tenant_lifecycle.stores.base import Follower
from tenant_lifecycle.stores.postgres import journal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore


@pytest.fixture
def feed(two: Two, tmp_path: Path) -> Iterator[Follower]:
    """A running feed from blue to green, with the journal open: the middle of a move."""
    stores = {name: PostgresStore(db) for name, db in two.databases.items()}
    feed = two.feed()
    stores["blue"].create_feed(stores["green"], feed)
    journal.open_journal(two.databases["blue"], feed)
    follower = stores["blue"].follow(stores["green"], feed, tmp_path / "spool")
    follower.start()
    follower.apply()
    yield follower
    follower.stop()
    stores["blue"].drop_feed(feed)


def place(client: TenantClient, token: str | None = None, tenant: str = A) -> str:
    return client.read(tenant, lambda reading: reading.environment, token)


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def insert(note: str):
    return lambda session: session.postgres.execute("INSERT INTO docs (t, note) VALUES (%s, %s)", (A, note))


def notes(reading: ReadSession) -> set[str]:
    return {note for (note,) in reading.postgres.execute("SELECT note FROM docs")}


def test_the_writer_reads_at_home(two: Two) -> None:
    assert place(two.client("blue")) == "blue"
    assert place(two.client()) == "blue"
    assert place(two.client("green")) == "blue", "nothing says that green follows"
    assert place(two.client("green"), tenant=B) == "blue"


def test_a_follower_serves_reads_and_a_token_waits_for_it(two: Two, feed: Follower) -> None:
    client = two.client("green", mirror_timeout_s=10.0)
    first = client.write(A, insert("first")).token
    eventually(lambda: place(client) == "green")
    # The token is served there as soon as green has it, without a further write of the tenant.
    eventually(lambda: place(client, first) == "green")
    assert client.read(A, notes, first) == {"first"}


def test_a_token_is_good_although_others_write_in_between(two: Two, feed: Follower) -> None:
    """Their WAL lies between the commit and the position in the token; no change of the tenant ever reaches it."""
    client = two.client("green")
    client.write(A, insert("first"))
    eventually(lambda: place(client) == "green")
    stop = threading.Event()

    def noise() -> None:
        with psycopg.connect(two.databases["blue"].dsn, autocommit=True) as conn:
            while not stop.is_set():
                conn.execute("SELECT pg_logical_emit_message(false, 'noise', 'x')")
                time.sleep(0.02)

    others = threading.Thread(target=noise)
    others.start()
    try:
        # Its position is far behind the last change of the tenant.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tenants, "_behind", lambda *a, real=tenants._behind: (time.sleep(0.1), real(*a))[1])
            token = client.write(A, insert("second")).token
        eventually(lambda: place(client, token) == "green")
    finally:
        stop.set()
        others.join()
    assert client.read(A, notes, token) == {"first", "second"}


def test_who_carries_a_token_reads_their_own_write(two: Two, feed: Follower) -> None:
    client = two.client("green")
    client.write(A, insert("0"))
    eventually(lambda: place(client) == "green")
    places = set()
    for number in range(1, 60):
        token = client.write(A, insert(str(number))).token
        for _ in range(2):
            places.add(place(client, token))
            assert str(number) in client.read(A, notes, token)
        time.sleep(random.uniform(0, 0.01))
    assert "blue" in places, "green was never behind, so nothing was tested"


def test_a_feed_that_stopped_serves_nobody(two: Two, feed: Follower) -> None:
    client = two.client("green")
    client.write(A, insert("first"))
    eventually(lambda: place(client) == "green")
    feed.stop()
    eventually(lambda: place(client) == "blue")


def test_a_failed_mirror_sends_its_writer_to_the_writer(two: Two, feed: Follower) -> None:
    client = two.client("green", mirror_timeout_s=0)
    token = client.write(A, lambda session: (insert("n")(session), session.redis().set("k", 1))).token
    eventually(lambda: place(client) == "green")
    time.sleep(0.3)
    assert place(client, token) == "blue"
    seen = tokens.decode(token, A)
    assert seen is not None and 55 < seen.doubtful_until - time.time() < 62
    past = tokens.Token(seen.environment, seen.epoch, seen.position, int(time.time()) - 1)
    eventually(lambda: place(client, past.encode(A)) == "green")


def test_a_token_of_another_epoch_is_for_the_writer(two: Two, feed: Follower) -> None:
    client = two.client("green")
    client.write(A, insert("n"))
    eventually(lambda: place(client) == "green")
    for token in (
        tokens.Token("blue", 7, 1, 0),
        tokens.Token("green", 1, 1, 0),
        tokens.Token("blue", 1, 2**62, 0),
        tokens.Token("blue", 1, 0, 0),
    ):
        assert place(client, token.encode(A)) == "blue"
    assert client.counts()["tokens_ignored"] == 0


def test_after_a_flip_reads_are_at_the_new_writer(two: Two, feed: Follower) -> None:
    blue, green = two.client("blue"), two.client("green")
    token = blue.write(A, insert("n")).token
    assert place(blue) == "blue"
    eventually(lambda: feed.await_marker(feed.mark(), 5))
    two.flip("blue", "green", 1)
    assert [place(client) for client in (blue, green)] == ["green", "green"]
    assert [client.read(A, notes, token) for client in (blue, green)] == [{"n"}, {"n"}]


def test_damaged_and_forged_tokens_count_as_none(two: Two) -> None:
    client = two.client("blue")
    token = client.write(A, insert("n")).token
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    dice = random.Random(1)
    broken = [token[:n] for n in range(1, len(token))] + [
        token + "A",
        "\0",
        "ü",
        "=",
        "A" * 10_000,
        "../../etc",
    ]
    for _ in range(200):
        at = dice.randrange(len(token))
        broken.append(token[:at] + dice.choice("AZaz09-_") + token[at + 1 :])
    broken = [one for one in broken if one != token]
    for one in broken:
        assert tokens.decode(one, A) in (None, tokens.decode(token, A))  # unused bits of the last character
        assert place(client, one) == "blue"
    assert client.counts()["tokens_ignored"] >= len(broken) - 5
    assert tokens.decode(token, B) is None, "another tenant's"


def test_tokens_keep_what_they_say() -> None:
    token = tokens.Token("grün%\n", 2**40, 2**63, 4_000_000_000)
    for tenant in ("", "a", "\ud800", "租户"):
        assert tokens.decode(token.encode(tenant), tenant) == token


def test_a_reader_finds_the_new_writer_by_itself(two: Two) -> None:
    client = two.client("blue")
    assert place(client) == "blue"
    two.flip("blue", "green", 1)
    assert place(client) == "green"


def test_a_dead_connection_is_replaced(two: Two, databases: dict[str, Database]) -> None:
    client = two.client("blue")
    assert place(client) == "blue"
    with databases["blue"].session() as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def block(session: Session) -> str:
        return session.environment

    assert place(client) == "blue" and client.write(A, block).value == "blue"

"""A repair and the feed write the same rows; neither undoes what the other has brought."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from feed_sample import DOCS, US, MakePair, Pair, same, settle

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Keys
from tenant_lifecycle.stores.postgres import digests, repair
from tenant_lifecycle.stores.postgres.connection import Connection


def suspects(pair: Pair) -> Keys:
    return digests.compare(pair.source, pair.target, TenantId(US), "public.docs", lambda: None).suspects


def titles(pair: Pair) -> list[Any]:
    with pair.at_target() as conn:
        return conn.execute("SELECT title FROM docs WHERE n = 7").fetchall()


@pytest.mark.parametrize(
    "change", ["UPDATE docs SET title = 'newer' WHERE n = 7", "DELETE FROM docs WHERE n = 7"]
)
@pytest.mark.parametrize(
    "damage", ["UPDATE docs SET title = 'wrong' WHERE n = 7", "DELETE FROM docs WHERE n = 7"]
)
def test_a_change_that_comes_during_a_repair_is_not_undone(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch, change: str, damage: str
) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute(DOCS, {"t": US})
    settle(follower)
    with pair.at_target() as conn:
        conn.execute(damage)
    damaged = suspects(pair)
    assert damaged
    write = repair._mend

    def meanwhile(conn: Connection, mendings: Sequence[repair.Mending]) -> int:
        """Between reading and writing: a change at the source, and all the time the feed could need for it."""
        before = titles(pair)
        with pair.at_source() as application:
            application.execute(change)
        end = time.monotonic() + 1.0
        while titles(pair) == before and time.monotonic() < end:
            time.sleep(0.01)
        return write(conn, mendings)

    monkeypatch.setattr(repair, "_mend", meanwhile)
    repair.repair(pair.source, pair.target, pair.feed, damaged)
    settle(follower)
    same(pair, "docs")
    assert suspects(pair) == {}

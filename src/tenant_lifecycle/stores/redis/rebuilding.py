"""Rebuilding a shared stream, so that deleted entries leave its memory and its next file on disk.

XDEL only marks an entry: its bytes stay in the block, in dumps, in RDB and AOF files, as long as a neighbour's
entry keeps the block alive. The survivors are written anew, with the same ids, groups, consumers, pending entries
and expiry, into a key of ours that then takes the stream's name, unless somebody wrote to the stream meanwhile.
"""

from __future__ import annotations

import secrets
from typing import cast

from tenant_lifecycle.errors import StoreBusy, StoreRejected
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.connection import Session, Word
from tenant_lifecycle.stores.redis.ours import Command, token_key
from tenant_lifecycle.stores.redis.pieces import ABANDONED_S, stream_pieces

#: Attempts while others write to the stream.
TRIES = 20


def rebuild_stream(reader: Session, writer: Session, feed: Feed, key: bytes, check: Check) -> None:
    """Replace the stream by itself without what was deleted from it.

    Readers that wait for it are served as before. Deliveries of entries that do not exist any more are forgotten.

    Raises:
        StoreBusy: it is written to all the time.
        Fenced: a newer driver was here.
    """
    for _ in range(TRIES):
        temporary = ours.our_key(feed.tenant, "building", secrets.token_hex(8))
        # Watched and read by one connection, written by another: our own writing does not break the watch.
        reader.call("WATCH", key)
        try:
            if reader.call("TYPE", key) != b"stream":
                return
            if _build(reader, writer, feed, key, temporary, check) and _swap(reader, feed, key, temporary):
                return
        finally:
            if reader.clean:
                reader.call("UNWATCH")
            if writer.clean:
                ours.write(writer, feed, [Command(("UNLINK", temporary), (temporary,))])
    raise StoreBusy(
        f"{reader.store}: a shared stream is written to all the time and cannot be rebuilt", store=reader.store,
        next_step="it is tried again; if it goes on, stop its writers for a second",
    )  # fmt: skip


def _build(reader: Session, writer: Session, feed: Feed, key: bytes, temporary: bytes, check: Check) -> bool:
    """Write the survivors into a key of ours; False: somebody wrote meanwhile, and what was read does not fit."""
    try:
        for piece in stream_pieces(reader, key):
            check()
            commands = [Command((*name.split(), temporary, *words), (temporary,)) for name, *words in piece]
            commands.append(Command(("EXPIRE", temporary, ABANDONED_S), (temporary,)))
            ours.write(writer, feed, commands)
    except StoreRejected:
        if _in_one_step(reader, ("PING",)):
            raise
        return False
    return True


def _swap(session: Session, feed: Feed, key: bytes, temporary: bytes) -> bool:
    """Give the new stream the old one's name, in one step, if nobody wrote; the driver token is watched as well."""
    session.call("WATCH", token_key(feed.tenant))
    # Raises for a newer driver; from here on the watch tells.
    session.call("EVAL", _NEWER, 1, token_key(feed.tenant), feed.token)
    left = session.call("PTTL", key)
    lasting: tuple[Word, ...] = ("PEXPIRE", temporary, left) if left >= 0 else ("PERSIST", temporary)
    return _in_one_step(session, lasting, ("RENAME", temporary, key))


def _in_one_step(session: Session, *commands: tuple[Word, ...]) -> bool:
    """Carry out commands if nothing that is watched was written; whether it was so."""
    replies = session.calls([("MULTI",), *commands, ("EXEC",)])
    return cast("list[object] | None", replies[-1]) is not None


_NEWER = """
local seen = tonumber(redis.call('GET', KEYS[1]) or '-1')
if seen > tonumber(ARGV[1]) then return redis.error_reply('TLFENCED a newer driver token was seen') end
return 0
"""

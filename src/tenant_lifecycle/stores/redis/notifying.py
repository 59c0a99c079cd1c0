"""Whether a server sends the keyspace notifications that hints are made of."""

from __future__ import annotations

import secrets

from redis import exceptions as driver

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.redis.connection import Session, translating
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import OUR_PREFIX

#: Kinds of events that together tell every change: strings, lists, sets, hashes, sorted sets, streams, generic
#: commands, keys that expired, keys that were dropped.
CLASSES = frozenset("$lshztgxe")
CANARY_TIMEOUT_S = 2.0


def check(server: Server) -> None:
    """Make sure that notifications are sent; where the setting may not be read, touch keys of ours and listen.

    Raises:
        StoreRejected: they are not, or only some kinds.
    """
    with server.session() as session:
        try:
            found = session.call("CONFIG", "GET", "notify-keyspace-events")
        except StoreRejected:
            _prove(server, session)
            return
    setting = found[1].decode() if len(found) == 2 else ""
    classes = set(setting) | (CLASSES if "A" in setting else set())
    if "K" not in setting or not classes >= CLASSES:
        raise _lacking(server, f"notify-keyspace-events is {setting!r}")


def _lacking(server: Server, said: str) -> StoreRejected:
    return StoreRejected(
        f"{server.name}: the server does not tell which keys are touched: {said}",
        store=server.name,
        next_step="CONFIG SET notify-keyspace-events KA, and in redis.conf (or the parameter group) for the next start",
    )


def _prove(server: Server, session: Session) -> None:
    """Touch one key of ours of each type and wait until all were told. (Expiry cannot be proven so.)"""
    key = OUR_PREFIX + b"canary:" + secrets.token_hex(8).encode()
    canaries = [
        ("SET", key + b":string", "1"), ("RPUSH", key + b":list", "1"), ("SADD", key + b":set", "1"),
        ("HSET", key + b":hash", "1", "1"), ("ZADD", key + b":zset", 1, "1"), ("XADD", key + b":stream", "*", "1", "1"),
    ]  # fmt: skip
    missing = {words[1] for words in canaries} | {b"del"}
    connection = server.wire.dedicated()
    try:
        with translating(server.name):
            connection.connect()
            connection.send_command("PSUBSCRIBE", b"__keyspace@%d__:%s:*" % (server.wire.database, key))
            connection.read_response(timeout=CANARY_TIMEOUT_S)
            session.calls([*canaries, *(("DEL", words[1]) for words in canaries)])
            while missing and connection.can_read(timeout=CANARY_TIMEOUT_S):
                _, _, channel, event = connection.read_response(timeout=CANARY_TIMEOUT_S)
                missing.discard(event if event == b"del" else channel.partition(b":")[2])
    except driver.ResponseError as exc:
        raise _lacking(server, "it could not be tried") from exc
    finally:
        connection.disconnect()
    if missing:
        raise _lacking(server, "some or all of our own touches were not told")

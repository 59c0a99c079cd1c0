"""Bringing deleted data out of what a server keeps besides its keys: streams' blocks, the slow log, files on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from tenant_lifecycle.errors import StoreBusy, StoreRejected
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.erasing import Erasing, Settled
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.containers import containers
from tenant_lifecycle.stores.redis.incarnation import read_info
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.rebuilding import rebuild_stream
from tenant_lifecycle.stores.redis.scan import glob_below, scan
from tenant_lifecycle.stores.redis.server import Server

#: A server of many gigabytes takes minutes to write its files.
WRITING_S = 1_800.0
_PAUSE_S = 0.05


def settle(server: Server, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:
    """Rebuild shared streams of these sets, empty the slow log, and have files written anew; waits for them.

    Raises:
        StoreBusy: a stream is written to all the time, or the files are not ready within half an hour.
        Fenced: a newer driver was here.
    """
    feed = Feed(erasing.name, erasing.tenant, erasing.token)
    done: list[str] = []
    left: list[str] = []
    with server.session() as reader, server.session() as writer:
        done.append(f"{_streams(server, reader, writer, feed, sets, check)} shared streams rebuilt")
        for area in ("copy", "building", "preview"):
            for keys in scan(reader, glob_below(ours.our_key(feed.tenant, area))):
                check()
                ours.write(writer, feed, [Command(("UNLINK", key), (key,)) for key in keys])
        check()
        for step in (_slow_log, _files, _replicas):
            for is_done, line in step(reader, check):
                (done if is_done else left).append(line)
    return Settled(tuple(done), tuple(left))


def _streams(
    server: Server, reader: Session, writer: Session, feed: Feed, sets: Sequence[str], check: Check
) -> int:
    rebuilt = 0
    for rule in server.whose.shared(feed.tenant):
        if rule.name not in sets:
            continue
        for key, kind in list(containers(reader, rule)):
            if kind == b"stream":
                check()
                rebuild_stream(reader, writer, feed, key, check)
                rebuilt += 1
    return rebuilt


def _slow_log(session: Session, check: Check) -> Iterator[tuple[bool, str]]:  # noqa: ARG001
    """The slow log keeps whole commands, values included."""
    try:
        session.call("SLOWLOG", "RESET")
    except StoreRejected:
        yield (
            False,
            "the slow log may hold values and could not be emptied: allow SLOWLOG RESET, or do it by hand",
        )
    else:
        yield True, "slow log emptied"


def _files(session: Session, check: Check) -> Iterator[tuple[bool, str]]:
    told = read_info(session)
    if told.get("aof_enabled") == "1":
        yield _written(session, check, "BGREWRITEAOF", "aof_rewrite", "append-only file")
    if _has_snapshot(session, told):
        yield _written(session, check, "BGSAVE", "rdb_bgsave", "snapshot")
    elif told.get("aof_enabled") != "1":
        yield True, "the server keeps no files"


def _has_snapshot(session: Session, told: Mapping[str, str]) -> bool:
    """Snapshots are taken by themselves, or one was taken since the start; if it does not say, it has one."""
    try:
        setting = session.call("CONFIG", "GET", "save")
    except StoreRejected:
        return True
    started = time.time() - int(told.get("uptime_in_seconds", "0"))
    saved = int(told.get("rdb_last_save_time", "0")) > started + 1
    return bool(len(setting) == 2 and setting[1]) or saved


def _written(session: Session, check: Check, command: str, name: str, what: str) -> tuple[bool, str]:
    """Have a file written that has nothing of what was deleted, begun after this call."""
    try:
        _wait(session, check, name, what)
        session.call(command)
        told = _wait(session, check, name, what)
    except StoreRejected:
        return (
            False,
            f"the {what} still holds what was deleted: allow {command}, or let the provider write it",
        )
    status = told.get("aof_last_bgrewrite_status" if name == "aof_rewrite" else "rdb_last_bgsave_status")
    if status != "ok":
        return False, f"writing the {what} anew failed ({status}); see the server's log"
    return True, f"{what} written anew"


def _wait(session: Session, check: Check, name: str, what: str) -> Mapping[str, str]:
    """Until no writing is under way or waiting for its turn."""
    end = time.monotonic() + WRITING_S
    while True:
        told = read_info(session)
        scheduled = told.get("aof_rewrite_scheduled") if name == "aof_rewrite" else "0"
        if told.get(f"{name}_in_progress") == "0" and scheduled != "1":
            return told
        if time.monotonic() > end:
            raise StoreBusy(
                f"{session.store}: the {what} is not written within {WRITING_S:g} s", store=session.store
            )
        check()
        time.sleep(_PAUSE_S)


def _replicas(session: Session, check: Check) -> Iterator[tuple[bool, str]]:  # noqa: ARG001
    count = int(read_info(session).get("connected_slaves", "0"))
    if count:
        yield (
            False,
            f"{count} replicas got the deletions, and keep files and slow logs of their own: write them anew there "
            "(BGREWRITEAOF, BGSAVE, SLOWLOG RESET)",
        )

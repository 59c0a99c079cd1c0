"""Which life a server lives: a new one may have lost writes that it had accepted."""

from __future__ import annotations

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.server import Server


def incarnation(session: Session) -> str:
    """Changes with a restart (run_id), with another server behind the same address, and with a fail-over.

    It may also change without a loss: a server whose replicas were away for an hour takes a new replication id.

    Raises:
        StoreRejected: something between us and the server hides who it is.
    """
    facts = read_info(session)
    run = facts.get("run_id", "")
    if not run:
        raise StoreRejected(
            f"{session.store}: INFO does not tell the server's run_id, so a restart could not be seen",
            store=session.store,
            next_step="connect to the server itself, not through a proxy that hides it",
        )
    return "/".join((run, facts.get("master_replid", ""), facts.get("role", "")))


def same(here: Server, there: Server) -> bool:
    """Whether two addresses lead to one database of one running server.

    Raises:
        StoreRejected: as `incarnation`.
    """
    with here.session() as first, there.session() as second:
        one_server = incarnation(first) == incarnation(second)
    return one_server and here.wire.database == there.wire.database


def read_info(session: Session) -> dict[str, str]:
    """Everything INFO tells, by name; loaded modules as ``module:NAME``."""
    told: dict[str, str] = {}
    for line in session.call("INFO", "everything").decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if name == "module":
            told["module:" + value.removeprefix("name=").partition(",")[0]] = value
        elif colon and not name.startswith("#"):
            told[name] = value
    return told

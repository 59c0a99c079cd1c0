"""Whether a server can do what this product needs: one finding per need, with what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, unanswered
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.facts import check_server, read_facts
from tenant_lifecycle.stores.redis.scripts import DIGESTS
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.verdicts import fine, refuse


def probe(server: Server) -> list[Finding]:
    """Everything this product needs from the server; never raises for what it finds."""
    subject = server.name
    try:
        with server.session() as session:
            facts = read_facts(session)
            return [
                fine(subject, "redis.reachable", f"answers, database {server.wire.database}"),
                *check_server(facts, subject),
                *check_scripts(session, subject),
            ]
    except StoreError as exc:
        return [unanswered("redis.reachable", exc)]


def check_scripts(session: Session, subject: str) -> Iterator[Finding]:
    """Everything here is done by scripts; run one that reads nothing."""
    try:
        session.run(DIGESTS, [], [0, 0, ""])
    except StoreError as exc:
        yield refuse(
            subject, "redis.scripts", f"it does not run scripts: {str(exc).removeprefix(f'{subject}: ')}",
            "ACL SETUSER ... +eval +evalsha, and +@read +@write ~* for the user of this url",
        )  # fmt: skip
    else:
        yield fine(subject, "redis.scripts", "it runs scripts")

"""What to know before a tenant is erased here, and whether the verifier's credentials see everything."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.facts import Facts, read_facts
from tenant_lifecycle.stores.redis.incarnation import read_info
from tenant_lifecycle.stores.redis.inventory import Census, census
from tenant_lifecycle.stores.redis.probe import check_scripts
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.verdicts import fine, refuse, warn


def erasure_findings(server: Server, tenant: TenantId) -> list[Finding]:
    """Refusals and what an approver has to know; walks over all keys, and changes nothing."""
    subject = server.name
    try:
        with server.session() as session:
            found = census(server, session, tenant)
            facts = read_facts(session)
            return [
                *check_scripts(session, subject), *_unmapped(subject, found),
                *_server(facts, subject), *_copies(session, subject), *_databases(session, server),
            ]  # fmt: skip
    except StoreError as exc:
        said = str(exc).removeprefix(f"{subject}: ")
        return [refuse(subject, "redis.reachable", said, exc.next_step or "tenantctl doctor")]


def _unmapped(subject: str, found: Census) -> Iterator[Finding]:
    if found.unmapped:
        yield refuse(
            subject, "redis.unmapped", found.unmapped_sentence(),
            "add a family, a shared container, or a global template to ownership.yaml",
        )  # fmt: skip
    else:
        yield fine(subject, "redis.unmapped", "every key is mentioned in the ownership map")


def _server(facts: Facts, subject: str) -> Iterator[Finding]:
    if facts.cluster:
        yield refuse(
            subject, "redis.cluster", "it is part of a cluster, and this version erases on single servers only",
            "erase there by other means, and record it",
        )  # fmt: skip
    if facts.role != "master":
        yield refuse(
            subject, "redis.read-only", f"its role is {facts.role or 'unknown'}: it accepts no writes",
            "point the url at the primary",
        )  # fmt: skip


def _copies(session: Session, subject: str) -> Iterator[Finding]:
    count = int(read_info(session).get("connected_slaves", "0"))
    if count:
        yield warn(
            subject, "redis.replicas", f"{count} replicas keep files and slow logs of their own",
            "have them write their files anew when the keys are gone",
        )  # fmt: skip


def _databases(session: Session, server: Server) -> Iterator[Finding]:
    told = session.call("INFO", "keyspace").decode("utf-8", "replace").splitlines()
    own = f"db{server.wire.database}:"
    others = [line for line in told if line.startswith("db") and not line.startswith(own)]
    if others:
        yield warn(
            server.name, "redis.databases",
            f"{len(others)} other databases of the server have keys: they are searched, and not erased by this store",
            "declare a store for each database that tenants use",
        )  # fmt: skip


def verifier_findings(server: Server) -> list[Finding]:
    """Whether the credentials can read every key of every type, and the slow log."""
    subject = server.name
    try:
        with server.session() as session:
            return [
                fine(subject, "redis.reachable", "answers"),
                *_sight(session, subject),
                *_user(session, subject),
            ]
    except StoreError as exc:
        said = str(exc).removeprefix(f"{subject}: ")
        return [refuse(subject, "redis.reachable", said, exc.next_step or "check the url of this store")]


#: Commands of the search, with arguments that name nothing.
_NEEDED = (
    ("SCAN", 0, "COUNT", 1), ("INFO", "keyspace"), ("SLOWLOG", "LEN"), ("CLIENT", "LIST"), ("ACL", "LIST"),
    ("TYPE", "tenant_lifecycle:none"), ("DUMP", "tenant_lifecycle:none"), ("GETRANGE", "tenant_lifecycle:none", 0, 0),
    ("MEMORY", "USAGE", "tenant_lifecycle:none"), ("LRANGE", "tenant_lifecycle:none", 0, 0),
    ("SSCAN", "tenant_lifecycle:none", 0), ("ZSCAN", "tenant_lifecycle:none", 0),
    ("HSCAN", "tenant_lifecycle:none", 0), ("XRANGE", "tenant_lifecycle:none", "-", "+"),
)  # fmt: skip


def _sight(session: Session, subject: str) -> Iterator[Finding]:
    missing = []
    for words in _NEEDED:
        try:
            session.call(*words)
        except StoreRejected:
            missing.append(str(words[0]))
    if missing:
        yield refuse(
            subject, "redis.verifier-rights", f"the verifier's user may not use {', '.join(missing)}",
            "ACL SETUSER ... ~* +@read +@slow +scan +info +slowlog +client|list +acl|list +memory +select",
        )  # fmt: skip
    else:
        yield fine(subject, "redis.verifier-rights", "every kind of value can be read")


def _user(session: Session, subject: str) -> Iterator[Finding]:
    """A user that sees some keys only would find nothing in the others."""
    try:
        name = session.call("ACL", "WHOAMI")
        told = session.call("ACL", "GETUSER", name)
    except StoreRejected:
        yield warn(
            subject, "redis.verifier-keys", "it does not say which keys the verifier's user may read",
            "allow ACL WHOAMI and ACL GETUSER",
        )  # fmt: skip
        return
    rules = dict(zip(told[::2], told[1::2], strict=True))
    keys, flags = rules.get(b"keys", b""), rules.get(b"flags", [])
    seen = keys.split() if isinstance(keys, bytes) else keys
    if b"allkeys" not in flags and b"~*" not in seen and b"*" not in seen:
        yield refuse(
            subject,
            "redis.verifier-keys",
            "the verifier's user may read some keys only",
            "ACL SETUSER ... ~*",
        )
    elif b"+@all" in rules.get(b"commands", b"") or b"allcommands" in flags:
        yield warn(
            subject, "redis.verifier-writes", "the verifier's user may also write and delete",
            "give the verifier a user of its own: -@all +@read and what tenantctl doctor names",
        )  # fmt: skip
    else:
        yield fine(
            subject, "redis.verifier-keys", "the verifier's user reads all keys and has not all commands"
        )

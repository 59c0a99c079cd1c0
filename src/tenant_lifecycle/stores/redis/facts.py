"""What a server tells about itself, and the findings that need nothing but that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.incarnation import read_info
from tenant_lifecycle.stores.redis.verdicts import fine, refuse, warn

OLDEST = (6, 2)
#: Keys expire at a moment; with clocks further apart than this, that is noticed.
CLOCK_SKEW_S = 1.0


@dataclass(frozen=True, slots=True)
class Facts:
    """One server at one moment."""

    #: ``redis`` or ``valkey``.
    product: str
    version: str
    run_id: str
    role: str
    cluster: bool
    #: An append-only file, or snapshots that are taken by themselves; None: it does not say.
    persists: bool | None
    #: Bytes; 0: no limit.
    maxmemory: int
    used_memory: int
    policy: str
    #: Seconds its clock is ahead of this machine's.
    skew_s: float
    #: Modules that bring types of their own, by name.
    modules: frozenset[str]

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version."""
        major, _, rest = self.version.partition(".")
        minor = rest.partition(".")[0]
        return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)

    @property
    def dumps(self) -> int:
        """Version of the format its dumps have, as far as we know; a newer one is not understood by an older server."""
        known = _VALKEY_DUMPS if self.product == "valkey" else _REDIS_DUMPS
        return max((dumps for number, dumps in known if number <= self.number), default=0)


_REDIS_DUMPS = (((5, 0), 9), ((7, 0), 10), ((7, 2), 11), ((7, 4), 12), ((8, 0), 12))
_VALKEY_DUMPS = (((7, 2), 11), ((9, 0), 80))


def read_facts(session: Session) -> Facts:
    """Ask the server."""
    before = time.time()
    (seconds, micros) = session.call("TIME")
    skew = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    told = read_info(session)
    return Facts(
        product="valkey" if "valkey_version" in told else "redis",
        version=told.get("valkey_version") or told.get("redis_version", ""),
        run_id=told.get("run_id", ""),
        role=told.get("role", ""),
        cluster=told.get("cluster_enabled") == "1" or told.get("redis_mode") == "cluster",
        persists=True if told.get("aof_enabled") == "1" else _snapshots(session),
        maxmemory=int(told.get("maxmemory", "0")),
        used_memory=int(told.get("used_memory", "0")),
        policy=told.get("maxmemory_policy", "noeviction"),
        skew_s=skew,
        modules=frozenset(name.removeprefix("module:") for name in told if name.startswith("module:")),
    )


def _snapshots(session: Session) -> bool | None:
    """Whether snapshots are taken by themselves; None: it may not be asked."""
    try:
        found = session.call("CONFIG", "GET", "save")
    except StoreRejected:
        return None
    return len(found) == 2 and found[1] != b""


def check_server(facts: Facts, subject: str) -> Iterator[Finding]:
    """What every server needs, on either side: a move may be taken back at any time."""
    if facts.number < OLDEST:
        yield refuse(
            subject,
            "redis.version",
            f"{facts.product} {facts.version} is older than 6.2",
            "upgrade the server",
        )
    else:
        yield fine(subject, "redis.version", f"{facts.product} {facts.version}")
    if facts.cluster:
        yield refuse(
            subject, "redis.cluster", "it is part of a cluster, and this version moves keys between single servers only",
            "move this store by other means, or let the tenant's keys live on a server without cluster mode",
        )  # fmt: skip
    if facts.role != "master":
        yield refuse(
            subject, "redis.read-only", f"its role is {facts.role or 'unknown'}: it accepts no writes",
            "point the url at the primary",
        )  # fmt: skip
    if facts.persists is False:
        yield warn(
            subject, "redis.persistence", "neither an append-only file nor snapshots: a restart loses every key",
            "CONFIG SET appendonly yes, unless everything here can be made again",
        )  # fmt: skip
    elif facts.persists is None:
        yield warn(subject, "redis.persistence", "it does not say whether keys survive a restart")
    else:
        yield fine(subject, "redis.persistence", "keys are kept on disk")
    if facts.maxmemory and facts.policy.startswith("allkeys-"):
        yield warn(
            subject, "redis.eviction",
            f"when its memory is full it drops keys that do not expire (maxmemory-policy {facts.policy})",
            "CONFIG SET maxmemory-policy noeviction or a volatile one",
        )  # fmt: skip
    else:
        yield fine(subject, "redis.eviction", f"no key without expiry is dropped ({facts.policy})")
    if facts.number >= ((9, 0) if facts.product == "valkey" else (7, 4)):
        yield warn(
            subject, "redis.field-expiry",
            "fields of hashes may expire by themselves here: dumps carry that, but values above 4 MiB lose it, "
            "and the comparison does not look at it",
            "do not rely on HEXPIRE for a tenant that is moved",
        )  # fmt: skip
    if abs(facts.skew_s) > CLOCK_SKEW_S:
        yield warn(
            subject, "redis.clock",
            f"its clock is {abs(facts.skew_s):.1f} s {'ahead of' if facts.skew_s > 0 else 'behind'} this machine's; "
            "keys expire at a moment, not after a time",
            "synchronise both with NTP",
        )  # fmt: skip

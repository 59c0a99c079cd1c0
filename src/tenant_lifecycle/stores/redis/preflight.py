"""Every reason not to move a tenant from one Redis server to another, found before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, unanswered
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.redis.facts import Facts, check_server, read_facts
from tenant_lifecycle.stores.redis.inventory import Census, census
from tenant_lifecycle.stores.redis.probe import check_scripts
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.verdicts import fine, refuse, warn

#: Room on the target beyond the tenant's own bytes.
SPARE = 1.2


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the move, looked at once."""

    server: Server
    facts: Facts
    census: Census

    @property
    def name(self) -> str:
        return self.server.name


def preflight(source: Server, target: Server, tenant: TenantId) -> list[Finding]:
    """All findings about moving the tenant; walks over all keys of both sides, and changes nothing.

    Which other tenants' keys a template would take as well cannot be told from keys; `stores.overlapping` asks the rules.
    """
    found: list[Finding] = []
    sides: list[Side] = []
    for server in (source, target):
        try:
            with server.session() as session:
                facts = read_facts(session)
                found += [*check_server(facts, server.name), *check_scripts(session, server.name)]
                # The source's ids say whose a key is on both sides.
                whose = Server(server.name, server.environment, server.wire, source.whose)
                sides.append(Side(server, facts, census(whose, session, tenant)))
        except StoreError as exc:
            return [*found, unanswered("redis.reachable", exc)]
    here, there = sides
    return [
        *found, *_same_place(here, there), *_unmapped(here), *_unmapped(there), *_occupied(there, tenant),
        *_room(here, there), *_dumps(here, there),
    ]  # fmt: skip


def _same_place(here: Side, there: Side) -> Iterator[Finding]:
    if here.facts.run_id and here.facts.run_id == there.facts.run_id:
        same = here.server.wire.database == there.server.wire.database
        if same:
            yield refuse(
                there.name, "redis.same-server", f"it is the same database of the same server as {here.name}",
                "give the environments servers of their own",
            )  # fmt: skip
        else:
            yield warn(
                there.name, "redis.same-server", f"it is another database of the same server as {here.name}"
            )


def _unmapped(side: Side) -> Iterator[Finding]:
    """Closed world: a key that nobody was named for may be the tenant's."""
    if side.census.unmapped:
        yield refuse(
            side.name, "redis.unmapped", side.census.unmapped_sentence(),
            "add a family, or a global template, to this store's section in ownership.yaml",
        )  # fmt: skip
    else:
        yield fine(side.name, "redis.unmapped", "every key is mentioned in the ownership map")


def _occupied(there: Side, tenant: TenantId) -> Iterator[Finding]:
    """The target must hold no key of the tenant: also one of a family that is not moved would be served there."""
    if there.census.items:
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(there.census.items.items()))
        yield refuse(
            there.name, "redis.target-occupied", f"keys of tenant {tenant!r} are here: {counts}",
            "an earlier move that was not completed or aborted? Its abort removes them: tenantctl op list",
        )  # fmt: skip
    else:
        yield fine(there.name, "redis.target-occupied", f"no keys of tenant {tenant!r}")


def _room(here: Side, there: Side) -> Iterator[Finding]:
    needed = int(SPARE * sum(map(here.census.estimated_bytes, here.census.items)))
    free = there.facts.maxmemory - there.facts.used_memory
    if there.facts.maxmemory and needed > free:
        yield refuse(
            there.name, "redis.memory",
            f"the tenant needs about {needed / 2**20:.0f} MiB and {max(0, free) / 2**20:.0f} MiB are left (maxmemory)",
            "raise maxmemory on the target",
        )  # fmt: skip
    else:
        yield fine(there.name, "redis.memory", f"there is room for about {needed / 2**20:.1f} MiB")


def _dumps(here: Side, there: Side) -> Iterator[Finding]:
    """In both directions: a move may be taken back."""
    for one, other in ((here, there), (there, here)):
        if one.facts.dumps > other.facts.dumps:
            yield warn(
                other.name, "redis.dump-version",
                f"it is older than {one.name} ({one.facts.version}) and does not understand its dumps: "
                "values are carried over piece by piece, which takes longer",
                "run the same version on both sides",
            )  # fmt: skip
        if missing := one.facts.modules - other.facts.modules:
            yield warn(
                other.name, "redis.modules",
                f"it lacks modules that {one.name} has: {', '.join(sorted(missing))}; values of their types cannot move",
                "load the same modules on both sides",
            )  # fmt: skip

"""Blue and green as the client's tests use them: a tenant armed in both, feeds, flips, and what is where."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psycopg
import redis

from tenant_lifecycle.client.environment import Environment
from tenant_lifecycle.client.tenants import TenantClient
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, OwnershipMap
from tenant_lifecycle.stores.base import Feed, FenceState, Touch
from tenant_lifecycle.stores.postgres import fence, journal, ours
from tenant_lifecycle.stores.postgres.database import Database

A, B = TenantId("it's; a %s"), TenantId("b")
MAP = OwnershipMap({TableName("public", "docs"): Direct("t")})
TwoSides = dict[str, Environment]
FORWARD = "op_fwd"
OTHER = {"blue": "green", "green": "blue"}


@dataclass
class Two:
    """The pair; ``redis`` are clients for looking, and what the tested client is given."""

    databases: dict[str, Database]
    redis: dict[str, redis.Redis]
    clients: list[TenantClient] = field(default_factory=list)

    def arm(self, tenant: TenantId) -> None:
        fence.arm(self.databases["blue"], tenant, FenceState.ACTIVE, 1, None)
        fence.arm(self.databases["green"], tenant, FenceState.STANDBY, 0, "blue")

    def feed(self, source: str = "blue", tenant: TenantId = A) -> Feed:
        return Feed(f"op_{source}", tenant, 1)

    def open_journal(self, source: str = "blue", tenant: TenantId = A) -> Feed:
        """Open it, and have the other side look like the feed's target."""
        feed = self.feed(source, tenant)
        journal.open_journal(self.databases[source], feed)
        with self.databases[OTHER[source]].session() as conn:
            ours.register_lane(conn, ours.Writer(feed.name, tenant, 1), "stream")
        return feed

    def environments(self) -> TwoSides:
        return {name: Environment(db.dsn, {"redis": self.redis[name]}) for name, db in self.databases.items()}

    def client(
        self, local: str | None = None, environments: TwoSides | None = None, **options
    ) -> TenantClient:
        client = TenantClient(environments or self.environments(), "blue", local, **options)
        self.clients.append(client)
        return client

    def entries(self, source: str = "blue", store: str = "redis", tenant: TenantId = A) -> list[Touch]:
        return journal.touched(self.databases[source], self.feed(source, tenant), store, 100_000)

    def flip(self, source: str, target: str, epoch: int, pause_s: float = 0.0) -> None:
        ticket = fence.fence(self.databases[source], A, epoch, 5.0, 5.0)
        assert fence.commit_move(self.databases[source], A, ticket, target)
        time.sleep(pause_s)
        fence.activate(self.databases[target], A, epoch + 1)

    def notes(self, side: str) -> set[str]:
        with psycopg.connect(self.databases[side].dsn) as conn:
            return {note for (note,) in conn.execute("SELECT note FROM docs")}

    def close(self) -> None:
        for client in self.clients:
            client.close()


def warm(client: TenantClient, tenant: str = A, store: str = "redis") -> None:
    """Let the client learn where to mirror: the first block asks, later ones know."""
    until = time.monotonic() + 20
    while not client.counts()["keys_mirrored"]:
        assert time.monotonic() < until, client.counts()
        client.write(tenant, lambda session: session.redis(store).set("warm", 1))
        time.sleep(0.02)

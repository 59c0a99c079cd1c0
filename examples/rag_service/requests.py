"""One request of a client: whose it is, and whether it was done before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from rag_service.statements import run


class Refused(Exception):
    """The client asked for something that is not there or not allowed; nothing was changed."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Request:
    """A request that writes.

    With an idempotency key it is done once, however often it is sent: the key is remembered in the
    transaction that does it.
    """

    tenant: str
    #: ``CLIENT-NUMBER`` from the header ``idempotency-key``; None: every sending is a request of its own.
    key: tuple[int, int] | None
    #: Which of the tenant's programs sends it, for the counters.
    client: str = "web"

    @property
    def ref(self) -> str:
        """The key as text; empty without one."""
        return "" if self.key is None else f"{self.key[0]}-{self.key[1]}"

    def done(self, conn: psycopg.Connection[Any]) -> bool:
        """Whether it was done before; waits for another sending of it that is under way."""
        if self.key is None:
            return False
        who = {"tenant": self.tenant, "client": self.key[0], "number": self.key[1]}
        run(conn, "lock request", **{name: str(value) for name, value in who.items()})
        return run(conn, "request done", **who).fetchone() is not None

    def remember(self, conn: psycopg.Connection[Any], kind: str) -> None:
        """It is done when this transaction is."""
        if self.key is not None:
            run(
                conn,
                "remember request",
                tenant=self.tenant,
                client=self.key[0],
                number=self.key[1],
                kind=kind,
            )

"""Bulk writes of one tenant at a fixed number of row changes a second, for measuring lag."""

from __future__ import annotations

from uuid import uuid4

from tenant_lifecycle.sandbox.ledger import Do, Effect
from tenant_lifecycle.sandbox.writes import Statement, Write

#: Row changes in one transaction: half inserts, a quarter updates, a quarter deletes once it is under way.
BATCH = 400


class Burst:
    """Transactions of about `BATCH` row changes on the messages of one conversation.

    Each inserts a batch, updates half of the batch before it and deletes half of the one before that; the
    ledger follows the number of rows and the sum of a column.
    """

    def __init__(self, tenant: str, writer: int, collection: str, rows_per_s: int) -> None:
        self.interval_s = BATCH / rows_per_s
        self._tenant = tenant
        self._writer = writer
        self._collection = collection
        self._conversation = str(uuid4())
        #: Batches whose insert was acknowledged and that were not touched since.
        self._fresh: list[int] = []
        self._updated: list[int] = []
        self._batch = 0

    def next(self) -> Write:
        """The next transaction."""
        self._batch += 1
        batch, half = self._batch, BATCH // 2
        values = {"conversation": self._conversation, "collection": self._collection,
                  "prefix": f"burst-{self._writer}-", "batch": batch, "count": half}  # fmt: skip
        statements: list[Statement] = [(_CONVERSATION, values), (_INSERT, values)]
        rows, added, tokens = half, half, half
        update = self._fresh[0] if self._fresh else None
        delete = self._updated[0] if self._updated else None
        if update is not None:
            statements.append((_UPDATE, {**values, "batch": update}))
            rows, tokens = rows + half // 2, tokens + half // 2
        if delete is not None:
            # The upper half, which was not updated: one token each.
            statements.append((_DELETE, {**values, "batch": delete}))
            rows, added, tokens = rows + half // 2, added - half // 2, tokens - half // 2
        key = {"conversation": self._conversation}
        effects = (
            Effect(Do.ADD, "burst_rows", key, count=added),
            Effect(Do.ADD, "burst_tokens", key, count=tokens),
        )

        def done() -> None:
            if delete is not None:
                self._updated.remove(delete)
            if update is not None:
                self._fresh.remove(update)
                self._updated.append(update)
            self._fresh.append(batch)

        def forget() -> None:
            self._fresh = [one for one in self._fresh if one != update]
            self._updated = [one for one in self._updated if one != delete]

        return Write("burst", tuple(statements), effects, done, forget, rows)


_CONVERSATION = """INSERT INTO conversations (id, collection_id, title) VALUES (%(conversation)s, %(collection)s, 'burst')
ON CONFLICT (id) DO NOTHING"""
_INSERT = """INSERT INTO messages (conversation_id, client_ref, role, content, tokens)
SELECT %(conversation)s, %(prefix)s || %(batch)s || '-' || n, 'assistant', 'Part ' || n || ' of a long answer.', 1
FROM generate_series(1, %(count)s) n"""
_UPDATE = """UPDATE messages SET tokens = tokens + 1 WHERE client_ref = ANY (
ARRAY(SELECT %(prefix)s || %(batch)s || '-' || n FROM generate_series(1, %(count)s / 2) n))"""
_DELETE = """DELETE FROM messages WHERE client_ref = ANY (
ARRAY(SELECT %(prefix)s || %(batch)s || '-' || n FROM generate_series(%(count)s / 2 + 1, %(count)s) n))"""

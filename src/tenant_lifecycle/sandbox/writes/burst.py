"""Bulk writes of one tenant at a fixed number of row changes a second, for measuring lag."""

from __future__ import annotations

from uuid import uuid4

from tenant_lifecycle.sandbox.writes.write import Write

#: Row changes in one transaction: half inserts, a quarter updates, a quarter deletes once it is under way.
BATCH = 400


class Burst:
    """Transactions of `BATCH` row changes on the messages of one conversation.

    Each inserts a batch, updates the first half of the batch before and deletes the other half of the one
    before that; the ledger follows the number of rows and the sum of a column.
    """

    def __init__(self, writer: int, collection: str, rows_per_s: int) -> None:
        self.interval_s = BATCH / rows_per_s
        self._writer = writer
        self._collection = collection
        self._conversation = str(uuid4())
        self._batch = 0
        #: Batches whose insert was acknowledged and that were not touched since.
        self._fresh: list[int] = []
        #: Those whose first half was updated.
        self._updated: list[int] = []

    def next(self) -> Write:
        """The next transaction."""
        self._batch += 1
        batch, half = self._batch, BATCH // 2
        update = self._fresh[0] if self._fresh else None
        delete = self._updated[0] if self._updated else None
        write = Write("burst", rows=half)
        write.run("burst conversation", conversation=self._conversation, collection=self._collection)
        self._run(write, "burst insert", batch)
        added, tokens = half, half
        if update is not None:
            self._run(write, "burst update", update)
            tokens += half // 2
        if delete is not None:
            # The other half was not updated: one token each.
            self._run(write, "burst delete", delete)
            added, tokens = added - half // 2, tokens - half // 2
        write.rows += half // 2 * ((update is not None) + (delete is not None))
        write.add("burst_rows", {"conversation": self._conversation}, added)
        write.add("burst_tokens", {"conversation": self._conversation}, tokens)

        def forget() -> None:
            self._fresh = [one for one in self._fresh if one != update]
            self._updated = [one for one in self._updated if one != delete]

        def done() -> None:
            forget()
            self._fresh.append(batch)
            if update is not None:
                self._updated.append(update)

        write.done, write.forget = done, forget
        return write

    def _run(self, write: Write, statement: str, batch: int) -> None:
        write.run(
            statement,
            conversation=self._conversation,
            prefix=f"burst-{self._writer}-",
            batch=batch,
            count=BATCH // 2,
        )

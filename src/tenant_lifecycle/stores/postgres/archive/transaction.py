"""The ops of one transaction of the source until it is complete; a large one lies on disk meanwhile."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tenant_lifecycle.model.backup.items import Frame, Op, Upsert
from tenant_lifecycle.model.names import TenantId

#: Ops of more bytes than this go to disk.
PIECE_BYTES = 8 << 20
#: Positions inside of a commit record: none is shorter.
_POSITIONS = 32
#: What an op costs besides its cells.
_OP_BYTES = 200

_Ops = dict[str, list[Op]]


class Transaction:
    """Collects ops by tenant, in order; `frames` gives them out once, piece by piece."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ops: _Ops = {}
        self._bytes = 0
        self._spool: tempfile._TemporaryFileWrapper[bytes] | None = None
        self._pieces = 0

    def add(self, tenant: str, op: Op) -> None:
        self._ops.setdefault(tenant, []).append(op)
        self._bytes += _OP_BYTES
        if isinstance(op, Upsert):
            self._bytes += sum(len(cell) for cell in op.cells if isinstance(cell, bytes))
        if self._bytes > PIECE_BYTES:
            self._put_away()

    def _put_away(self) -> None:
        if self._spool is None:
            self._spool = tempfile.NamedTemporaryFile(dir=self._folder, prefix="large-")  # noqa: SIM115
        pickle.dump(self._ops, self._spool, pickle.HIGHEST_PROTOCOL)
        self._pieces += 1
        self._ops, self._bytes = {}, 0

    def close(self) -> None:
        """Forget everything."""
        if self._spool is not None:
            self._spool.close()

    def frames(self, commit: int, at_us: int, xid: int) -> Iterator[list[tuple[TenantId, Frame]]]:
        """Pieces of about `PIECE_BYTES` (of more, where there would be too many); a tenant once in each.

        Their positions lie inside of the commit record, behind its beginning: where the record before it ends, an
        earlier stretch of the log may end. They have the same moment.
        """
        together = -(-(self._pieces + 1) // _POSITIONS)
        waiting: _Ops = {}
        number = count = 0
        for ops in self._each():
            for tenant, some in ops.items():
                waiting.setdefault(tenant, []).extend(some)
            count += 1
            if count == together:
                yield _framed(waiting, commit + 1 + number, at_us, xid)
                waiting, count, number = {}, 0, number + 1
        if waiting:
            yield _framed(waiting, commit + 1 + number, at_us, xid)
        self.close()

    def _each(self) -> Iterator[_Ops]:
        if self._spool is not None:
            self._spool.seek(0)
            for _ in range(self._pieces):
                yield pickle.load(self._spool)
        yield self._ops


def _framed(ops: _Ops, position: int, at_us: int, xid: int) -> list[tuple[TenantId, Frame]]:
    return [
        (TenantId(tenant), Frame(position, at_us, tuple(some), xid)) for tenant, some in ops.items() if some
    ]

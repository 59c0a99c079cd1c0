"""Making one key of the target equal to the source's: state, version by version, and never over a newer one.

The target is read before the source, and every write says which ETag it expects to find there. A driver that
slept in between, or met another writer, is refused by the target (412), reads both again and decides again.
"""

from __future__ import annotations

from dataclasses import dataclass

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.s3.bucket import Expected
from tenant_lifecycle.stores.s3.connection import Absent, Changed
from tenant_lifecycle.stores.s3.listing import stack
from tenant_lifecycle.stores.s3.sameness import Sides
from tenant_lifecycle.stores.s3.stack import Marker, Plan, Stack, Version, plan, plan_current
from tenant_lifecycle.stores.s3.token import Guard
from tenant_lifecycle.stores.s3.transfer import Ways, bring

#: How often a key is read again when somebody writes it at the same time.
ATTEMPTS = 6


@dataclass(frozen=True)
class Carrier:
    """Carries keys of one tenant from one bucket to another."""

    sides: Sides
    ways: Ways
    guard: Guard
    #: Versions are carried, not only the current state.
    history: bool

    def carry(self, key: str) -> tuple[int, int]:
        """Make the target's key equal to the source's; return writes made and bytes brought.

        Raises:
            Fenced: a newer driver was here.
            StoreBusy: somebody writes the key all the time.
        """
        writes = size = 0
        for _ in range(ATTEMPTS):
            there = stack(self.sides.target, key, history=self.history)
            here = stack(self.sides.source, key, history=self.history)
            try:
                made, brought = self._make_equal(here, there)
                return writes + made, size + brought
            except (Absent, Changed):
                continue
        raise StoreBusy(
            f"{self.sides.target.store}: an object changes all the time",
            store=self.sides.target.store, next_step="it is tried again",
        )  # fmt: skip

    def drop(self, key: str) -> int:
        """Delete the target's current object, whatever the source has; return how many writes that took."""
        for _ in range(ATTEMPTS):
            there = stack(self.sides.target, key, history=self.history)
            try:
                return self._apply(there, there, Plan(delete=there.live))[0]
            except Changed:
                continue
        raise StoreBusy(
            f"{self.sides.target.store}: an object changes all the time", store=self.sides.target.store
        )

    def _make_equal(self, here: Stack, there: Stack) -> tuple[int, int]:
        decide = plan if self.history else plan_current
        todo = decide(here, there, self.sides.same(here.key))
        if not todo.empty:
            return self._apply(here, there, todo)
        if here.current is not None and there.current is not None:
            return self._retag(here.key, here.current, there.current), 0
        return 0, 0

    def _apply(self, here: Stack, there: Stack, todo: Plan) -> tuple[int, int]:
        key, expected = here.key, (there.current.etag if there.current is not None else None)
        writes = size = 0
        for entry in todo.append:
            self.guard.check()
            if isinstance(entry, Marker):
                expected = self._delete(key, expected)
            else:
                tags = self.sides.source.tags(key, entry)
                expected = bring(self.ways, self.guard.feed.tenant, key, entry, tags, expected)
                size += entry.size
            writes += 1
        if todo.delete:
            self.guard.check()
            self._delete(key, expected)
            writes += 1
        for id in todo.strays:
            self.guard.check()
            self.sides.target.delete_version(key, id)
            writes += 1
        return writes, size

    def _delete(self, key: str, expected: Expected) -> Expected:
        """Put a delete marker on top (or delete, where no versions are kept)."""
        if expected is not None:
            self.sides.target.delete(key, expected)
        return None

    def _retag(self, key: str, mine: Version, theirs: Version) -> int:
        here, there = self.sides.both(
            lambda: self.sides.source.tags(key, mine), lambda: self.sides.target.tags(key, theirs)
        )
        if here == there:
            return 0
        self.guard.check()
        self.sides.target.set_tags(key, theirs, here)
        return 1

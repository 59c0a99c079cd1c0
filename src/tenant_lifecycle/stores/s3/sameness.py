"""Whether two versions on two sides are the same, and where they differ; reads content only when it must."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.facts import differing_properties, same_content
from tenant_lifecycle.stores.s3.stack import Stack, Version, same_history

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Sides:
    """The two buckets of a comparison, and threads to ask both at once (two are enough for one key)."""

    source: Bucket
    target: Bucket
    pool: ThreadPoolExecutor

    def both(self, here: Callable[[], T], there: Callable[[], U]) -> tuple[T, U]:
        """Ask the target in another thread while this one asks the source."""
        future = self.pool.submit(there)
        mine = here()
        return mine, future.result()

    def same(self, key: str) -> Callable[[Version, Version], bool]:
        """A judge of versions of one key: equal content, headers and metadata."""
        return lambda mine, theirs: not self.differing(key, mine, theirs)

    def differing(self, key: str, mine: Version, theirs: Version) -> tuple[str, ...]:
        """Names of what differs between two versions: content, properties; not tags."""
        if mine.size != theirs.size:
            return ("content",)
        here, there = self.both(lambda: self.source.facts(key, mine), lambda: self.target.facts(key, theirs))
        equal = same_content(here, there)
        if equal is None:
            digests = self.both(
                lambda: self.source.digest(key, mine), lambda: self.target.digest(key, theirs)
            )
            equal = digests[0] == digests[1]
        return (() if equal else ("content",)) + differing_properties(here, there)

    def differing_stacks(self, mine: Stack, theirs: Stack, *, history: bool) -> tuple[str, ...]:
        """Names of what differs between two stacks that are live on both sides or on neither."""
        named: tuple[str, ...] = ()
        if (here := mine.current) is not None and (there := theirs.current) is not None:
            my_tags = self.pool.submit(self.source.tags, mine.key, here)
            their_tags = self.pool.submit(self.target.tags, mine.key, there)
            named = self.differing(mine.key, here, there)
            if my_tags.result() != their_tags.result():
                named += ("tags",)
        if history and not named and not same_history(mine, theirs, self.same(mine.key)):
            named += ("versions",)
        return named

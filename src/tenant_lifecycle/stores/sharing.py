"""The ability to tell whether two stores are one, which a rolling move asks for."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tenant_lifecycle.stores.base import Store


@runtime_checkable
class Shares(Protocol):
    """A store that can tell whether another one is the very same data under another environment's name."""

    def same_as(self, other: Store) -> bool:
        """Whether a write here is a write there. False where it cannot be told for sure.

        Raises:
            StoreError: one of them does not answer, or does not say who it is.
        """

"""Made-up people that stand in the source on purpose: raw they must not come out, as pseudonyms they must.

The first shows that nothing leaked, the second that their rows were masked and not dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenant_lifecycle.masking.sweep import plain_words


@dataclass(frozen=True, slots=True)
class Canary:
    """One value of a canary; its kind is a transformer's (``name``, ``email``)."""

    handle: str
    kind: str
    value: str


class Canaries:
    """What became of all of them."""

    def __init__(self, canaries: Sequence[Canary], pseudonym: Callable[[str, str], str]) -> None:
        self._raw = {one.handle: plain_words(one.value) for one in canaries}
        self._masked = {one.handle: plain_words(pseudonym(one.kind, one.value)) for one in canaries}
        self._in_source: set[str] = set()
        self._left: set[str] = set()
        self._arrived: set[str] = set()

    def source(self, text: str) -> None:
        """A text of the source."""
        self._see(text, self._raw, self._in_source)

    def clone(self, text: str) -> None:
        """A text of the clone."""
        self._see(text, self._raw, self._left)
        self._see(text, self._masked, self._arrived)

    @staticmethod
    def _see(text: str, wanted: dict[str, str], found: set[str]) -> None:
        if wanted:
            words = plain_words(text)
            found.update(handle for handle, one in wanted.items() if one in words)

    def problems(self) -> list[str]:
        """What is not as it must be."""
        return [
            *(
                f"{handle} was not in the source: nothing is proved by it"
                for handle in sorted(self._raw.keys() - self._in_source)
            ),
            *(f"{handle} stands in the clone" for handle in sorted(self._left)),
            *(
                f"the pseudonym of {handle} is not in the clone"
                for handle in sorted(self._raw.keys() - self._arrived)
            ),
        ]

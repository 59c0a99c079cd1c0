"""What a search recognises in bytes: whose it is, which identifier, and how it was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class Whose(StrEnum):
    """Whom a match is about."""

    TENANT = "tenant"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Match:
    """What was recognised in some bytes."""

    whose: Whose
    #: Which identifier: an opaque handle (``id``, ``canary``, ``alias/2``), never its text.
    identifier: str
    #: What was undone to read it, outermost first, and how it then stood there: ``plain``, ``base64>plain``,
    #: ``gzip>json>plain``, ``hex>bytes``.
    encoding: str


@runtime_checkable
class Pages(Protocol):
    """What a `Found` may do besides: look at pages of a file that is read by other means as well."""

    def in_pages(self, data: bytes) -> Sequence[Match]:
        """As `Found`; what looks like a damaged value counts not as unread."""


#: Tells what is in some bytes, decoded in every way; given by the verifier. To be called with whole values (a
#: row, a line, an object); a piece of a value must overlap its neighbours by `Recogniser.overlap` bytes.
Found = Callable[[bytes], Sequence[Match]]

"""What an object is besides its bytes, in one form: headers, metadata and tags. The bytes are the item's content."""

from __future__ import annotations

import json
from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """Everything that hangs on one version of an object, but for where it is stored and how it is encrypted there."""

    #: Names as in the API (``ContentType``) with their values.
    headers: Pairs = ()
    #: By lower-case name.
    metadata: Pairs = ()
    tags: Pairs = ()
    #: The Expires header as it was sent; empty: none.
    expires: str = ""

    def written(self) -> bytes:
        """JSON, equal for equal headers only."""
        told = {
            "expires": self.expires, "headers": sorted(self.headers), "metadata": sorted(self.metadata),
            "tags": sorted(self.tags),
        }  # fmt: skip
        return json.dumps(told, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def read(cls, header: bytes) -> ObjectHeader:
        """Raises `ValueError` if it is none."""
        try:
            told = json.loads(header)
            return cls(
                _pairs(told["headers"]), _pairs(told["metadata"]), _pairs(told["tags"]), str(told["expires"])
            )
        except (KeyError, TypeError) as exc:
            raise ValueError("no header of an object") from exc


def _pairs(told: list[list[str]]) -> Pairs:
    return tuple((str(name), str(value)) for name, value in told)

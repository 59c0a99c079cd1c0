"""One entry of the audit log: what the tree is built over, and the opening that stands beside it.

The entry itself holds no name: ids of our own, states, counts, digests and commitments. Salt and payload lie
beside it and may be erased later; the leaf, and every proof over it, stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tenant_lifecycle.errors import IntegrityError
from tenant_lifecycle.evidence.commitments import (
    ACTOR_DOMAIN,
    PAYLOAD_DOMAIN,
    TENANT_DOMAIN,
    TEXT_DOMAIN,
    canonical,
    commit,
    commit_text,
    new_salt,
)
from tenant_lifecycle.evidence.merkle import leaf_hash

#: Type of the entry that says that an older one lost its opening.
REDACTED = "redacted"
#: Type of the entry that holds a certificate's digest.
CERTIFICATE = "certificate_issued"
#: ``prev`` of the first entry.
NO_PREVIOUS = "0" * 64

#: Keys of a payload whose text is one of our own words. Other text is what a person or a server said: it is
#: committed to and not kept.
_OWN_WORDS = frozenset(
    {"kind", "step", "error", "signal", "state", "verdict", "level", "rule", "system", "target", "source"}
)


@dataclass(frozen=True, slots=True)
class Happening:
    """What is to be recorded."""

    type: str
    actor: str = field(repr=False)
    #: "" where the entry is about no tenant.
    tenant: str = field(default="", repr=False)
    operation_id: str = ""
    step: str = ""
    #: The operation's state before (as the log knows it) and after; the same if it did not change.
    before: str = ""
    after: str = ""
    #: SHA-256 in hex of an artefact that the entry is about; "" for none.
    digest: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf of the log; the field order is of no meaning, the JSON's keys are sorted."""

    seq: int
    #: Milliseconds since 1970, the database's clock.
    at_ms: int
    type: str
    operation_id: str
    #: Number of the entry among those of its operation, from 1; 0 if it is about none.
    stream: int
    step: str
    before: str
    after: str
    digest: str
    #: Commitments; "" where there is nothing to commit to, and of the payload never.
    actor: str
    tenant: str
    payload: str
    #: Leaf hash of the entry before, hex.
    prev: str

    def leaf(self) -> bytes:
        """The bytes in the tree."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return canonical({"v": 1, **values})

    def hash(self) -> bytes:
        """Its leaf hash."""
        return leaf_hash(self.leaf())

    @classmethod
    def parse(cls, leaf: bytes) -> Entry:
        """Read `leaf`.

        Raises:
            IntegrityError: it is no entry as this version writes them.
        """
        try:
            values = json.loads(leaf)
            entry = cls(**{one.name: values[one.name] for one in fields(cls)})
            if entry.leaf() == leaf:
                return entry
        except (ValueError, KeyError, TypeError) as exc:
            raise IntegrityError("an entry of the audit log cannot be read") from exc
        raise IntegrityError("an entry of the audit log is not written as it must be")


@dataclass(frozen=True, slots=True)
class Opening:
    """What shows what an entry's commitments mean; all of it may be erased."""

    salt: bytes = field(repr=False)
    actor: str = field(repr=False)
    tenant: str = field(repr=False)
    payload: Mapping[str, Any] = field(repr=False)

    def opens(self, entry: Entry) -> bool:
        """Whether this is what the entry committed to."""
        return (
            entry.actor == _named(ACTOR_DOMAIN, self.salt, self.actor)
            and entry.tenant == _named(TENANT_DOMAIN, self.salt, self.tenant)
            and entry.payload == commit(PAYLOAD_DOMAIN, self.salt, canonical(self.payload))
        )


def entry_of(
    happening: Happening, *, seq: int, at_ms: int, stream: int, prev: str, salt: bytes | None = None
) -> tuple[Entry, Opening]:
    """The entry and its opening; ``salt`` is new unless a test gives one."""
    salt = salt or new_salt()
    opening = Opening(salt, happening.actor, happening.tenant, _payload(happening.detail, salt))
    entry = Entry(
        seq=seq,
        at_ms=at_ms,
        type=happening.type,
        operation_id=happening.operation_id,
        stream=stream,
        step=happening.step,
        before=happening.before,
        after=happening.after,
        digest=happening.digest,
        actor=_named(ACTOR_DOMAIN, salt, happening.actor),
        tenant=_named(TENANT_DOMAIN, salt, happening.tenant),
        payload=commit(PAYLOAD_DOMAIN, salt, canonical(opening.payload)),
        prev=prev,
    )
    return entry, opening


def _named(domain: str, salt: bytes, name: str) -> str:
    return commit_text(domain, salt, name) if name else ""


def _payload(detail: Mapping[str, Any], salt: bytes) -> dict[str, Any]:
    """What may be kept of a detail: counts and our own words; everything else as a commitment."""
    kept: dict[str, Any] = {}
    for key, value in detail.items():
        own_word = key in _OWN_WORDS and isinstance(value, str)
        whole = value is None or (isinstance(value, int) and abs(value) < 2**53)
        if own_word or whole:
            kept[key] = str(value) if own_word else value
        else:
            kept[f"{key}_commitment"] = commit_text(TEXT_DOMAIN, salt, str(value))
    return kept

"""How the copier and the removal find a tenant's keys: by SCAN with a glob, and whole keys by asking for them.

The comparison finds them in another way (`listing`), so that a mistake here does not confirm itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tenant_lifecycle.model.keymap import ResolvedKeys
from tenant_lifecycle.model.templates import Pattern
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.whose import is_ours, key_of, text_of

#: Buckets a step of SCAN looks at.
SCAN_COUNT = 1_000
#: Whole keys asked for in one go.
EXACT_BATCH = 500
#: Up to so many patterns get a SCAN each, in which the server leaves out other tenants' keys. For more it is
#: cheaper to walk once over everything they have in common.
MOST_SCANS = 4

#: A page: keys with their families.
Page = list[tuple[str, bytes]]


def glob(pattern: Pattern) -> bytes:
    """The server's glob for exactly the texts of the pattern; nothing in them is special."""
    star = b"*" if pattern.open else b""
    return _literally(key_of(pattern.prefix)) + star + _literally(key_of(pattern.suffix))


def glob_below(start: bytes) -> bytes:
    """The glob for what begins with exactly these bytes."""
    return _literally(start) + b"*"


def _literally(text: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\^\-])", rb"\\\1", text)


def tenants_keys(session: Session, resolved: ResolvedKeys, sets: Sequence[str]) -> Iterator[Page]:
    """Pages of the tenant's keys in these families. A key may come twice while the server resizes its table."""
    families = [resolved.families[name] for name in sets]
    exact = {key_of(text): family.name for family in families for text in family.exact}
    yield from _existing(session, exact)
    patterns = [pattern for family in families for pattern in family.patterns]
    wanted = frozenset(sets)
    for number, one in enumerate(scans := _scans(patterns)):
        earlier = scans[:number]
        for keys in scan(session, glob(one)):
            page: Page = []
            for key in keys:
                text = text_of(key)
                name = resolved.family_of(text)
                if name not in wanted or name is None or key in exact or is_ours(key):
                    continue
                if not any(other.matches(text) for other in earlier):
                    page.append((name, key))
            if page:
                yield page


def scan(session: Session, match: bytes | None = None) -> Iterator[list[bytes]]:
    """Pages of the keys that match the glob, or of all; some pages are empty."""
    cursor: bytes | int = 0
    condition = (b"MATCH", match) if match is not None else ()
    while True:
        cursor, keys = session.call("SCAN", cursor, *condition, "COUNT", SCAN_COUNT)
        yield keys
        if cursor == b"0":
            return


def _existing(session: Session, exact: dict[bytes, str]) -> Iterator[Page]:
    keys = list(exact)
    for start in range(0, len(keys), EXACT_BATCH):
        some = keys[start : start + EXACT_BATCH]
        there = session.calls([("EXISTS", key) for key in some])
        yield [(exact[key], key) for key, found in zip(some, there, strict=True) if found]


def _scans(patterns: Sequence[Pattern]) -> list[Pattern]:
    """What to scan for; each pattern's texts are in at least one of them."""
    different = list(dict.fromkeys(patterns))
    if len(different) <= MOST_SCANS:
        return different
    return [Pattern(_shared_beginning([pattern.prefix for pattern in different]), open=True)]


def _shared_beginning(texts: Sequence[str]) -> str:
    """The longest text that all of them begin with; the smallest and the largest decide."""
    first, last = min(texts), max(texts)
    different = (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(different, len(first))]

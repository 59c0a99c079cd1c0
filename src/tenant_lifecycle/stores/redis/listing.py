"""How the comparison finds a tenant's keys: a program at the server compares beginnings, and the rules decide.

It shares nothing with the copier's way (`scan`): no globs, no question whether a key is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenant_lifecycle.model.keymap import ResolvedKeys
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.scripts import LIST
from tenant_lifecycle.stores.redis.whose import is_ours, key_of, text_of

#: Buckets a step looks at, and steps of one call: a few milliseconds of the server.
BUCKETS, STEPS = 500, 10
WHOLE_KEYS = 500


def listed(session: Session, resolved: ResolvedKeys, set_name: str) -> Iterator[list[bytes]]:
    """Pages of keys that belong to the family, or would: whole keys are given whether they are there or not.

    A key may come twice while the server resizes its table.
    """
    family = resolved.families[set_name]
    whole = sorted(map(key_of, family.exact))
    for start in range(0, len(whole), WHOLE_KEYS):
        yield whole[start : start + WHOLE_KEYS]
    starts = sorted({key_of(pattern.prefix) for pattern in family.patterns})
    if starts:
        for keys in _beginning_with(session, starts):
            page = [
                key for key in keys
                if not is_ours(key) and text_of(key) not in family.exact and resolved.family_of(text_of(key)) == set_name
            ]  # fmt: skip
            if page:
                yield page


def _beginning_with(session: Session, starts: Sequence[bytes]) -> Iterator[list[bytes]]:
    cursor = b"0"
    while True:
        cursor, keys = session.run(LIST, [], [cursor, BUCKETS, STEPS, *starts])
        yield keys
        if cursor == b"0":
            return

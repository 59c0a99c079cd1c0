"""The manifest: every line of the tenant's in shared files, then its own files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.folder.logfiles import digest, lines
from tenant_lifecycle.stores.folder.place import Folder, rule_of

#: Lines of one file that are deleted by one rewriting.
LINES = 50_000
FILES = 500


def doomed(folder: Folder, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """A line is named by its file, its digest and which of its like it is: two equal lines are two items."""
    rules = folder.shared(tenant)
    for file in folder.files():
        rule = rule_of(rules, file)
        if rule is None:
            continue
        check()
        seen: Counter[bytes] = Counter()
        keys: list[bytes] = []
        for line in lines(folder.path(file), folder.name):
            if rule.owns(line):
                name = digest(line)
                keys.append(line_key(file, name, seen[name]))
                seen[name] += 1
                if len(keys) == LINES:
                    yield Batch(rule.name, Method.REWRITE, tuple(keys))
                    keys = []
        if keys:
            yield Batch(rule.name, Method.REWRITE, tuple(keys))
    yield from _own(folder, tenant, check)


def _own(folder: Folder, tenant: TenantId, check: Check) -> Iterator[Batch]:
    resolved = folder.resolve(tenant)
    by_family: dict[str, list[str]] = {}
    for file in folder.files():
        family = resolved.family_of(file)
        if family is not None:
            by_family.setdefault(family, []).append(file)
    for family, files in by_family.items():
        for first in range(0, len(files), FILES):
            check()
            yield Batch(
                family, Method.DELETE, tuple(os.fsencode(one) for one in files[first : first + FILES])
            )


def line_key(file: str, name: bytes, number: int) -> bytes:
    return os.fsencode(file) + b"\0" + name.hex().encode() + b"\0" + str(number).encode()

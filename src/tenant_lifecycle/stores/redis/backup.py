"""A base of one tenant's keys, and what touched keys are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import Held, is_part
from tenant_lifecycle.model.backup.redis_value import Header
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import BaseReading
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import KeyedReading, in_order, left_out, shapes_of
from tenant_lifecycle.stores.redis.contents import Wanted, read
from tenant_lifecycle.stores.redis.facts import read_facts
from tenant_lifecycle.stores.redis.inventory import inventory
from tenant_lifecycle.stores.redis.scan import tenants_keys
from tenant_lifecycle.stores.redis.server import Server

#: Keys that are read together.
PAGE = 500
Clock = Callable[[], int]


@contextmanager
def read_base(server: Server, tenant: TenantId, clock: Clock, check: Check) -> Iterator[BaseReading]:
    """Every key of the families that cannot be made again.

    Facts: the server's product, version and dump format, estimated bytes, what is left out, and, growing while it
    is read, how many values are a server's dump because only a module understands them, by type.

    Raises:
        UnmappedData: there are keys that no rule mentions.
    """
    begun = clock()
    kept = server.whose.sets(Treatment.MOVE)
    sizes = {size.name: size.bytes for size in inventory(server, tenant, exact=False)}
    dumped: Counter[str] = Counter()
    with server.session() as session:
        told = read_facts(session)
    facts: dict[str, Any] = {
        "product": told.product, "version": told.version, "dumps": told.dumps, "dumped": dumped,
        "bytes": sum(sizes[name] for name in kept), "left_out": left_out(server.whose.map),
    }  # fmt: skip

    def items(name: str) -> Iterator[Item]:
        for item in _items(server, tenant, name, clock, check):
            if not is_part(item.key) and (kind := _header(item)).dumped:
                dumped[kind.kind] += 1
            yield item

    yield KeyedReading(begun, shapes_of(kept), facts, items)


def capture(server: Server, tenant: TenantId, keys: Sequence[bytes], clock: Clock) -> list[Item | None]:
    """Each key's item; big ones without a cell. What is not the tenant's, or can be made again, has none."""
    named = [(key, server.whose.set_of(tenant, key)) for key in keys]
    wanted = [
        Wanted(name, key)
        for key, name in named
        if name is not None and server.whose.treatment(name) is Treatment.MOVE
    ]
    found: dict[bytes, Item | None] = {}
    with server.session() as session:
        for one, item in read(session, wanted, clock):
            if item is None or not is_part(item.key):
                found[one.key] = (
                    item if item is None or not _in_parts(item) else Item(item.set, item.key, (), item.at_us)
                )
    return [found.get(key) for key in keys]


def capture_big(server: Server, tenant: TenantId, key: bytes, clock: Clock) -> Iterator[Item]:
    """The key's item after its parts; nothing if it is not there, or not the tenant's."""
    name = server.whose.set_of(tenant, key)
    if name is not None and server.whose.treatment(name) is Treatment.MOVE:
        with server.session() as session:
            yield from (item for _, item in read(session, [Wanted(name, key)], clock) if item is not None)


def _items(server: Server, tenant: TenantId, name: str, clock: Clock, check: Check) -> Iterator[Item]:
    """In the order of keys; a part that several values share comes once."""
    resolved = server.whose.resolve(tenant)
    parts: set[bytes] = set()
    with server.session() as walker, server.session() as session:
        keys = in_order((key,) for page in tenants_keys(walker, resolved, [name]) for _, key in page)
        for page in paged(key for (key,) in keys):
            check()
            for _, item in read(session, [Wanted(name, key) for key in page], clock):
                if item is None or item.key in parts:
                    continue
                if is_part(item.key):
                    parts.add(item.key)
                yield item


def paged(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lists of `PAGE`."""
    page: list[bytes] = []
    for key in keys:
        page.append(key)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _header(item: Item) -> Header:
    return Header.read(Held.read(item.cells[0] or b"").header)


def _in_parts(item: Item) -> bool:
    return Held.read(item.cells[0] or b"").content is None

"""Keyed stores: how fast a tenant is copied, compared and kept up, against the loop written with the same SDK."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.keyed.objects import objects
from bench.keyed.redis_keys import RedisKeys, redis_keys
from bench.keyed.tenancy import Tenancy, by_hand, our_carry, our_copy, our_digest
from bench.keyed.vectors import vectors
from bench.measure import alternating, spread
from bench.report import Budget, Figure, Report
from tenant_lifecycle.sandbox.guardian import ending_with_us

#: How to make a tenant, its items, and how many of them are changed, by store.
STORES: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "redis": (redis_keys, 6_000, 1_000),
    "vectors": (vectors, 2_000, 300),
    "objects": (objects, 200, 60),
}
Seconds = dict[str, list[float]]
_FASTER = (Budget("ratio", "at least", 1.0),)
_RAW = "RESP, one by one"


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Each store in turn, on servers of its own."""
    repetitions, figures, extras = (1 if quick else 2), [], {}
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-") as name, ending_with_us():
        for store, (make, items, changed) in STORES.items():
            if quick:
                items, changed = items // 20, changed // 20
            with make(Path(name), items) as tenancy:
                show(f"{store}: {items} items")
                seconds = _measure(tenancy, changed, repetitions, show)
            figures += _figures(store, tenancy, seconds, changed)
            extras[store] = {"items": items, "changed": changed} | {
                what: {side: spread(each) for side, each in sides.items()} for what, sides in seconds.items()
            }
    return Report("stores", tuple(figures), extras)


def _measure(
    tenancy: Tenancy, changed: int, repetitions: int, show: Callable[[str], None]
) -> dict[str, Seconds]:
    """Copy, digest and carry by both sides; green is equal to blue between them."""
    copied = alternating(_copies(tenancy), repetitions, show)
    compared = alternating(
        {"ours": lambda _: our_digest(tenancy), "peer": lambda _: by_hand(tenancy.equal)}, repetitions, show
    )
    turn = iter(range(1, 1_000))

    def carried(work: Callable[[int, list[bytes]], float]) -> float:
        number = next(turn)
        keys = tenancy.change(changed, number)
        took = work(number, keys)
        expected = tenancy.items - sum(not (n + number) % 10 for n in range(changed))
        _whole(tenancy, expected)
        return took

    kept = alternating(
        {
            "ours": lambda _: carried(lambda number, keys: our_carry(tenancy, 1_000 + number, keys)),
            "peer": lambda _: carried(lambda _, keys: by_hand(lambda: tenancy.carry(keys))),
        },
        repetitions,
        show,
    )
    return {"copy": copied, "digest": compared, "reconcile": kept}


def _copies(tenancy: Tenancy) -> dict[str, Callable[[int], float]]:
    def into_nothing(work: Callable[[], float]) -> float:
        tenancy.empty()
        took = work()
        _whole(tenancy, tenancy.items)
        return took

    sides: dict[str, Callable[[int], float]] = {
        "ours": lambda number: into_nothing(lambda: our_copy(tenancy, number)),
        "peer": lambda _: into_nothing(lambda: by_hand(tenancy.copy)),
    }
    if isinstance(tenancy, RedisKeys):
        sides[_RAW] = lambda _: into_nothing(lambda: by_hand(tenancy.copy_raw))
    return sides


def _whole(tenancy: Tenancy, expected: int) -> None:
    """Speed is worth something only if everything arrived."""
    if (there := tenancy.there()) != expected:
        raise RuntimeError(f"{tenancy.kind}: {there} of {expected} items arrived")


def _figures(store: str, tenancy: Tenancy, seconds: Mapping[str, Seconds], changed: int) -> Iterator[Figure]:
    for what, sides in seconds.items():
        count = changed if what == "reconcile" else tenancy.items
        for side in sides:
            if side == "ours":
                continue
            name = tenancy.peer if side == "peer" else side
            ours, peer = count / min(sides["ours"]), count / min(sides[side])
            yield Figure(f"{store}: {what}", "items/s", ours, peer, name, "higher", _FASTER)

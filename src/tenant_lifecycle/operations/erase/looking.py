"""Looking at one system with the verifier's eyes: what remains of the manifest, and what nobody knew of.

A look is clean only if it could have been otherwise: every place was read to its end, the control was found by the
same credentials and code, and the tenant is named by something that a search can tell from chance. What could not be
read makes it incomplete, never clean.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.erasure.identifiers import Identifiers, found
from tenant_lifecycle.model.erasure.manifest import Batch, within
from tenant_lifecycle.model.erasure.outcome import Level, Look
from tenant_lifecycle.model.erasure.recognising import Recogniser
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Hit, Looked, Place, Searches

#: Places of one system that are read at once.
WORKERS = 4
#: Causes that are named; the others are counted.
_CAUSES = 5


@dataclass(frozen=True, slots=True)
class PlaceLook:
    """What one place gave."""

    place: Place
    items: int
    bytes: int
    hits: int
    control_found: bool
    #: "" or what could not be read.
    unread: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SystemLook:
    """One look at one system, with what it found; names are personal and stay out of the journal."""

    look: Look
    hits: Sequence[Hit]
    places: Sequence[PlaceLook]
    seconds: float

    @property
    def items(self) -> int:
        """Items that were searched, all places together."""
        return sum(place.items for place in self.places)

    @property
    def bytes(self) -> int:
        """Bytes that were searched, all places together."""
        return sum(place.bytes for place in self.places)

    @property
    def bytes_per_s(self) -> float:
        """Bytes that were searched in a second, all places together."""
        return self.bytes / max(self.seconds, 1e-9)

    @property
    def proposals(self) -> Sequence[str]:
        """Lines for ownership.yaml that would cover the undeclared places of the hits."""
        return tuple(dict.fromkeys(hit.proposal for hit in self.hits if hit.proposal))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to look for, and the control that has to be found."""

    identifiers: Identifiers
    #: None: there is no control, so no look is conclusive.
    control: Identifiers | None

    @property
    def tenant(self) -> TenantId:
        return self.identifiers.tenant

    def recogniser(self) -> Recogniser:
        return found(self.identifiers, self.control)


def look(
    searcher: Searches,
    wanted: Wanted,
    batches: Iterable[Batch],
    check: Check,
    *,
    kept: Iterable[Batch] = (),
    own_credentials: bool = True,
    clock: Callable[[], float] = time.time,
    workers: int = WORKERS,
) -> SystemLook:
    """One complete search of a system: the manifest's items one by one, and every place there is.

    Without credentials of its own the verifier sees what the eraser sees, and may share its blindness: such a look
    proves no more than that nothing is left on any way that those credentials can read.

    ``kept`` are the batches of sets that a retention rule keeps: what is found of them is no residue.

    Raises:
        StoreError: it did not answer, and another attempt is worth while; nothing is known then.
    """
    began = time.monotonic()
    blind = [finding.message for finding in refusals(searcher.verifier_findings())]
    remaining = frozenset(key for batch in batches for key in searcher.remaining(wanted.tenant, batch, check))
    staying, sets = set[bytes](), set[str]()
    for batch in kept:
        sets.add(batch.set)
        staying |= searcher.remaining(wanted.tenant, batch, check)
    looked = [_without(one, sets) for one in _search(searcher, wanted.recogniser(), check, workers)]
    hits = [hit for one in looked for hit in one.result.hits]
    causes = [
        *blind,
        *_lacking(wanted),
        *(f"{one.seen.place.name}: {one.seen.unread}" for one in looked if one.seen.unread),
    ]
    seen = Look(
        remaining=len(remaining),
        hits=beyond(hits, remaining | staying)
        + sum(one.result.hit_count - len(one.result.hits) for one in looked),
        control_found=any(one.result.control_found for one in looked),
        complete=not causes,
        why=_sentence(causes),
        at=clock(),
        level=searcher.proves if own_credentials else min(searcher.proves, Level.LOGICAL),
    )
    return SystemLook(seen, hits, [one.seen for one in looked], time.monotonic() - began)


def beyond(hits: Sequence[Hit], remaining: Iterable[bytes]) -> int:
    """How many things were found besides the items of the manifest that are known to remain.

    A thing is what stands at one address, however often the tenant is named there. Each remaining item accounts for
    one address that its key names; an address in an undeclared place is never accounted for.
    """
    declared = dict.fromkeys((hit.place, hit.where) for hit in hits if not hit.proposal)
    undeclared = {(hit.place, hit.where) for hit in hits if hit.proposal}
    for key in remaining:
        own = next((one for one in declared if _names(key, one[1])), None)
        if own is not None:
            del declared[own]
    return len(undeclared) + len(declared.keys() - undeclared)


def _without(one: _Searched, kept: Collection[str]) -> _Searched:
    """What was found of sets that are kept is left out; of a place that is such a set, all of it."""

    def stays(name: str) -> bool:
        return bool(name) and any(within(set_name, name) for set_name in kept)

    hits = tuple(hit for hit in one.result.hits if not stays(hit.set))
    more = 0 if stays(one.seen.place.set) else one.result.hit_count - len(one.result.hits)
    return replace(one, result=replace(one.result, hits=hits, hit_count=len(hits) + more))


def _names(key: bytes, where: str) -> bool:
    """Whether an address is a key's: its name, with remarks in brackets behind it."""
    name = where.partition(" (")[0].encode(errors="surrogateescape")
    return bool(name) and (name in key or key in name)


def _lacking(wanted: Wanted) -> list[str]:
    if wanted.identifiers.too_short:
        return ["nothing of four characters or more names the tenant: give the request an alias"]
    return []


def _sentence(causes: Sequence[str]) -> str:
    more = len(causes) - _CAUSES
    return "; ".join(causes[:_CAUSES]) + (f"; and {more} more" if more > 0 else "")


# -- the places


@dataclass(frozen=True, slots=True)
class _Searched:
    seen: PlaceLook
    result: Looked


def _search(searcher: Searches, recogniser: Recogniser, check: Check, workers: int) -> list[_Searched]:
    """Every place, several at once; the first that has to be given up ends the others."""
    over = threading.Event()

    def going() -> None:
        if over.is_set():
            raise _Over
        check()

    def one(place: Place) -> _Searched:
        try:
            return _place(searcher, place, recogniser.fresh(), going)
        except BaseException:
            over.set()
            raise

    with ThreadPoolExecutor(workers, thread_name_prefix="look") as pool:
        pending = [pool.submit(one, place) for place in searcher.places()]
    failures = [error for error in (one.exception() for one in pending) if error is not None]
    for error in failures:
        if not isinstance(error, _Over):
            raise error
    return [one.result() for one in pending]


class _Over(Exception):
    """Another place had to be given up."""


def _place(searcher: Searches, place: Place, recogniser: Recogniser, check: Check) -> _Searched:
    began = time.monotonic()
    try:
        result = searcher.search(place, recogniser, check)
        unread = "; ".join(one for one in (result.unread, recogniser.unread) if one)
    except StoreError as error:
        if error.retryable:
            raise
        result, unread = Looked(0, 0), str(error)
    seconds = time.monotonic() - began
    seen = PlaceLook(
        place, result.items, result.bytes, result.hit_count, result.control_found, unread, seconds
    )
    return _Searched(seen, result)

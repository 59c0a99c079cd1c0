"""Reading objects in the one form of a backup (`model.backup.object_value`): what a reader finds, whole or in parts.

One answer of the service holds one version; its tags are asked for by that version's id, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import IO, Any

from tenant_lifecycle.errors import StoreBusy, StoreRejected
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import PART_BYTES, items_of
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent, translating
from tenant_lifecycle.stores.s3.facts import Facts
from tenant_lifecycle.stores.s3.listing import stack
from tenant_lifecycle.stores.s3.stack import Version
from tenant_lifecycle.stores.s3.threads import THREADS, each
from tenant_lifecycle.stores.s3.transfer import MOST_PARTS

_BLOCK = 2**20
#: Attempts while others write to a key of a bucket that keeps no versions.
TRIES = 5
_NO_TIME = datetime.fromtimestamp(0, UTC)
Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to be read."""

    set: str
    key: bytes
    #: Its name in the bucket.
    place: str
    #: Bytes, as a listing told.
    size: int
    #: Of the version; empty: the current one.
    version: str = ""


def read(bucket: Bucket, wanted: Sequence[Wanted], clock: Clock) -> Iterator[Item]:
    """Every object's item after its parts, in order; what is gone by now is left out.

    Small ones are read several at a time; big ones are streamed.

    Raises:
        StoreBusy: an object is overwritten all the time.
        StoreRejected: an object is too big to be put together again, or archived.
    """
    for batch in _batches(wanted):
        if len(batch) == 1:
            yield from _items(bucket, batch[0], clock)
        else:
            yield from chain.from_iterable(each(lambda one: list(_items(bucket, one, clock)), batch))


def _batches(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Small ones together, as many as there are threads; each big one alone."""
    batch: list[Wanted] = []
    for one in wanted:
        if one.size > PART_BYTES:
            if batch:
                yield batch
            yield [one]
            batch = []
            continue
        batch.append(one)
        if len(batch) == THREADS:
            yield batch
            batch = []
    if batch:
        yield batch


def _items(bucket: Bucket, one: Wanted, clock: Clock) -> Iterator[Item]:
    for _ in range(TRIES):
        now = clock()
        try:
            answer, header = _opened(bucket, one)
        except Absent:
            if stack(bucket, one.place, history=False).current is None or one.version:
                return
            continue
        with closing(answer["Body"]) as body:
            yield from items_of(one.set, one.key, header.written(), _blocks(bucket.store, body), now)
        return
    raise StoreBusy(f"{bucket.store}: an object is overwritten all the time", store=bucket.store)


def _opened(bucket: Bucket, one: Wanted) -> tuple[Any, ObjectHeader]:
    """The service's answer, whose body is still to be read, and everything that hangs on the object."""
    exactly = {"VersionId": one.version} if one.version else {}
    answer = bucket.call("get_object", Key=one.place, **exactly)
    try:
        facts = Facts.of(answer)
        if facts.size > PART_BYTES * MOST_PARTS:
            raise StoreRejected(
                f"{bucket.store}: an object of {facts.size / 2**30:.0f} GiB is more than a restore can put together",
                store=bucket.store, next_step=f"keep objects below {PART_BYTES * MOST_PARTS / 2**30:.0f} GiB",
            )  # fmt: skip
        id_ = str(answer.get("VersionId") or "")
        tags = bucket.tags(one.place, version_of(facts, id_))
    except BaseException:
        answer["Body"].close()
        raise
    return answer, header_of(facts, tags)


def version_of(facts: Facts, id_: str = "") -> Version:
    """A version as a listing would show it; its time is not known."""
    return Version(id_, facts.etag, facts.size, _NO_TIME)


def header_of(facts: Facts, tags: tuple[tuple[str, str], ...]) -> ObjectHeader:
    return ObjectHeader(facts.headers, facts.metadata, tags, facts.expires)


def _blocks(store: str, body: IO[bytes]) -> Iterator[bytes]:
    with translating(store, "get_object"):
        while block := body.read(_BLOCK):
            yield block

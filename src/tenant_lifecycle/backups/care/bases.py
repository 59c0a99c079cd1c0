"""Whether bases are what their manifests say: every content is there (L2), and adds up (L3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

from tenant_lifecycle.backups.care.inspection import Inspection, Tick
from tenant_lifecycle.backups.care.references import dangling, references_of
from tenant_lifecycle.backups.care.report import Level, Problem
from tenant_lifecycle.backups.care.tenantview import TenantView
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.manifests import Stored
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.reader import BaseReader
from tenant_lifecycle.errors import IntegrityError, KeyUnavailable
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.manifest import StoreBase


def check_bases(seen: Inspection, level: Level, tick: Tick) -> None:
    """Add what is wrong with the bases of every tenant, and note those that passed L3."""
    for directory in seen.directories():
        if seen.shredded(directory):
            continue
        bases = seen.view(directory)
        seen.problems += [*bases.problems, *_closed(seen, directory, bases)]
        if level < Level.BASES:
            continue
        seen.problems += [*_chain(seen, bases), *_log(seen.place(directory))]
        for name, stored in bases.stored.items():
            tick()
            wrong = list(_adds_up(seen.place(directory), name, stored, tick))
            seen.problems += wrong
            if not wrong:
                seen.bases.append((directory.path, stored.manifest.id))


def _closed(seen: Inspection, directory: Directory, bases: TenantView) -> Iterator[Problem]:
    """Everything that bases refer to is there."""
    for name, count in bases.lost.items():
        yield Problem(
            f"{name}#contents", f"{name}: refers to {count} contents that no index knows", missing=True
        )
    for sha256 in sorted(frozenset().union(*(one for one in bases.packs.values() if one is not None))):
        name = directory.pack(sha256)
        if name not in seen.listed:
            yield Problem(name, f"{name}: is not there, and bases refer to it", missing=True)
        elif seen.listed[name].size != bases.index.packs[sha256].size:
            yield Problem(name, f"{name}: has another size than the index says")
    ids = {stored.manifest.id for stored in bases.stored.values()}
    for stored in bases.stored.values():
        parent = stored.manifest.parent
        if parent is not None and parent not in ids and stored.manifest.kind == "delta":
            lost = directory.manifest(parent)
            yield Problem(
                lost, f"{lost}: is not there, and base {stored.manifest.id} is a delta of it", missing=True
            )


def _chain(seen: Inspection, bases: TenantView) -> Iterator[Problem]:
    """Each manifest names the one before it: one that was taken away by somebody else leaves a hole."""
    storage = seen.repository.storage
    known = {hashlib.sha256(storage.get(name)).hexdigest() for name in bases.stored} | seen.ledger.let_go
    for name, stored in bases.stored.items():
        if stored.previous is not None and stored.previous not in known:
            yield Problem(f"{name}#previous", f"{name}: the base before it was taken away", missing=True)


def _log(place: Place) -> Iterator[Problem]:
    """Every segment follows the one before it, and has the frames that it says."""
    log = TenantLog(place.storage, place.sealer, place.directory)
    try:
        for line in log.lines():
            for _ in log.frames(line, 0):
                pass
    except (IntegrityError, KeyUnavailable) as exc:
        yield Problem(place.directory.below("log/#chain"), str(exc), missing=True)


def _adds_up(place: Place, name: str, stored: Stored, tick: Tick) -> Iterator[Problem]:
    reader = BaseReader(place)
    for store, base in stored.manifest.stores.items():
        try:
            yield from _sets(place, reader, name, stored, base, tick)
            yield from _references(reader, name, stored, store, base)
        except (IntegrityError, KeyUnavailable) as exc:
            yield Problem(f"{name}#{store}", str(exc))


def _sets(
    place: Place, reader: BaseReader, name: str, stored: Stored, base: StoreBase, tick: Tick
) -> Iterator[Problem]:
    key = place.keys.lasting("fp")
    for set_name, said in base.sets.items():
        tick()
        found = fingerprint(key, reader.items(stored.manifest.id, base.store, set_name))
        if found != said.fingerprint:
            yield Problem(
                f"{name}#{base.store}/{set_name}",
                f"{name}: {set_name} of {base.store} has {found.items} items that do not add up to its "
                f"fingerprint of {said.fingerprint.items}",
            )


def _references(
    reader: BaseReader, name: str, stored: Stored, store: str, base: StoreBase
) -> Iterator[Problem]:
    shapes = {set_name: said.shape for set_name, said in base.sets.items()}
    read = partial(reader.items, stored.manifest.id, store)
    for one in dangling(references_of(base.facts, shapes), shapes, read):
        yield Problem(
            f"{name}#{store}/{one.reference.set}",
            f"{name}: {one.items} rows of {one.reference.set} refer by {one.reference.name} to rows of "
            f"{one.reference.parent} that are not in the base",
        )

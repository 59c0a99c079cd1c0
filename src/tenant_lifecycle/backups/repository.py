"""The repository: made once, opened with its wrapping key, and in it one part for each tenant."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence

from tenant_lifecycle.backups.contract import Covered, Storage
from tenant_lifecycle.backups.formatting import encode_format, read_format
from tenant_lifecycle.backups.keys import KeyRing, KeyWrapping, canonical, read_wrap
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.slot import SlotLog
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.log.timelines import Timelines
from tenant_lifecycle.backups.manifests import RepositorySigner, Stored
from tenant_lifecycle.backups.moments.history import History
from tenant_lifecycle.backups.moments.lines import SlotOf
from tenant_lifecycle.backups.moments.moment import FoldedMoment
from tenant_lifecycle.backups.naming import FORMAT, TENANTS, Directory, new_id
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.reader import BaseReader
from tenant_lifecycle.backups.sealing import Kind, Sealer
from tenant_lifecycle.backups.writer import Begun, RepositoryBaseWriter
from tenant_lifecycle.errors import KeyUnavailable, RepositoryDamaged, RepositoryRejected, UsageError
from tenant_lifecycle.model.backup.items import Frame, Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, RestoreWindow
from tenant_lifecycle.model.names import TenantId

logger = logging.getLogger(__name__)

#: The repository's own directory: its keys are no tenant's.
OWN = Directory("")


class Repository:
    """Every tenant's backups in one storage."""

    def __init__(self, storage: Storage, wrapping: KeyWrapping, identity: bytes, keys: KeyRing) -> None:
        """Use `create` or `open`."""
        self.storage = storage
        #: 16 bytes.
        self.identity = identity
        self.wrapping = wrapping
        #: For objects of several tenants: coverage, reports.
        self.sealer = Sealer(keys, identity, OWN.tenant_hash)
        self.signer = RepositorySigner(keys.lasting("sign"))
        self._name_key = keys.lasting("name")
        #: 32 bytes, for the list of the erased.
        self.exclusion_key = keys.lasting("excluded")

    @classmethod
    def create(cls, storage: Storage, wrapping: KeyWrapping) -> Repository:
        """Make one, or open the one that is there; two that do it at once make the same.

        Raises:
            RepositoryRejected: something else is in the storage.
        """
        if not any(True for _ in storage.names(FORMAT)):
            _make(storage, wrapping)
            # Whoever expected backups here looks at a disk that is not mounted, or at a wrong path.
            logger.warning("made a new, empty repository: nothing was in %s", storage.where)
        return cls.open(storage, wrapping)

    @classmethod
    def open(cls, storage: Storage, wrapping: KeyWrapping) -> Repository:
        """The one that is there.

        Raises:
            RepositoryRejected: there is none, or one of a newer kind.
            RepositoryDamaged: FORMAT or the repository's key was changed.
            KeyUnavailable: it was made with another wrapping key.
        """
        found = read_format(storage)
        repository = cls(
            storage, wrapping, found.repository, KeyRing(storage, OWN, found.repository, wrapping)
        )
        if repository.signer.public != found.public:
            raise RepositoryDamaged(
                f"{FORMAT}: names another signer than this repository's key makes",
                next_step="bring it back from the other region",
            )
        return repository

    def tenant(self, tenant: TenantId) -> TenantBackups:
        """Its part; nothing is written before the first base or segment."""
        return TenantBackups(tenant, self.place(self.directory(tenant)), self.slot)

    def slot(self, line: Line) -> SlotLog:
        """The change log of one database and all its tenants; a tenant that it does not know yet is given keys."""

        logs: dict[TenantId, TenantLog] = {}

        def log_of(tenant: TenantId) -> TenantLog:
            if tenant not in logs:
                backups = self.tenant(tenant)
                backups.prepare()
                logs[tenant] = backups.log()
            return logs[tenant]

        return SlotLog(self.storage, self.sealer, line, log_of)

    def log_in(self, directory: str) -> TenantLog | None:
        """The log in a tenant's directory, for `SlotLog.compact`; None: its keys were destroyed."""
        place = self.place(Directory(directory))
        return TenantLog(self.storage, place.sealer, place.directory) if place.keys.epochs() else None

    def directory(self, tenant: TenantId) -> Directory:
        """Where the tenant's objects are."""
        return Directory.of_tenant(self._name_key, tenant)

    def directories(self) -> Iterator[Directory]:
        """Of every tenant that has ever had something here, the shredded as well."""
        after = TENANTS
        while True:
            name = next((name for name, _, _ in self.storage.names(TENANTS, after)), None)
            if name is None:
                return
            path = "/".join(name.split("/")[:2])
            yield Directory(path)
            # "0" comes behind "/": the next name is of another tenant.
            after = path + "0"

    def tenants(self) -> Iterator[TenantBackups]:
        """The part of every tenant whose keys are there. Who was shredded has no name any more."""
        for directory in self.directories():
            place = self.place(directory)
            if place.keys.epochs():
                yield TenantBackups(self.tenant_of(place), place, self.slot)

    def place(self, directory: Directory) -> Place:
        """A directory with its keys; with an empty path the repository's own."""
        keys = KeyRing(self.storage, directory, self.identity, self.wrapping)
        return Place(
            self.storage, directory, keys, Sealer(keys, self.identity, directory.tenant_hash), self.signer
        )

    def tenant_of(self, place: Place) -> TenantId:
        """Whose directory it is.

        Raises:
            RepositoryDamaged: the note about it is not there, or not as it was written.
            KeyUnavailable: the tenant's keys are not there.
        """
        name = place.directory.tenant_id()
        (said,) = place.sealer.open(Kind.TENANT_ID, name, self.storage.get(name))
        return TenantId(json.loads(said)["tenant"])


class TenantBackups:
    """One tenant's part."""

    def __init__(self, tenant: TenantId, place: Place, slot_of: SlotOf) -> None:
        """``slot_of`` opens the log that the tenant shares with others."""
        self.tenant = tenant
        self.place = place
        self._slot_of = slot_of

    def prepare(self) -> None:
        """Make the tenant's keys if it has none, and note whose they are. Safe to repeat."""
        self.place.keys.create()
        name = self.place.directory.tenant_id()
        if any(found == name for found, _, _ in self.place.storage.names(name)):
            if self._is_noted(name):
                return
            # It was sealed with keys that were shredded since.
            self.place.storage.delete(name)
        said = canonical({"tenant": self.tenant})
        self.place.storage.put(name, self.place.sealer.seal(Kind.TENANT_ID, name, [said]))

    def begin_base(
        self, environment: str, kind: BaseKind, parent: str | None, labels: Mapping[str, str],
        timeline: int = 1, tier: str = "",
    ) -> RepositoryBaseWriter:  # fmt: skip
        """A new base; nothing of it is there before it is committed.

        Raises:
            UsageError: a delta without a parent.
            UnknownBackup: there is no such parent.
        """
        if kind is BaseKind.DELTA and parent is None:
            raise UsageError("a delta needs a parent", next_step="begin a full base first")
        self.prepare()
        now_us = time.time_ns() // 1000
        begun = Begun(
            new_id(now_us), self.tenant, environment, kind, self.place.stored(parent) if parent is not None else None,
            now_us, dict(labels), tier, timeline,
        )  # fmt: skip
        return RepositoryBaseWriter(self.place, begun)

    def stored(self) -> list[Stored]:
        """Every committed base with what the repository knows of it, oldest first.

        Raises:
            RepositoryDamaged: one of the manifests is not as it was written, or not signed.
        """
        return [self.place.open_manifest(name) for name in self.place.manifest_names()]

    def manifests(self) -> list[Manifest]:
        """Every committed base, oldest first."""
        return [one.manifest for one in self.stored()]

    def reader(self) -> BaseReader:
        """To read several sets with one look at the index."""
        return BaseReader(self.place)

    def items(self, manifest: Manifest, store: str, set_name: str) -> Iterator[Item]:
        """Of the base with its parents merged in; ordered by key."""
        return self.reader().items(manifest.id, store, set_name)

    def fingerprint_key(self) -> bytes:
        """32 bytes; the same as long as the tenant's keys live."""
        return self.place.keys.lasting("fp")

    def log(self) -> TenantLog:
        """The tenant's own part of the change log."""
        return TenantLog(self.place.storage, self.place.sealer, self.place.directory)

    def history(self) -> History:
        """Its bases and logs as they are now: moments, window, time-lines and marks."""
        return History(self, self.log(), self._slot_of, _now_us)

    def append(self, store: str, timeline: int, frames: Sequence[Frame], covered: Covered) -> None:
        """Seal frames into the tenant's own log; durable on return. Repeating it adds nothing."""
        self.prepare()
        self.log().append(Line(store, timeline=timeline), frames, Stretch.of(covered))

    def frames(self, store: str, timeline: int, from_position: int, through_us: int) -> Iterator[Frame]:
        """In order of position, at least up to the first that is behind ``through_us``."""
        return self.history().frames(store, timeline, from_position, through_us)

    def coverage(self) -> list[Covered]:
        """What the logs of its bases cover."""
        return self.history().coverage()

    def window(self) -> RestoreWindow:
        """Moments that can be restored, and why others cannot."""
        return self.history().window()

    def moment(self, at_us: int, timeline: int | None = None) -> FoldedMoment:
        """The tenant as it was. Raises `NotRestorable` with the intervals and the nearest moments."""
        return self.history().at(at_us, timeline)

    def timeline(self) -> int:
        """The time-line that is written now; 1 before the first restore in place."""
        return Timelines(self.log()).current()

    def begin_timeline(self, number: int, begun_us: int, restored_us: int) -> None:
        """A restore in place put the tenant back to ``restored_us``; what comes from ``begun_us`` on is another line.

        Repeating it changes nothing.
        """
        timelines = Timelines(self.log())
        if number > timelines.current():
            timelines.begin(number, begun_us, restored_us)

    def without_predecessor(self) -> list[str]:
        """Ids of bases whose predecessor is not there: rightly for the oldest that retention left, else it was taken."""
        names = self.place.manifest_names()
        digests = {hashlib.sha256(self.place.storage.get(name)).hexdigest() for name in names}
        return [
            one.manifest.id for one in map(self.place.open_manifest, names) if one.previous and one.previous not in digests
        ]  # fmt: skip

    def head(self) -> str | None:
        """SHA-256 of the newest manifest, hex: kept elsewhere, it shows if the newest were taken away."""
        names = self.place.manifest_names()
        return hashlib.sha256(self.place.storage.get(names[-1])).hexdigest() if names else None

    def _is_noted(self, name: str) -> bool:
        try:
            (said,) = self.place.sealer.open(Kind.TENANT_ID, name, self.place.storage.get(name))
        except KeyUnavailable:
            return False
        return bool(json.loads(said)["tenant"] == self.tenant)


def _now_us() -> int:
    return time.time_ns() // 1000


def _make(storage: Storage, wrapping: KeyWrapping) -> None:
    first = OWN.key(1)
    if any(name not in (first, FORMAT) for name, _, _ in storage.names("")):
        raise RepositoryRejected(
            f"{storage.where}: is not empty, and no repository", where=storage.where,
            next_step="name an empty folder or prefix; or bring FORMAT back, if it was a repository",
        )  # fmt: skip
    KeyRing(storage, OWN, os.urandom(16), wrapping).create()
    # If another process was quicker, the repository is the one that its key is bound to.
    identity = bytes.fromhex(read_wrap(first, storage.get(first))["repository"])
    keys = KeyRing(storage, OWN, identity, wrapping)
    storage.put(FORMAT, encode_format(identity, RepositorySigner(keys.lasting("sign"))))

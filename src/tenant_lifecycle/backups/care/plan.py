"""What may go of a repository, and why: decided anew at each look, nothing is remembered but marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.care.changes import former_policy
from tenant_lifecycle.backups.care.ledger import Ledger
from tenant_lifecycle.backups.care.objects import Listed, Sort, sort_of
from tenant_lifecycle.backups.care.signed import Signs
from tenant_lifecycle.backups.care.tenantview import TenantView, view
from tenant_lifecycle.backups.care.tombs import Tomb, tombs
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.naming import content_digest
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.model.backup.policy import BackupPolicy, CarePolicy
from tenant_lifecycle.model.backup.retention import Piece, Retention, decide

UNREFERENCED = "no base refers to it"
SUPERSEDED = "another index stands for it"
KEYS_DESTROYED = "its keys were destroyed"


@dataclass(frozen=True, slots=True)
class Doomed:
    """One object that may go."""

    name: str
    size: int
    why: str


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What may go of one tenant."""

    directory: str
    doomed: tuple[Doomed, ...] = ()
    #: Marks that are there.
    marked: tuple[Tomb, ...] = ()
    retention: Retention | None = None
    #: "" or why nothing of it may go now: a hold, or damage.
    refused: str = ""

    def new(self) -> list[Doomed]:
        """Those that have no mark yet."""
        marked = {one.name for one in self.marked}
        return [one for one in self.doomed if one.name not in marked]

    def due(self, now: float, grace_s: float) -> list[Tomb]:
        """Marked objects that are there, may go still, and have waited for the whole grace time."""
        doomed = {one.name for one in self.doomed}
        return [one for one in self.marked if one.name in doomed and one.due(grace_s) <= now]

    def spared(self, there: Mapping[str, Listed]) -> list[Tomb]:
        """Marks of objects that are wanted again."""
        doomed = {one.name for one in self.doomed}
        return [one for one in self.marked if one.name not in doomed and one.name in there]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about one tenant."""

    policy: BackupPolicy
    care: CarePolicy
    #: "" or why nothing may go.
    held: str
    now: float
    signs: Signs


def plan_tenant(place: Place, listed: Mapping[str, Listed], ledger: Ledger, rules: Rules) -> TenantPlan:
    """Of a tenant whose keys are there; ``listed`` are its objects."""
    path = place.directory.path
    marked = tuple(tombs(place.storage, place.directory, rules.signs))
    seen = view(place, list(listed))
    if not seen.complete:
        return TenantPlan(path, marked=marked, refused="damaged: tenantctl backup check --repair")
    former = former_policy(
        place.storage, rules.signs, place.directory, rules.policy, rules.now, rules.care.change_rest_s
    )
    pieces = pieces_of(place)
    retention = decide(
        [one.manifest for one in seen.stored.values()], pieces, rules.policy, round(rules.now * 1_000_000),
        verified=ledger.verified_bases(path), held=bool(rules.held), former=former,
    )  # fmt: skip
    doomed = [] if rules.held else [*_bases(place, listed, retention), *_log(listed, pieces, retention)]
    doomed += _garbage(listed, seen, rules)
    return TenantPlan(path, tuple(doomed), marked, retention, rules.held)


def plan_shredded(place: Place, listed: Mapping[str, Listed], held: str, signs: Signs) -> TenantPlan:
    """Of a tenant whose keys were destroyed: everything but the marks that say so."""
    stays = {Sort.SHREDDED, Sort.TOMB}
    doomed = [Doomed(one.name, one.size, KEYS_DESTROYED) for one in listed.values() if one.sort not in stays]
    marked = tuple(tombs(place.storage, place.directory, signs))
    return TenantPlan(place.directory.path, () if held else tuple(doomed), marked, refused=held)


def pieces_of(place: Place) -> list[Piece]:
    """The segments of the tenant's own log."""
    log = TenantLog(place.storage, place.sealer, place.directory)
    return [
        Piece(
            name, line.store, line.timeline, heading.stretch.through,
            min(heading.stretch.from_us, heading.content.first_us or heading.stretch.from_us),
            max(heading.stretch.through_us, heading.content.last_us), line.environment,
        )
        for line in log.lines() for name, heading in log.segments(line)
    ]  # fmt: skip


def _bases(place: Place, listed: Mapping[str, Listed], retention: Retention) -> Iterator[Doomed]:
    for one in retention.bases:
        name = place.directory.manifest(one.name)
        if not one.keep:
            yield Doomed(name, listed[name].size, "; ".join(one.reasons))


def _log(listed: Mapping[str, Listed], pieces: Sequence[Piece], retention: Retention) -> Iterator[Doomed]:
    """Only from the beginning of each log, for a log has no holes; and its newest segment stays, the next follows it."""
    verdicts = {one.name: one for one in retention.pieces}
    lines: dict[str, list[Piece]] = {}
    for piece in pieces:
        lines.setdefault(piece.name.rpartition("/")[0], []).append(piece)
    for line in lines.values():
        for piece in line[:-1]:
            if verdicts[piece.name].keep:
                break
            yield Doomed(piece.name, listed[piece.name].size, "; ".join(verdicts[piece.name].reasons))


def _garbage(listed: Mapping[str, Listed], seen: TenantView, rules: Rules) -> Iterator[Doomed]:
    """What no base refers to, older than a base can be while it is written."""
    needed = frozenset().union(*(one for one in seen.packs.values() if one is not None))
    unneeded: Mapping[Sort, tuple[Callable[[str], bool], str]] = {
        Sort.PACK: (lambda name: content_digest(name) not in needed, UNREFERENCED),
        Sort.INDEX: (lambda name: name not in seen.index.objects, SUPERSEDED),
    }
    for one in listed.values():
        if one.sort in unneeded and one.modified + rules.care.grace_s <= rules.now:
            is_unneeded, why = unneeded[one.sort]
            if is_unneeded(one.name):
                yield Doomed(one.name, one.size, why)


def is_shredded(listed: Mapping[str, Listed]) -> bool:
    """Whether these objects of a tenant say that its keys were destroyed."""
    sorts = {sort_of(name) for name in listed}
    return Sort.SHREDDED in sorts and Sort.KEY not in sorts

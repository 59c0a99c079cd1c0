"""What is kept and what may go: a pure decision about one tenant's bases and pieces of its change log.

A base is kept if *any* rule wants it; a delta keeps its parents. Of the log everything is kept from the start of
the base that the oldest promised moment is restored from, and of each other kept base the stretch in which it was
read. Time and position both speak for a piece, so that neither clocks nor a changed numbering can take it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tenant_lifecycle.model.backup.manifest import Manifest
from tenant_lifecycle.model.backup.policy import HOLD_LABEL, BackupPolicy

#: Clocks of stores and ours may differ by so much before a piece of the log is missed, microseconds.
MARGIN_US = 3_600_000_000
NOT_NEEDED = "no rule of its tier needs it any more"
LOG_NOT_NEEDED = "older than the restore window, and no base that is kept was read meanwhile"


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of the change log, as its clear header describes it; times in microseconds since 1970."""

    name: str
    store: str
    #: 0: of the log of an environment, which goes on over time-lines.
    timeline: int
    through_position: int
    from_us: int
    through_us: int
    #: Of the log of an environment; "": of a tenant's time-line alone.
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Former:
    """The policy before the one in force; what it keeps is kept until the rest after the change is over."""

    policy: BackupPolicy
    #: Microseconds since 1970.
    until_us: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Keep it or let it go, and every reason."""

    name: str
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """The decision about one tenant."""

    #: By id, oldest first.
    bases: tuple[Verdict, ...]
    #: By object name, in the order given.
    pieces: tuple[Verdict, ...]
    #: By store and time-line: the log is needed from this position on.
    log_required_from: Mapping[tuple[str, int], int]

    def doomed(self) -> Iterator[str]:
        """Ids and object names that may go."""
        return (one.name for one in (*self.bases, *self.pieces) if not one.keep)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rules look at. ``bases`` are ordered by the moment they stand for."""

    bases: Sequence[Manifest]
    pieces: Sequence[Piece]
    policy: BackupPolicy
    now_us: int
    verified: frozenset[str]
    held: bool

    @property
    def window_us(self) -> int:
        """The oldest promised moment."""
        return self.now_us - round(self.policy.pitr_s * 1_000_000)


def decide(
    bases: Iterable[Manifest],
    pieces: Sequence[Piece],
    policy: BackupPolicy,
    now_us: int,
    *,
    verified: Iterable[str] = (),
    held: bool = False,
    former: Former | None = None,
) -> Retention:
    """Which of a tenant's bases and pieces are kept.

    ``verified``: ids of bases that passed level L3. ``held``: a legal hold on the tenant; everything stays.
    """
    ordered = sorted(bases, key=lambda one: (stands_for_us(one), one.id))
    policies = [("", policy)]
    if former is not None and now_us < former.until_us:
        policies.append(("the former policy: ", former.policy))
    kept: dict[str, list[str]] = {one.id: [] for one in ordered}
    needed: dict[str, list[str]] = {one.name: [] for one in pieces}
    anchors: list[Manifest] = []
    for said, of in policies:
        seen = _Seen(ordered, pieces, of, now_us, frozenset(verified), held)
        anchors += _anchors(seen)
        for rule in RULES:
            for base_id, reason in rule(seen):
                if said + reason not in kept[base_id]:
                    kept[base_id].append(said + reason)
    _keep_parents(ordered, kept)
    remaining = [one for one in ordered if kept[one.id]]
    for piece in pieces:
        needed[piece.name] += _log_reasons(piece, anchors, remaining, held)
    return Retention(
        tuple(_verdict(one.id, kept[one.id], NOT_NEEDED) for one in ordered),
        tuple(_verdict(one.name, needed[one.name], LOG_NOT_NEEDED) for one in pieces),
        _required_from(anchors or remaining[:1]),
    )


def stands_for_us(base: Manifest) -> int:
    """The moment that a base is restored to: the latest time of its stores."""
    return max((store.at_us for store in base.stores.values()), default=base.finished_us)


def _verdict(name: str, reasons: Sequence[str], otherwise: str) -> Verdict:
    return Verdict(name, bool(reasons), tuple(reasons) or (otherwise,))


Reasons = Iterator[tuple[str, str]]


def _held(seen: _Seen) -> Reasons:
    for base in seen.bases:
        if seen.held:
            yield base.id, "a legal hold on the tenant"
        if HOLD_LABEL in base.labels:
            yield base.id, "its label says hold"


def _not_expired(seen: _Seen) -> Reasons:
    for base in seen.bases:
        if base.expires_us is None:
            yield base.id, "kept until a person deletes it"
        elif base.expires_us > seen.now_us:
            yield base.id, f"not before {_day(base.expires_us)}"


def _newest(seen: _Seen) -> Reasons:
    for base in seen.bases[-seen.policy.least_bases :]:
        yield base.id, f"one of the newest {seen.policy.least_bases}"


def _verified(seen: _Seen) -> Reasons:
    proven = [base for base in seen.bases if base.id in seen.verified]
    for base in proven[-1:]:
        yield base.id, "the newest that was verified to level L3"


def _in_window(seen: _Seen) -> Reasons:
    for base in seen.bases:
        if stands_for_us(base) > seen.window_us:
            yield base.id, "inside the restore window"


def _anchoring(seen: _Seen) -> Reasons:
    for base in _anchors(seen):
        yield base.id, "the start of the restore window is restored from it"


def _calendar(seen: _Seen) -> Reasons:
    oldest_us = seen.now_us - round(seen.policy.keep_s * 1_000_000)
    periods: tuple[tuple[str, int, Callable[[datetime], object]], ...] = (
        ("day", seen.policy.daily, lambda at: at.date()),
        ("week", seen.policy.weekly, lambda at: at.isocalendar()[:2]),
        ("month", seen.policy.monthly, lambda at: (at.year, at.month)),
    )
    for word, count, period in periods:
        for base in _last_of_each(seen.bases, period)[-count:] if count else ():
            if stands_for_us(base) >= oldest_us:
                yield base.id, f"the last of its {word}"


def _last_of_each(bases: Sequence[Manifest], period: Callable[[datetime], object]) -> list[Manifest]:
    """The last base of each period, of those that need no parent if there is one, or parents would be kept too."""
    last: dict[object, Manifest] = {}
    for base in bases:
        when = period(_time(stands_for_us(base)))
        if base.parent is None or when not in last or last[when].parent is not None:
            last[when] = base
    return list(last.values())


#: Every rule that keeps a base; parents of what they keep are kept besides.
RULES: tuple[Callable[[_Seen], Reasons], ...] = (
    _held,
    _not_expired,
    _newest,
    _verified,
    _in_window,
    _anchoring,
    _calendar,
)


def _anchors(seen: _Seen) -> list[Manifest]:
    """Of each time-line that reaches into the window, the base which its first moment there is restored from."""
    if not seen.bases:
        return []
    before = [base for base in seen.bases if stands_for_us(base) <= seen.window_us]
    newest = max(base.timeline for base in seen.bases)
    alive = {newest} | {
        piece.timeline for piece in seen.pieces if piece.timeline and piece.through_us >= seen.window_us
    }
    found = {}
    for timeline in sorted(alive):
        candidates = [base for base in before if base.timeline <= timeline]
        own = [base for base in candidates if base.timeline == timeline]
        for base in (own or candidates)[-1:] or seen.bases[:1]:
            found[base.id] = base
    return list(found.values())


def _keep_parents(bases: Sequence[Manifest], kept: Mapping[str, list[str]]) -> None:
    """A delta is no use without its parents."""
    by_id = {base.id: base for base in bases}
    for base in bases:
        below = base
        while kept[base.id] and below.parent in by_id:
            reason = f"a parent of {base.id}"
            below = by_id[below.parent]
            if reason not in kept[below.id]:
                kept[below.id].append(reason)


def _log_reasons(
    piece: Piece, anchors: Sequence[Manifest], remaining: Sequence[Manifest], held: bool
) -> Iterator[str]:
    if held:
        yield "a legal hold on the tenant"
    if not remaining:
        yield "there is no base yet; the first may need it"
    if any(_follows(piece, anchor) for anchor in anchors):
        yield "the restore window"
    for base in remaining:
        if _follows(piece, base) and piece.from_us <= stands_for_us(base) + MARGIN_US:
            yield f"written while {base.id} was read"


def _follows(piece: Piece, base: Manifest) -> bool:
    """Whether the piece may hold something that the base has not."""
    if piece.through_us >= base.started_us - MARGIN_US:
        return True
    store = base.stores.get(piece.store)
    if store is None or (piece.environment or base.environment) != base.environment:
        return False
    same_log = piece.timeline in (0, base.timeline)
    return same_log and piece.through_position >= store.log_from


def _required_from(anchors: Iterable[Manifest]) -> Mapping[tuple[str, int], int]:
    required: dict[tuple[str, int], int] = {}
    for base in anchors:
        for name, store in base.stores.items():
            place = name, base.timeline
            required[place] = min(required.get(place, store.log_from), store.log_from)
    return required


def _time(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def _day(us: int) -> str:
    return _time(us).date().isoformat()

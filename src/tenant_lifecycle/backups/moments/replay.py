"""The log of one store, from a base to a cut, folded set by set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenant_lifecycle.backups.moments.cut import Cut
from tenant_lifecycle.backups.moments.fold import SetFold
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame, Op, Reshape
from tenant_lifecycle.model.backup.manifest import StoreBase
from tenant_lifecycle.model.backup.shape import Shape, opaque
from tenant_lifecycle.model.backup.snapshot import Snapshot

#: Commits' times are out of order by less than this, microseconds.
INVERSION_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the log did to every set, and the position of the first frame that was not taken; None: all were."""

    sets: Mapping[str, SetFold]
    stopped_at: int | None


def replay(base: StoreBase, frames: Iterable[Frame], cut: Cut) -> Replayed:
    """Frames in order of positions, from the base's `log_from` on; the base `reaches` the cut.

    Raises:
        RepositoryDamaged: log and base do not fit together.
    """
    sets = {name: SetFold(stored.shape) for name, stored in base.sets.items()}
    if base.snapshot is None:
        return Replayed(sets, _replay_writes(sets, frames, cut))
    return Replayed(sets, _replay_transactions(sets, base.store, base.snapshot, frames, cut))


def reaches(base: StoreBase, frames: Iterable[Frame], cut: Cut) -> bool:
    """Whether everything that the base has came before the cut; frames from its `log_from` on, at least as far as its
    snapshot may see.

    A snapshot says which transactions it sees, and not where they are in the log: it has to be looked.
    """
    if base.snapshot is None:
        return base.at_us <= cut.at_us
    if cut.before is not None and cut.store == base.store and cut.before < base.log_from:
        return False
    behind = False
    for frame in frames:
        behind = behind or cut.ends(base.store, frame)
        if behind and frame.xid is not None and base.snapshot.sees(frame.xid):
            return False
        if frame.at_us > base.at_us + INVERSION_US:
            break
    return True


def _replay_transactions(
    sets: dict[str, SetFold], store: str, snapshot: Snapshot, frames: Iterable[Frame], cut: Cut
) -> int | None:
    """Whole transactions that the base does not have, up to the cut."""
    for frame in frames:
        if cut.ends(store, frame):
            return frame.position
        if frame.xid is None:
            raise RepositoryDamaged(
                f"the change log of {store} has a commit without its transaction's number"
            )
        if snapshot.sees(frame.xid):
            continue
        for op in frame.ops:
            name = _set_name(op)
            if name not in sets:
                sets[name] = SetFold(_created(op, name))
            sets[name].apply(op, frame.at_us)
    return None


def _replay_writes(sets: dict[str, SetFold], frames: Iterable[Frame], cut: Cut) -> int | None:
    """Captured writes that had begun by the moment, so that none which was acknowledged is left out; the one that was
    seen last counts."""
    left_out: int | None = None
    for frame in frames:
        if frame.counts_from_us > cut.at_us:
            left_out = frame.position if left_out is None else left_out
            continue
        for op in frame.ops:
            name = _set_name(op)
            fold = sets.setdefault(name, SetFold(opaque(name)))
            if fold.is_later(op, frame.at_us):
                fold.apply(op, frame.at_us)
    return left_out


def _set_name(op: Op) -> str:
    return op.shape.set if isinstance(op, Reshape) else op.set


def _created(op: Op, name: str) -> Shape:
    """The columns of a set that the base does not have: its table was created since."""
    if isinstance(op, Reshape):
        return op.shape
    raise RepositoryDamaged(
        f"the change log has items of {name!r}, of which neither the base nor the log has the columns",
        next_step="run: tenantctl backup check --level L3, and restore from another base",
    )

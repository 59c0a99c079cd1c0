"""The log of one store, from a base to a cut, folded set by set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tenant_lifecycle.backups.moments.cut import Cut, transactions, writes
from tenant_lifecycle.backups.moments.fold import SetFold
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame, Op, Reshape
from tenant_lifecycle.model.backup.manifest import StoreBase
from tenant_lifecycle.model.backup.shape import Shape, opaque


def replay(base: StoreBase, frames: Iterable[Frame], cut: Cut) -> Mapping[str, SetFold]:
    """What the log did to every set; frames in order of positions, from the base's `log_from` on."""
    sets = {name: SetFold(stored.shape) for name, stored in base.sets.items()}
    if base.snapshot is None:
        _replay_writes(sets, writes(frames, cut))
    else:
        _replay_transactions(sets, transactions(base.store, base.snapshot, frames, cut))
    return sets


def _replay_transactions(sets: dict[str, SetFold], frames: Iterable[Frame]) -> None:
    for frame in frames:
        for op in frame.ops:
            name = _set_name(op)
            if name not in sets:
                sets[name] = SetFold(_created(op, name))
            sets[name].apply(op, frame.at_us)


def _replay_writes(sets: dict[str, SetFold], frames: Iterable[Frame]) -> None:
    for frame in frames:
        for op in frame.ops:
            name = _set_name(op)
            fold = sets.setdefault(name, SetFold(opaque(name)))
            if fold.is_later(op, frame.at_us):
                fold.apply(op, frame.at_us)


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

"""Random histories of one tenant's rows, with the state after every commit in plain dictionaries: the oracle.

The model of PostgreSQL that matters here: transactions get numbers when they begin and commit in another order;
commit times do not grow with positions in the log; a snapshot sees some commits and not others that are before it
in the log, but never one that needs another which it does not see.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from backups.moments.memory_bases import KEY
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Cell,
    Delete,
    Frame,
    Item,
    Op,
    PatchCell,
    Reshape,
    Truncate,
    Upsert,
)  # fmt: skip
from tenant_lifecycle.model.backup.manifest import SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.backup.snapshot import Snapshot

Row = tuple[Cell, ...]
Rows = dict[bytes, Row]
SETS = ("public.docs", "public.chunks", 'public."odd""name"')


@dataclass(frozen=True)
class State:
    """Everything at one time."""

    rows: dict[str, Rows]
    shapes: dict[str, Shape]

    def items(self) -> list[Item]:
        return [Item(name, key, rows[key]) for name, rows in self.rows.items() for key in sorted(rows)]

    def fingerprint(self, name: str) -> Fingerprint:
        return fingerprint(KEY, (Item(name, key, cells) for key, cells in self.rows[name].items()))


@dataclass
class History:
    """Commits in the order of the log, and the oracle."""

    rng: random.Random
    frames: list[Frame] = field(default_factory=list)
    #: State before the first commit, after it, and so on.
    states: list[State] = field(default_factory=list)
    touched: list[frozenset[tuple[str, bytes | None]]] = field(default_factory=list)
    #: Of committed and of aborted transactions.
    next_xid: int = 700
    running: list[int] = field(default_factory=list)
    clock_us: int = 1_000_000
    position: int = 5_000
    names: int = 0

    @classmethod
    def of(cls, seed: int, commits: int, *, schema_changes: bool = True) -> History:
        history = cls(random.Random(seed))
        shapes = {name: _shape(name, 3) for name in SETS}
        history.states.append(State({name: {} for name in SETS}, shapes))
        for _ in range(commits):
            history.commit(schema_changes=schema_changes)
        return history

    def commit(self, *, schema_changes: bool = True) -> None:
        """One more transaction; some have been running for long, some others abort."""
        rng = self.rng
        while len(self.running) < rng.randint(1, 6):
            self.running.append(self.next_xid)
            self.next_xid += rng.randint(1, 3)
        xid = self.running.pop(rng.randrange(len(self.running)))
        self.position += rng.randint(1, 200)
        self.clock_us += rng.randint(0, 40)
        at_us = self.clock_us + rng.choice((0, 0, 0, rng.randint(-60, 60)))
        change = _Change(self, self.states[-1])
        for _ in range(rng.randint(1, 6)):
            change.one(schema_changes=schema_changes)
        self.frames.append(Frame(self.position, at_us, tuple(change.ops), xid))
        self.states.append(State(change.rows, change.shapes))
        self.touched.append(frozenset(change.touched))

    def at(self, at_us: int) -> State:
        """The oracle: the log is cut before the first commit that is later."""
        for number, frame in enumerate(self.frames):
            if frame.at_us > at_us:
                return self.states[number]
        return self.states[-1]

    def before(self, position: int) -> State:
        return self.states[sum(frame.position < position for frame in self.frames)]

    def base_at(self, number: int) -> tuple[StoreBase, State]:
        """A base whose snapshot was taken when ``number`` commits were in the log, some of them not visible yet."""
        invisible = self._invisible(number)
        state = self._replayed([index for index in range(number) if index not in invisible])
        lsn = self.frames[number - 1].position if number else 4_999
        unseen = {self.frames[index].xid or 0 for index in invisible}
        later = {frame.xid or 0 for frame in self.frames[number:]}
        begun = self.rng.randint(max(self._seen(number, invisible), default=699) + 1, self.next_xid)
        running = frozenset(xid for xid in (unseen | later | set(self.running)) if xid < begun)
        first = min((self.frames[index].position for index in invisible), default=lsn + 1)
        log_from = first - self.rng.randint(0, 100)
        snapshot = Snapshot(min(running, default=begun), begun, running, log_from)
        # A clock that was set back: commits since the log's beginning may be ahead of it, those before are not.
        newest = max((frame.at_us for frame in self.frames[:number]), default=1_000_000)
        before = max((frame.at_us for frame in self.frames if frame.position < log_from), default=0)
        at_us = max(before, newest - self.rng.choice((0, 0, self.rng.randint(1, 80))))
        sets = {name: SetStored(state.shapes[name], state.fingerprint(name), 0, 0) for name in state.rows}
        return StoreBase("postgres", at_us, log_from, snapshot, sets), state

    def _seen(self, number: int, invisible: set[int]) -> list[int]:
        return [self.frames[index].xid or 0 for index in range(number) if index not in invisible]

    def _invisible(self, number: int) -> set[int]:
        """Some of the newest commits, and every one that touched what one of them had touched."""
        found: set[int] = set()
        blocked: set[tuple[str, bytes | None]] = set()
        for index in range(max(0, number - 8), number):
            touched = self.touched[index]
            whole = {name for name, key in touched if key is None}
            depends = any((name, key) in blocked or (name, None) in blocked for name, key in touched) or any(
                name in whole for name, _ in blocked
            )
            if depends or self.rng.random() < 0.3:
                found.add(index)
                blocked |= touched
        return found

    def _replayed(self, numbers: list[int]) -> State:
        """What these commits and no others make of an empty database; whole rows are taken from the oracle."""
        rows: dict[str, Rows] = {name: {} for name in SETS}
        shapes = dict(self.states[0].shapes)
        for number in numbers:
            after = self.states[number + 1]
            for name, key in self.touched[number]:
                if key is None:
                    rows[name], shapes[name] = dict(after.rows[name]), after.shapes[name]
            for name, key in self.touched[number]:
                if key is not None and key in after.rows[name]:
                    rows[name][key] = after.rows[name][key]
                elif key is not None:
                    rows[name].pop(key, None)
        return State(rows, shapes)


class _Change:
    """One transaction while it is made up."""

    def __init__(self, history: History, before: State) -> None:
        self.history, self.rng = history, history.rng
        self.rows = {name: dict(rows) for name, rows in before.rows.items()}
        self.shapes = dict(before.shapes)
        self.ops: list[Op] = []
        self.touched: set[tuple[str, bytes | None]] = set()

    def one(self, *, schema_changes: bool) -> None:
        name = self.rng.choice(SETS)
        chance = self.rng.random()
        if chance < 0.012:
            self.truncate(name)
        elif chance < 0.03 and schema_changes:
            self.reshape(name)
        elif chance < 0.38 or not self.rows[name]:
            self.insert(name)
        elif chance < 0.68:
            self.update(name)
        elif chance < 0.84:
            self.rename(name)
        else:
            self.delete(name)

    def insert(self, name: str) -> None:
        key = b"%d" % self.rng.randrange(40)
        self._write(name, key, tuple(self._cell() for _ in self.shapes[name].columns), None)

    def update(self, name: str) -> None:
        """Cells that stay are sometimes sent, and sometimes not."""
        key = self.rng.choice(sorted(self.rows[name]))
        self._write(name, key, *self._partly(self.rows[name][key]))

    def rename(self, name: str) -> None:
        """A new key; cells that were not sent go along."""
        old, key = self.rng.choice(sorted(self.rows[name])), b"%d" % self.rng.randrange(40)
        if key in self.rows[name]:
            return
        cells, sent = self._partly(self.rows[name][old])
        del self.rows[name][old]
        self.touched.add((name, old))
        self._write(name, key, cells, sent, old)

    def delete(self, name: str) -> None:
        key = self.rng.choice(sorted(self.rows[name]))
        del self.rows[name][key]
        self.touched.add((name, key))
        self.ops.append(Delete(name, key))

    def truncate(self, name: str) -> None:
        self.rows[name].clear()
        self.touched.add((name, None))
        self.ops.append(Truncate(name))

    def reshape(self, name: str) -> None:
        """Drop, add, rename, or move columns; rows are rewritten as PostgreSQL does it, out of the log."""
        before = self.shapes[name]
        columns = list(before.columns)
        carried: list[tuple[str, str]] = []
        filled: list[tuple[str, Cell]] = []
        what = self.rng.choice(("add", "drop", "rename", "shuffle"))
        self.history.names += 1
        new = f"c{self.history.names}"
        if what == "add":
            columns.insert(self.rng.randint(0, len(columns)), Column(new, "text"))
            filled.append((new, self.rng.choice((None, b"", b"a default"))))
        elif what == "drop" and len(columns) > 1:
            columns.pop(self.rng.randrange(len(columns)))
        elif what == "rename":
            place = self.rng.randrange(len(columns))
            carried.append((new, columns[place].name))
            columns[place] = Column(new, columns[place].type)
        else:
            self.rng.shuffle(columns)
        shape = Shape(name, tuple(columns), before.key)
        old_of = dict(carried)
        places = {column.name: place for place, column in enumerate(before.columns)}
        defaults = dict(filled)
        for key, cells in self.rows[name].items():
            self.rows[name][key] = tuple(
                defaults[column.name]
                if column.name in defaults
                else cells[places[old_of.get(column.name, column.name)]]
                for column in columns
            )
        self.shapes[name] = shape
        self.touched.add((name, None))
        self.ops.append(Reshape(shape, tuple(carried), tuple(filled)))

    def _partly(self, row: Row) -> tuple[Row, tuple[PatchCell, ...]]:
        cells = tuple(cell if self.rng.random() < 0.5 else self._cell() for cell in row)
        return cells, tuple(
            UNCHANGED if new == old and self.rng.random() < 0.8 else new
            for new, old in zip(cells, row, strict=True)
        )

    def _cell(self) -> Cell:
        return self.rng.choice((None, b"", b"\\N", b"\x00\xff", b"%d" % self.rng.randrange(10**6)))

    def _write(
        self, name: str, key: bytes, cells: Row, sent: tuple[PatchCell, ...] | None, old: bytes | None = None
    ) -> None:
        self.rows[name][key] = cells
        self.touched.add((name, key))
        self.ops.append(Upsert(name, key, cells if sent is None else sent, old))


def _shape(name: str, columns: int) -> Shape:
    return Shape(name, tuple(Column(f"a{number}", "text") for number in range(columns)), ("a0",))
